"""Reorgs past finality: found by the contract's own records, sent again on a person's word."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from wallet import ledger, reconciliation
from wallet.ledger import Balances
from wallet.models import Attempt, LostPayout, Operator, Payout, Permit, Reorg, Slot, SlotItem
from wallet.settlement import reopening, reorgs
from wallet.settlement.reopening import AlreadyConfirmed
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import START, Engine, give_bonus, join, payout_of, status, withdraw

State = Payout.State


@pytest.fixture
def forget(engine) -> Callable[[], None]:
    """The chain forgets what was mined after this fixture, and goes on without it."""
    engine.open_lane()
    engine.finalize()
    before = engine.bench.chain.snapshot()

    def forget() -> None:
        engine.bench.chain.revert(before)
        engine.bench.chain.mine(60)

    return forget


def find(engine: Engine) -> list[Slot]:
    return reorgs.find_lost(chain=engine.chain, since=START, now=engine.now)


def confirm(engine: Engine) -> None:
    reopening.confirm(reorg_id=Reorg.objects.get().pk, by="fay", reason="Seen", now=engine.now)


def settle_again(engine: Engine) -> None:
    """Until every lost slot is on the chain again, and what it carried is booked."""
    for _ in range(10):
        engine.tick()
        engine.finalize()
        engine.tick()
        reopening.carry_on(now=engine.now)


def states() -> set[tuple[str, str]]:
    return set(Payout.objects.values_list("kind", "state"))


def findings() -> list[reconciliation.Finding]:
    return [finding for audit in reconciliation.AUDITS for finding in audit.find()]


def test_nothing_is_lost_where_nothing_was_forgotten(engine):
    give_bonus(WalletFactory.create())
    engine.settle_all()

    assert find(engine) == []
    assert Reorg.objects.count() == 0


def test_lost_payout_waits_for_a_person_and_its_lane_is_paused(engine, forget):
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    engine.settle_all()
    paid = payout_of(bonus)
    forget()

    lost = find(engine)

    payout, lane = payout_of(bonus), Operator.objects.get()
    assert [slot.pk for slot in lost] == [Slot.objects.get().pk]
    assert (payout.state, payout.error, payout.tx_hash) == (State.REVIEW, reorgs.LOST, None)
    assert status(bonus) == "PROCESSING"
    assert (lane.is_paused, lane.pause_reason) == (True, reorgs.PAUSED)
    assert LostPayout.objects.values_list("payout", "tx_hash", "block_number").get() == (
        paid.pk,
        paid.tx_hash,
        paid.block_number,
    )
    assert Slot.objects.get().state == Slot.State.FINAL
    assert find(engine) == lost
    assert (Reorg.objects.count(), LostPayout.objects.count()) == (1, 1)


def test_lost_payout_is_paid_once_by_the_bytes_it_was_paid_by_before(engine, forget):
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    engine.settle_all()
    paid = payout_of(bonus)
    engine.now += timedelta(days=1)
    forget()
    find(engine)

    confirm(engine)
    settle_again(engine)

    payout = payout_of(bonus)
    assert (payout.state, payout.error, payout.tx_hash) == (State.COMPLETED, "", paid.tx_hash)
    assert status(bonus) == "COMPLETED"
    assert engine.onchain(wallet) == 50
    assert ledger.balances(wallet.pk) == Balances(50, 0, 0, 0, 0, 50)
    assert findings() == []
    assert find(engine) == []
    assert Attempt.objects.count() == 1
    assert engine.chain.nonce(Operator.objects.get().address, block="latest") == 1


def test_lane_stays_paused_until_somebody_resumes_it(engine, forget):
    give_bonus(WalletFactory.create())
    engine.settle_all()
    forget()
    find(engine)
    confirm(engine)
    settle_again(engine)

    later = give_bonus(WalletFactory.create())
    engine.now += timedelta(hours=1)
    engine.tick()
    engine.tick()

    assert Operator.objects.get().is_paused
    assert status(later) == "PENDING"


def test_whole_history_of_a_wallet_comes_back_in_its_order(engine, forget):
    wallet = WalletFactory.create()
    give_bonus(wallet)
    engine.settle_all()
    join(wallet, 20)
    engine.settle_all()
    withdrawal = withdraw(wallet, 90)
    engine.settle_all()
    assert states() == {("IN", "COMPLETED"), ("OUT", "COMPLETED"), ("WITHDRAW", "COMPLETED")}
    slots = Slot.objects.count()
    assert Permit.objects.get().state == Permit.State.GRANTED
    forget()

    lost = find(engine)
    confirm(engine)
    settle_again(engine)

    assert len(lost) == slots
    assert {state for _, state in states()} == {State.COMPLETED}
    assert Permit.objects.get().state == Permit.State.GRANTED
    assert status(withdrawal) == "COMPLETED"
    assert engine.onchain(wallet) == 30
    assert engine.bench.balance(withdrawal.counterparty) == 90
    assert ledger.balances(wallet.pk) == Balances(30, 0, 0, 0, 0, 30)
    assert findings() == []
    assert not SlotItem.objects.filter(is_open=True).exists()
    assert find(engine) == []


def test_what_comes_back_by_itself_is_recognised(engine, forget):
    bonus = give_bonus(WalletFactory.create())
    engine.settle_all()
    raw = bytes(Slot.objects.get().attempts.get().raw)
    forget()
    find(engine)
    engine.chain.send(raw)
    engine.finalize()

    confirm(engine)
    engine.tick()

    assert payout_of(bonus).state == State.COMPLETED
    assert engine.onchain(bonus.wallet) == 50


def test_nonce_that_somebody_else_took_meanwhile_makes_another_slot(engine, forget):
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    engine.settle_all()
    forget()
    find(engine)
    engine.bench.chain.rpc("anvil_setNonce", engine.bench.operator, "0x1")
    engine.finalize()

    confirm(engine)
    settle_again(engine)
    Operator.objects.update(is_paused=False, pause_reason="", paused_at=None)
    engine.now += timedelta(hours=1)
    settle_again(engine)

    assert [slot.state for slot in Slot.objects.order_by("nonce")] == ["DEAD", "FINAL"]
    assert payout_of(bonus).state == State.COMPLETED
    assert engine.onchain(wallet) == 50
    assert findings() == []


def test_reorg_is_confirmed_once(engine, forget):
    give_bonus(WalletFactory.create())
    engine.settle_all()
    forget()
    find(engine)
    confirm(engine)
    opened = SlotItem.objects.filter(is_open=True).count()

    with pytest.raises(AlreadyConfirmed):
        confirm(engine)

    reorg = Reorg.objects.get()
    assert (reorg.confirmed_by, reorg.reason) == ("fay", "Seen")
    assert SlotItem.objects.filter(is_open=True).count() == opened


def test_node_that_lags_behind_has_lost_nothing(engine):
    give_bonus(WalletFactory.create())
    engine.finalize()
    before = engine.chain.finalized_block()
    engine.settle_all()
    engine.chain.finalized_block = lambda: before

    assert find(engine) == []
