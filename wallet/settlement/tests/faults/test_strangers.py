"""T8: somebody else uses the operator's key, again and again, while the lane works."""

import pytest

from wallet.models import Payout, Slot
from wallet.settlement.tests.faults.rig import Rig, is_settled
from wallet.tests.chain import new_address

pytestmark = pytest.mark.chaos


def test_nonces_taken_by_somebody_else_lose_and_double_nothing(rig: Rig):
    strangers = []
    rig.work(2)

    for _ in range(4):
        rig.crowd(3)
        claim = rig.bench.claim(new_address(), 1)
        assert rig.bench.settle([claim]).is_success
        strangers.append(claim.onchain_id)
        # Whatever the lane had for this nonce is dead; it goes into another one.
        rig.crowd(3)
        rig.wait(is_settled, "all to be settled after all")
    rig.stop()

    rig.assert_books_equal_chain(strangers=strangers)
    assert Slot.objects.filter(state="DEAD").count() >= 1
    assert set(Payout.objects.values_list("tries", flat=True)) == {0}
