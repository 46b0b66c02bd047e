"""T9: a void before, beside and after a payment: what is given back was never paid."""

from datetime import timedelta

import pytest

from wallet import ledger
from wallet.models import Payout, Wallet, WalletTransaction
from wallet.settlement import voiding
from wallet.settlement.calldata import Item
from wallet.settlement.tests.faults.behind_our_back import (
    at_once,
    move_kcash,
    other_operator,
    step_by_step,
)
from wallet.settlement.tests.faults.books import assert_books_equal_chain
from wallet.tests.chain import new_address
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import Engine, payout_of, status, win, withdraw

pytestmark = pytest.mark.chaos

State = Payout.State


@pytest.fixture
def thief() -> str:
    return new_address()


@pytest.fixture
def failed(engine: Engine, thief: str) -> WalletTransaction:
    """A withdrawal whose tries are used up: its KCash was taken from the wallet."""
    wallet = WalletFactory.create()
    win(wallet, 70)
    engine.settle_all()
    move_kcash(engine, wallet.address, thief, 70)
    withdrawal = withdraw(wallet, 30)
    for _ in range(40):
        engine.now += timedelta(minutes=2)
        engine.tick()
        engine.finalize()
    assert (payout_of(withdrawal).state, payout_of(withdrawal).tries) == (State.FAILED, 10)
    return withdrawal


def begin_void(engine: Engine, withdrawal: WalletTransaction) -> None:
    voiding.begin_void(payout_uid=withdrawal.uid, by="fay", reason="cannot be paid", now=engine.now)


def settle(engine: Engine) -> None:
    for _ in range(6):
        engine.now += timedelta(minutes=2)
        engine.tick()
        engine.finalize()


def test_a_void_before_any_payment_gives_back_once_it_is_final(engine, thief, failed):
    begin_void(engine, failed)
    engine.tick()
    engine.mine()
    engine.tick()
    assert payout_of(failed).state == State.VOIDING
    assert ledger.balances(failed.wallet_id).hold == 100

    engine.bench.chain.rpc("anvil_reorg", 1, [])
    engine.tick()
    assert payout_of(failed).state == State.VOIDING

    settle(engine)
    move_kcash(engine, thief, failed.wallet.address, 70)
    assert (payout_of(failed).state, status(failed)) == (State.VOIDED, "COMPLETED")
    assert ledger.balances(failed.wallet_id).earned == 100
    assert_books_equal_chain(engine.bench)


def test_a_void_after_the_payment_gives_nothing_back(engine, thief, failed):
    wallet, payout = failed.wallet, payout_of(failed)
    move_kcash(engine, thief, wallet.address, 70)
    item = signed(engine, wallet, payout)
    paying = other_operator(engine)
    bench = at_once(engine)
    assert [event for event, *_ in bench.settle([item], sender=paying).events] == ["Settled"]
    step_by_step(engine)
    begin_void(engine, failed)

    settle(engine)

    assert (payout_of(failed).state, status(failed)) == (State.COMPLETED, "COMPLETED")
    assert ledger.balances(wallet.pk).earned == ledger.balances(wallet.pk).hold == 0
    assert_books_equal_chain(engine.bench)


def test_ids_voided_beside_the_lane_are_given_back_and_the_others_paid(engine: Engine):
    withdrawals = [withdraw(WalletFactory.create(), 30) for _ in range(6)]
    voided, paid = withdrawals[:3], withdrawals[3:]
    voiding_operator = other_operator(engine)
    engine.tick()
    engine.bench.chain.rpc("anvil_dropAllTransactions")
    bench = at_once(engine)
    ids = [str(payout_of(entry).onchain_id) for entry in voided]
    assert bench.call(voiding_operator, "voidIds", ids).is_success
    step_by_step(engine)

    settle(engine)
    assert {payout_of(entry).state for entry in voided} == {State.REVIEW}
    assert {ledger.balances(entry.wallet_id).hold for entry in voided} == {30}
    for entry in voided:
        begin_void(engine, entry)
    settle(engine)

    assert {payout_of(entry).state for entry in voided} == {State.VOIDED}
    assert {ledger.balances(entry.wallet_id).earned for entry in voided} == {30}
    assert {payout_of(entry).state for entry in paid} == {State.COMPLETED}
    assert {ledger.balances(entry.wallet_id).earned for entry in paid} == {0}
    assert_books_equal_chain(engine.bench)


@pytest.mark.parametrize("is_sent", [True, False])
def test_what_may_still_be_paid_cannot_be_voided(engine: Engine, is_sent):
    withdrawal = withdraw(WalletFactory.create(), 30)
    engine.tick()
    if is_sent:
        engine.mine()
        engine.tick()

    with pytest.raises(voiding.NotVoidable):
        begin_void(engine, withdrawal)

    settle(engine)
    assert payout_of(withdrawal).state == State.COMPLETED
    assert_books_equal_chain(engine.bench)


def signed(engine: Engine, wallet: Wallet, payout: Payout) -> Item:
    """The payment just as the lane would make it."""
    return engine.bench.payment(
        wallet.hd_index, payout.to_address, int(payout.amount), onchain_id=str(payout.onchain_id)
    )
