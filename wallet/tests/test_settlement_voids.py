"""A payout that is never paid: its id void on the chain for good, then the books; never both."""

from datetime import timedelta

import pytest

from kgen.common.identifiers import uuid7
from wallet import ledger, reconciliation
from wallet.models import Payout, Slot, Transfer, WalletTransaction
from wallet.settlement import calldata, lanes, pausing
from wallet.settlement.voiding import NotFailed, NotVoidable, begin_void, retry
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import START, Engine, give_bonus, join, payout_of, status, win, withdraw
from wallet.tests.test_settlement_engine import operator_behind_our_back

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet(db):
    return WalletFactory.create()


def fail(engine: Engine, transaction: WalletTransaction) -> Payout:
    """As if its ten tries were used up; the id has been on the chain's doorstep."""
    Payout.objects.filter(transactions=transaction).update(
        state="FAILED", tries=10, error="ERC20InsufficientBalance"
    )
    payout = payout_of(transaction)
    name_on_chain(engine, payout)
    WalletTransaction.objects.filter(payout=payout).update(
        sync_status="FAILED", sync_error=payout.error
    )
    return payout


def name_on_chain(engine: Engine, payout: Payout) -> None:
    settlement = engine.bench.settlement.address.lower()
    Payout.objects.filter(pk=payout.pk).update(
        settlement_address=settlement,
        onchain_id=calldata.onchain_id(
            chain_id=31337, settlement_address=settlement, payout_uid=payout.pk
        ),
    )
    payout.refresh_from_db()


def void(engine: Engine, payout: Payout) -> Payout:
    return begin_void(payout_uid=payout.pk, by="sam", reason="a wrong address", now=engine.now)


def books_are_right() -> bool:
    return [finding for audit in reconciliation.AUDITS for finding in audit.find()] == []


def failed_withdrawal(engine: Engine, wallet) -> WalletTransaction:
    """70 earned and on the chain; the withdrawal of it has failed."""
    win(wallet, 70)
    engine.settle_all()
    withdrawal = withdraw_what_is_there(wallet)
    # The constraint wants an id before any state but PENDING.
    name_on_chain(engine, payout_of(withdrawal))
    fail(engine, withdrawal)
    return withdrawal


def withdraw_what_is_there(wallet) -> WalletTransaction:
    return withdraw(wallet, 1)


def test_a_failed_withdrawal_is_given_back_once_its_id_is_void_for_good(engine: Engine, wallet):
    withdrawal = failed_withdrawal(engine, wallet)
    payout = void(engine, payout_of(withdrawal))
    assert (payout.state, status(withdrawal)) == ("VOIDING", "PROCESSING")

    engine.tick()
    engine.mine()
    engine.tick()
    assert (payout_of(withdrawal).state, ledger.balances(wallet.pk).hold) == ("VOIDING", 71)
    assert Slot.objects.latest("nonce").action == "VOID"

    engine.finalize()
    engine.tick()
    assert payout_of(withdrawal).state == "VOIDED"
    assert (status(withdrawal), withdrawal.sync_error) == ("COMPLETED", None)
    reversal = WalletTransaction.objects.get(reverses=withdrawal)
    assert (reversal.amount, reversal.sync_status, reversal.payout) == (71, "COMPLETED", None)
    balances = ledger.balances(wallet.pk)
    assert (balances.earned, balances.hold) == (71, 0)
    assert engine.bench.record(str(payout.onchain_id))[-1] == 1
    engine.settle_all()
    assert engine.onchain(wallet) == ledger.balances(wallet.pk).onchain == 71
    assert books_are_right()


def test_what_was_paid_before_it_could_be_voided_is_completed(engine: Engine, wallet):
    withdrawal = failed_withdrawal(engine, wallet)
    engine.settle_all()
    payout = payout_of(withdrawal)
    pay_behind_our_back(engine, payout)
    void(engine, payout)

    engine.settle_all()

    payout.refresh_from_db()
    assert (payout.state, status(withdrawal)) == ("COMPLETED", "COMPLETED")
    assert payout.tx_hash is not None
    assert ledger.balances(wallet.pk).hold == 0
    assert engine.bench.balance(payout.to_address) == 71
    assert list(Transfer.objects.filter(posting_id=payout.pk, phase=1).values_list("kind")) == [
        ("SETTLE",)
    ]
    assert not WalletTransaction.objects.filter(type="REVERSAL").exists()
    assert books_are_right()


