"""T1: kill -9 at every point between what is stored and what is sent."""

import pytest

from wallet.models import Attempt, Slot
from wallet.settlement.tests.faults.points import Point
from wallet.settlement.tests.faults.proxy import Fault
from wallet.settlement.tests.faults.rig import Rig

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("point", list(Point))
def test_a_worker_killed_at_a_point_loses_and_doubles_nothing(rig: Rig, point: Point):
    if point == Point.REPLY_LOST:
        rig.proxy.next("eth_sendRawTransaction", Fault.REPLY_LOST)
    if point == Point.BUMP_STORED:
        rig.miner.rest()
    rig.crowd(3)

    [killed] = rig.work(point=point)
    rig.wait_for_death(killed)
    assert killed.point == point
    rig.miner.go_on()
    rig.work()
    rig.settle()

    rig.assert_books_equal_chain()
    assert Slot.objects.count() == 1
    assert Attempt.objects.count() == (2 if point == Point.BUMP_STORED else 1)
