"""T5: the price of gas: too low, going up, at its limit, while blocks come or not."""

from datetime import timedelta
from itertools import pairwise

import pytest

from wallet.models import Attempt, Payout, Slot
from wallet.settlement import networks
from wallet.settlement.tests.faults.books import assert_books_equal_chain
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import Engine, give_bonus, lost

pytestmark = pytest.mark.chaos

NETWORK = networks.of(31337)


TICK = timedelta(seconds=8)


def wait(engine: Engine, seconds: int) -> None:
    """Let the lane run for a while in which no block is made."""
    for _ in range(seconds // int(TICK.total_seconds())):
        engine.now += TICK - timedelta(seconds=2)  # a tick's own
        engine.tick()


def prices() -> list[tuple[int, int]]:
    return [(int(a.max_fee), int(a.priority_fee)) for a in Attempt.objects.order_by("seq")]


@pytest.fixture
def sent(engine: Engine) -> Engine:
    """A payout is on its way, and no block has taken it."""
    give_bonus(WalletFactory.create())
    engine.tick()
    assert Attempt.objects.count() == 1
    return engine


def test_an_offer_below_the_base_fee_is_raised_at_the_same_nonce(sent: Engine):
    sent.bench.chain.rpc("anvil_dropAllTransactions")
    sent.bench.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(50 * networks.GWEI))
    sent.mine()

    wait(sent, 40)
    sent.settle_all()

    assert Slot.objects.count() == 1
    assert prices()[-1][0] > 50 * networks.GWEI
    assert_books_equal_chain(sent.bench)


def test_sending_again_does_not_put_off_the_raise(sent: Engine):
    wait(sent, 60)

    first, second, *_ = Attempt.objects.order_by("seq")
    assert first.first_sent_at is not None
    assert first.last_sent_at is not None
    assert first.first_sent_at < first.last_sent_at < second.created_at
    assert second.created_at - first.first_sent_at < NETWORK.bump_after + TICK
    sent.settle_all()
    assert_books_equal_chain(sent.bench)


def test_each_offer_raises_both_fees_by_a_tenth_or_nodes_refuse_it(sent: Engine):
    wait(sent, 200)

    offers = prices()
    assert len(offers) >= 5
    for (max_fee, tip), (next_max_fee, next_tip) in pairwise(offers):
        assert 10 * next_max_fee >= 11 * max_fee
        assert 10 * next_tip >= 11 * tip
    sent.settle_all()
    assert Payout.objects.get().tx_hash == Attempt.objects.latest("seq").tx_hash
    assert_books_equal_chain(sent.bench)


def test_an_old_offer_may_be_the_one_that_is_taken(sent: Engine):
    sent.chain.before_send = lost
    wait(sent, 100)
    sent.chain.before_send = None
    assert Attempt.objects.count() >= 3
    sent.finalize()

    sent.settle_all()

    assert Payout.objects.get().tx_hash == Attempt.objects.get(seq=0).tx_hash
    assert_books_equal_chain(sent.bench)


def test_at_the_limit_the_last_offer_is_sent_again_and_again(engine: Engine, caplog):
    engine.bench.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(NETWORK.fee_cap * 2 // 5))
    engine.mine()
    give_bonus(WalletFactory.create())
    for _ in range(10):
        engine.now += NETWORK.bump_after
        engine.tick()
    offers = prices()
    assert 2 <= len(offers) < 10
    assert NETWORK.fee_cap * 8 // 9 < offers[-1][0] <= NETWORK.fee_cap
    assert "cap" in next(r.message for r in caplog.records if r.levelname == "ERROR")

    engine.bench.chain.rpc("anvil_dropAllTransactions")
    engine.now += timedelta(seconds=10)
    engine.settle_all()

    assert prices() == offers
    assert_books_equal_chain(engine.bench)
