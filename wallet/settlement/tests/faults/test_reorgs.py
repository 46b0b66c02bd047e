"""T4: blocks are taken back while payouts are in them."""

import pytest

from wallet.models import Payout, Slot
from wallet.settlement.tests.faults.rig import Rig, is_settled

pytestmark = pytest.mark.chaos


def test_reorgs_before_finality_take_back_nothing_that_was_booked(rig: Rig):
    rig.work(2)

    for depth in [1, 2, 3, 3]:
        rig.miner.rest()
        wallets = rig.crowd(3)
        waiting = Payout.objects.filter(wallet__in=wallets)
        rig.wait(lambda: not rig.pool_is_empty(), "a transaction in the pool")
        rig.bench.chain.mine(depth)
        rig.wait(waiting.filter(state="CONFIRMING").exists, "the block to be seen")
        rig.bench.chain.rpc("anvil_reorg", depth, [])
        rig.wait(waiting.filter(state="SUBMITTED").exists, "the reorg to be seen")
        rig.miner.go_on()
        rig.wait(is_settled, "all to be settled after all")
    rig.stop()

    rig.assert_books_equal_chain()
    assert set(Slot.objects.values_list("state", flat=True)) == {"FINAL"}