def pay_behind_our_back(engine: Engine, payout: Payout) -> None:
    bench = engine.bench
    bench.chain.rpc("evm_setAutomine", True)
    other = operator_behind_our_back(engine)
    index = payout.wallet.hd_index
    bench.permit_many([bench.permit(index)], sender=other)
    item = bench.payment(index, payout.to_address, payout.amount, onchain_id=str(payout.onchain_id))
    bench.settle([bench.claim(payout.wallet.address, 1)], sender=other)
    assert bench.settle([item], sender=other).events[0][0] == "Settled"
    bench.chain.rpc("evm_setAutomine", False)


@pytest.mark.parametrize("first", ["payment", "void"])
def test_of_a_payment_and_a_void_in_one_block_the_first_wins(engine: Engine, wallet, first):
    """A payment that was sent long ago, by hand or before a restore, comes beside the void."""
    withdrawal = failed_withdrawal(engine, wallet)
    engine.settle_all()
    bench, payout = engine.bench, payout_of(withdrawal)
    bench.chain.rpc("evm_setAutomine", True)
    other = operator_behind_our_back(engine)
    bench.permit_many([bench.permit(wallet.hd_index)], sender=other)
    bench.settle([bench.claim(wallet.address, 1)], sender=other)
    bench.chain.rpc("evm_setAutomine", False)
    item = bench.payment(
        wallet.hd_index, payout.to_address, payout.amount, onchain_id=str(payout.onchain_id)
    )
    void(engine, payout)

    def pay() -> None:
        bench.chain.rpc(
            "eth_sendTransaction",
            {
                "from": other,
                "to": bench.settlement.address,
                "data": "0x" + calldata.settle([item]).hex(),
                "gas": hex(1_000_000),
            },
        )

    for step in (pay, engine.tick) if first == "payment" else (engine.tick, pay):
        step()
        engine.mine()
    engine.settle_all()

    payout.refresh_from_db()
    paid, hold = bench.balance(payout.to_address), ledger.balances(wallet.pk).hold
    if first == "payment":
        assert (payout.state, paid, hold) == ("COMPLETED", 71, 0)
        assert ledger.balances(wallet.pk).earned == 0
    else:
        assert (payout.state, paid, hold) == ("VOIDED", 0, 0)
        assert ledger.balances(wallet.pk).earned == 71
    assert Transfer.objects.filter(posting_id=payout.pk, phase=1).count() == 1
    assert status(withdrawal) == "COMPLETED"
    assert books_are_right()


def test_a_voided_id_is_never_paid_however_late_the_payment_comes(engine: Engine, wallet):
    withdrawal = failed_withdrawal(engine, wallet)
    void(engine, payout_of(withdrawal))
    engine.settle_all()
    payout, bench = payout_of(withdrawal), engine.bench
    bench.chain.rpc("evm_setAutomine", True)

    item = bench.claim(payout.to_address, 71, onchain_id=str(payout.onchain_id))
    done = bench.settle([item], sender=operator_behind_our_back(engine))

    assert done.events == [("Skipped", payout.onchain_id, "conflict")]
    assert bench.balance(payout.to_address) == 0


def test_a_voided_net_payout_sends_its_transactions_back_to_the_queue(engine: Engine, wallet):
    bonus, fee = give_bonus(wallet), join(wallet, 20)
    engine.tick()
    engine.bench.chain.rpc("anvil_dropAllTransactions")
    payout = payout_of(bonus)
    Slot.objects.update(state="DEAD", closed_at=engine.now)
    payout.slot_items.update(is_open=False)
    fail(engine, bonus)
    void(engine, payout)
    # The lane's nonce was not used after all.
    engine.open_lane().slots.all()
    engine.bench.chain.rpc("anvil_setNonce", engine.signer.address, hex(next_nonce(engine)))

    engine.tick()
    engine.finalize()
    engine.tick()

    payout.refresh_from_db()
    assert payout.state == "VOIDED"
    engine.settle_all()
    again = payout_of(bonus)
    assert (again.pk != payout.pk, again.seq, again.last_seq, again.amount) == (True, 1, 2, 30)
    assert again.onchain_id != payout.onchain_id
    assert (again.state, status(bonus), status(fee)) == ("COMPLETED", "COMPLETED", "COMPLETED")
    assert engine.onchain(wallet) == ledger.balances(wallet.pk).onchain == 30
    assert books_are_right()


def next_nonce(engine: Engine) -> int:
    return engine.open_lane().next_nonce


