"""T6: what a node may do to a question: lose it, lose the answer, refuse, dawdle, be out of date."""

import pytest

from wallet.models import Payout, Slot
from wallet.settlement.tests.faults.proxy import Fault
from wallet.settlement.tests.faults.rig import Rig

pytestmark = pytest.mark.chaos

SEND = "eth_sendRawTransaction"


@pytest.mark.parametrize(
    ("fault", "rate"),
    [
        (Fault.REPLY_LOST, 0.6),
        (Fault.CALL_LOST, 0.3),
        (Fault.TOO_MANY_REQUESTS, 0.5),
        (Fault.SERVER_ERROR, 0.5),
    ],
)
def test_what_becomes_of_a_sent_transaction_is_read_from_the_chain(
    rig: Rig, fault: Fault, rate: float
):
    rig.proxy.at_random({fault: rate}, seed=1, only=[SEND])
    rig.work(2)

    for _ in range(4):
        rig.crowd(6)
        rig.wait(lambda: not Payout.objects.filter(state="PENDING").exists(), "room")
    rig.settle()

    rig.assert_books_equal_chain()
    assert rig.proxy.seen[fault] > 0


@pytest.mark.parametrize("fault", [Fault.CALL_LOST, Fault.TOO_MANY_REQUESTS, Fault.SERVER_ERROR])
def test_a_node_that_fails_at_everything_stops_all_and_loses_nothing(rig: Rig, fault: Fault):
    rig.crowd(10)
    rig.work()
    rig.wait(Slot.objects.exists, "the first slot")
    rig.proxy.always(fault)
    rig.wait(lambda: rig.proxy.seen[fault] > 20, "the worker to ask in vain")

    rig.proxy.heal()
    rig.settle()

    rig.assert_books_equal_chain()


def test_a_node_slower_than_our_patience_is_a_node_that_did_not_answer(rig: Rig):
    rig.proxy.slow_seconds = 0.5
    rig.proxy.at_random({Fault.SLOW: 1}, seed=1, only=[SEND, "eth_getTransactionReceipt"])
    rig.crowd(10)
    rig.work(patience=0.2)
    rig.wait(lambda: rig.proxy.seen[Fault.SLOW] > 5, "the worker to lose its patience")

    rig.proxy.heal()
    rig.settle()

    rig.assert_books_equal_chain()


@pytest.mark.parametrize("blocks_behind", [2, 8])
def test_nodes_behind_one_address_that_disagree_are_believed_too_late_at_worst(
    rig: Rig, blocks_behind: int
):
    """Every other answer is that of a node which has not seen the newest blocks, final ones too."""
    rig.proxy.blocks_behind = blocks_behind
    rig.proxy.at_random({Fault.STALE: 0.5}, seed=1)
    rig.work(2)

    for _ in range(4):
        rig.crowd(6)
        rig.wait(lambda: not Payout.objects.filter(state="PENDING").exists(), "room")
    rig.settle()

    rig.assert_books_equal_chain()
    assert rig.proxy.seen[Fault.STALE] > 20
