"""T2: the same message several times, and several workers on one lane."""

import pytest

from accounts.tests.threads import all_at_once
from wallet import tasks
from wallet.models import Attempt, Slot
from wallet.settlement import lane
from wallet.settlement.tests.faults.rig import Rig

pytestmark = pytest.mark.chaos


@pytest.fixture
def task_on_this_chain():
    """The task keeps its lane for the life of its process; here it is made for each chain."""
    lane._configured.cache_clear()
    yield
    lane._configured.cache_clear()


def test_one_message_delivered_five_times_is_one_message(rig: Rig, task_on_this_chain):
    rig.crowd(3)

    with rig.miner.resting():
        all_at_once([tasks.settle_tick] * 5)
        assert (Slot.objects.count(), Attempt.objects.count()) == (1, 1)
    rig.work()
    rig.settle()

    rig.assert_books_equal_chain()
    assert Slot.objects.count() == 1


def test_four_workers_on_a_lane_never_clash(rig: Rig):
    rig.work(4)

    for _ in range(8):
        rig.crowd(8)
    rig.settle()

    rig.assert_books_equal_chain()