def test_voids_go_on_while_payouts_are_paused(engine: Engine, wallet):
    withdrawal = failed_withdrawal(engine, wallet)
    void(engine, payout_of(withdrawal))
    pausing.pause(reason="drift", by="fin", now=engine.now)
    bench = engine.bench
    bench.chain.rpc("evm_setAutomine", True)
    bench.call(bench.admin, "pause")
    bench.chain.rpc("evm_setAutomine", False)

    engine.settle_all()

    assert payout_of(withdrawal).state == "VOIDED"


def test_a_reverted_void_is_tried_again(engine: Engine, wallet):
    withdrawal = failed_withdrawal(engine, wallet)
    void(engine, payout_of(withdrawal))
    bench = engine.bench
    role = bench.settlement.functions.OPERATOR().call()
    bench.chain.rpc("evm_setAutomine", True)
    bench.call(bench.admin, "revokeRole", role, bench.operator)
    bench.chain.rpc("evm_setAutomine", False)

    engine.tick()
    engine.finalize()
    engine.tick()
    assert (payout_of(withdrawal).state, ledger.balances(wallet.pk).hold) == ("VOIDING", 71)

    bench.chain.rpc("anvil_dropAllTransactions")
    bench.chain.rpc("evm_setAutomine", True)
    bench.call(bench.admin, "grantRole", role, bench.operator)
    bench.chain.rpc("evm_setAutomine", False)
    lane = engine.open_lane()
    if lane.is_paused:
        lanes.resume(operator_id=lane.pk, by="sam", reason="the role is back")
    engine.now += timedelta(seconds=10)
    engine.settle_all()
    assert payout_of(withdrawal).state == "VOIDED"


# --- What was never submitted --------------------------------------------------------------------


@pytest.mark.parametrize("state", ["AWAITING_APPROVAL", "PENDING"])
def test_a_withdrawal_that_was_never_submitted_is_given_back_at_once(engine: Engine, wallet, state):
    withdrawal = withdraw(wallet, 70)
    Payout.objects.update(state=state)

    payout = void(engine, payout_of(withdrawal))

    assert (payout.state, payout.onchain_id) == ("VOIDED", None)
    assert payout_of(withdrawal).state == "VOIDED"
    assert status(withdrawal) == "COMPLETED"
    balances = ledger.balances(wallet.pk)
    assert (balances.earned, balances.hold) == (70, 0)
    engine.settle_all()
    assert engine.onchain(wallet) == 70
    assert books_are_right()


# --- Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["SUBMITTED", "CONFIRMING", "VOIDING", "VOIDED", "PENDING"])
def test_what_may_still_be_paid_or_has_ended_is_not_voided(engine: Engine, wallet, state):
    withdrawal = withdraw(wallet, 70)
    name_on_chain(engine, payout_of(withdrawal))
    Payout.objects.update(state=state)

    with pytest.raises(NotVoidable) as refusal:
        void(engine, payout_of(withdrawal))

    assert refusal.value.details == {"state": state}
    assert (payout_of(withdrawal).state, ledger.balances(wallet.pk).hold) == (state, 70)


def test_an_unknown_payout_is_not_voided(db):
    with pytest.raises(Payout.DoesNotExist):
        begin_void(payout_uid=uuid7(), by="sam", reason="?", now=START)


def test_a_failed_payout_is_tried_again_under_its_id(engine: Engine, wallet):
    withdrawal = failed_withdrawal(engine, wallet)
    before = payout_of(withdrawal)

    retry(payout_uid=before.pk, by="sam", now=engine.now)

    payout = payout_of(withdrawal)
    assert (payout.state, payout.tries, payout.error) == ("PENDING", 0, "")
    assert (status(withdrawal), withdrawal.sync_error) == ("PENDING", None)
    engine.settle_all()
    payout.refresh_from_db()
    assert (payout.state, payout.onchain_id) == ("COMPLETED", before.onchain_id)
    assert engine.bench.balance(payout.to_address) == 71


@pytest.mark.parametrize("state", ["PENDING", "SUBMITTED", "VOIDING", "REVIEW"])
def test_only_what_has_failed_is_tried_again(engine: Engine, wallet, state):
    withdrawal = withdraw(wallet, 70)
    name_on_chain(engine, payout_of(withdrawal))
    Payout.objects.update(state=state, tries=3)

    with pytest.raises(NotFailed):
        retry(payout_uid=withdrawal.pk, by="sam", now=engine.now)

    payout = payout_of(withdrawal)
    assert (payout.state, payout.tries) == (state, 3)
