"""From a wallet's transactions to KCash on the chain, and back into the books: each paid once."""

from datetime import timedelta
from typing import NoReturn

import pytest
from django.db.transaction import atomic
from web3 import Web3

from wallet import ledger, withdrawals
from wallet.ledger import KGEN_OUT
from wallet.models import Attempt, LedgerAccount, Payout, Permit, Slot, Transfer
from wallet.settlement import calldata, networks
from wallet.settlement.batching import group_transactions
from wallet.settlement.chain import Fees
from wallet.settlement.confirming import Look, confirm
from wallet.settlement.repricing import sign_slots
from wallet.settlement.signing import EnvironmentOperator, SignedTransaction, SignerUnavailable
from wallet.settlement.submitting import MAX_OPEN_SLOTS, submit
from wallet.tests.chain import new_address
from wallet.tests.factories import KgenWalletFactory, WalletFactory
from wallet.tests.settling import (
    START,
    Engine,
    give_bonus,
    join,
    lost,
    payout_of,
    receipt_of,
    receive,
    status,
    win,
)

State = Payout.State


class Crash(Exception):
    """The process dies here."""


def crash() -> None:
    raise Crash


@pytest.fixture
def wallet(db):
    return WalletFactory.create()


@pytest.fixture
def kgen_wallet(wallet):
    linked = KgenWalletFactory.create(now=START)
    wallet.gamer.kgen_account = linked.account
    wallet.gamer.save()
    return linked


def withdraw(wallet):
    wallet.gamer.game.min_withdrawal = 1
    return withdrawals.withdraw(gamer=wallet.gamer, now=wallet.created_at)


# --- The happy path ------------------------------------------------------------------------------


def test_a_bonus_reaches_the_custodial_wallet(engine: Engine, wallet):
    bonus = give_bonus(wallet)

    engine.tick()
    payout = payout_of(bonus)
    assert (payout.kind, payout.state, status(bonus)) == ("IN", "SUBMITTED", "PROCESSING")

    engine.mine()
    engine.tick()
    assert (payout_of(bonus).state, status(bonus)) == ("CONFIRMING", "PROCESSING")
    assert ledger.balances(wallet.pk).onchain == 0

    engine.finalize()
    engine.tick()
    payout = payout_of(bonus)
    assert (payout.state, status(bonus), bonus.sync_error) == ("COMPLETED", "COMPLETED", None)
    assert (payout.tries, payout.error) == (0, "")
    receipt = receipt_of(engine, payout)
    assert (payout.block_number, payout.gas_fee) == (receipt.block_number, receipt.gas_cost)
    assert ledger.balances(wallet.pk).onchain == engine.onchain(wallet) == 50


def test_an_entry_fee_goes_to_the_float_behind_the_wallets_one_permit(engine: Engine, wallet):
    give_bonus(wallet)
    engine.settle_all()
    fee = join(wallet, 10)
    float_before = engine.bench.balance(engine.bench.float_wallet)

    engine.tick()
    assert list(Slot.objects.order_by("nonce").values_list("action", flat=True)) == [
        "SETTLE",
        "PERMIT",
        "SETTLE",
    ]
    engine.settle_all()

    assert (payout_of(fee).kind, status(fee)) == ("OUT", "COMPLETED")
    assert engine.onchain(wallet) == ledger.balances(wallet.pk).onchain == 40
    assert engine.bench.balance(engine.bench.float_wallet) == float_before + 10

    second = join(wallet, 15)
    engine.settle_all()
    assert status(second) == "COMPLETED"
    assert engine.onchain(wallet) == 25
    assert Permit.objects.get().state == "GRANTED"


def test_a_withdrawal_reaches_the_kgen_wallet_and_ends_its_hold(
    engine: Engine, wallet, kgen_wallet
):
    give_bonus(wallet)
    win(wallet, 70)
    out_before = LedgerAccount.objects.get(pk=KGEN_OUT)
    withdrawal = withdraw(wallet)
    payout = Payout.objects.get(pk=withdrawal.transaction_uid)
    assert (payout.kind, payout.state, payout.amount) == ("WITHDRAW", "PENDING", 70)

    engine.settle_all()

    payout.refresh_from_db()
    assert payout.state == "COMPLETED"
    assert engine.bench.balance(kgen_wallet.address) == 70
    assert engine.onchain(wallet) == 50
    assert ledger.balances(wallet.pk) == ledger.Balances(
        bonus=50, bought=0, earned=0, claimable=0, hold=0, onchain=50
    )
    settled = Transfer.objects.get(posting_id=payout.uid, phase=1)
    assert (settled.kind, settled.credit_id, settled.amount) == ("SETTLE", out_before.pk, 70)


def test_a_wallet_goes_out_in_its_own_order_in_as_few_slots_as_can_be(
    engine: Engine, wallet, kgen_wallet
):
    give_bonus(wallet)
    join(wallet, 50)
    win(wallet, 70)
    withdraw(wallet)

    engine.settle_all()

    assert list(Payout.objects.order_by("seq").values_list("kind", "state", "amount")) == [
        ("IN", "COMPLETED", 70),
        ("WITHDRAW", "COMPLETED", 70),
    ]
    assert list(Slot.objects.order_by("nonce").values_list("action", "state")) == [
        ("PERMIT", "FINAL"),
        ("SETTLE", "FINAL"),
    ]
    assert (engine.onchain(wallet), engine.bench.balance(kgen_wallet.address)) == (0, 70)


def test_what_a_wallet_does_while_it_is_in_flight_waits_its_turn(engine: Engine, wallet):
    give_bonus(wallet)
    engine.tick()
    fee = join(wallet, 10)

    engine.tick()
    fee.refresh_from_db()
    assert (fee.payout, fee.sync_status) == (None, "PENDING")

    engine.settle_all()
    assert status(fee) == "COMPLETED"
    assert engine.onchain(wallet) == 40


def test_a_withdrawal_asked_while_a_group_is_in_flight_follows_it(
    engine: Engine, wallet, kgen_wallet
):
    give_bonus(wallet)
    engine.tick()
    win(wallet, 70)
    withdrawal = withdraw(wallet)
    after = join(wallet, 20)

    engine.tick()
    assert ledger.balances(wallet.pk).hold == 70
    assert list(Payout.objects.order_by("seq").values_list("kind", "state")) == [
        ("IN", "SUBMITTED"),
        ("WITHDRAW", "PENDING"),
    ]

    engine.settle_all()
    assert list(Payout.objects.order_by("seq").values_list("kind", "seq", "amount")) == [
        ("IN", 1, 50),
        ("IN", 2, 70),
        ("WITHDRAW", 3, 70),
        ("OUT", 4, 20),
    ]
    net = Payout.objects.get(seq=2)
    paid = Payout.objects.get(pk=withdrawal.transaction_uid)
    assert net.slot_items.get().slot == paid.slot_items.get().slot
    assert [net.slot_items.get().position, paid.slot_items.get().position] == [0, 1]
    assert status(after) == "COMPLETED"
    assert (engine.onchain(wallet), engine.bench.balance(kgen_wallet.address)) == (30, 70)


def test_what_nets_to_zero_never_meets_the_chain(engine: Engine, wallet):
    bonus, fee = give_bonus(wallet), join(wallet, 50)

    engine.settle_all()

    assert (status(bonus), status(fee)) == ("COMPLETED", "COMPLETED")
    assert (Payout.objects.count(), Slot.objects.count()) == (0, 0)
    assert engine.onchain(wallet) == ledger.balances(wallet.pk).onchain == 0


def test_the_books_wait_for_the_deposit_that_paid_a_withdrawal(engine: Engine, wallet, kgen_wallet):
    """The net before it fails, and a stranger's KCash makes up for that, not booked yet."""
    win(wallet, 70)
    withdraw(wallet)
    engine.tick()
    bench = engine.bench
    bench.chain.rpc("anvil_dropAllTransactions")
    bench.chain.rpc("evm_setAutomine", True)
    bench.settle([bench.claim(wallet.address, 70)], sender=operator_behind_our_back(engine))
    bench.chain.rpc("anvil_impersonateAccount", bench.float_wallet)
    bench.chain.rpc("anvil_setBalance", bench.float_wallet, hex(10**20))
    everything = bench.balance(bench.float_wallet)
    data = bench.kcash.encode_abi("transfer", args=[bench.admin, everything])
    bench.chain.rpc(
        "eth_sendTransaction",
        {"from": bench.float_wallet, "to": bench.kcash.address, "data": data},
    )
    bench.chain.rpc("evm_setAutomine", False)
    other = give_bonus(WalletFactory.create())
    engine.now += timedelta(seconds=10)
    engine.tick()
    engine.finalize()

    engine.tick()

    assert bench.balance(kgen_wallet.address) == 70
    carrier = Payout.objects.get(kind="WITHDRAW").slot_items.get().slot
    assert (carrier.state, ledger.balances(wallet.pk).hold) == ("OPEN", 70)
    other.refresh_from_db()
    assert other.payout is not None

    receive(wallet, 70)
    engine.tick()

    assert Payout.objects.get(kind="WITHDRAW").state == "COMPLETED"
    balances = ledger.balances(wallet.pk)
    assert (balances.hold, balances.onchain, balances.bought) == (0, 0, 70)


def test_the_cost_of_a_batch_is_shared_by_its_payouts(engine: Engine):
    bonuses = [give_bonus(WalletFactory.create()) for _ in range(3)]

    engine.settle_all()

    receipt = receipt_of(engine, payout_of(bonuses[0]))
    assert [payout_of(bonus).gas_fee for bonus in bonuses] == [receipt.gas_cost // 3] * 3


# --- Crashes: whatever is lost, the next run goes on and pays once -------------------------------


class DyingSigner:
    """Ends as it is told to, in place of a signature."""

    def __init__(self, engine: Engine, problem: type[Exception]) -> None:
        self.address = engine.signer.address
        self._problem = problem

    def sign_call(self, **_call: object) -> NoReturn:
        raise self._problem


def test_a_crash_while_signing_leaves_a_slot_that_the_next_run_signs(engine: Engine, wallet):
    bonus = give_bonus(wallet)
    operator = engine.open_lane()
    nonce = operator.next_nonce
    healthy, engine.signer = engine.signer, DyingSigner(engine, Crash)
    with pytest.raises(Crash):
        engine.tick()
    operator.refresh_from_db()
    assert (Slot.objects.get().nonce, operator.next_nonce) == (nonce, nonce + 1)
    assert (payout_of(bonus).state, Attempt.objects.count()) == ("SUBMITTED", 0)

    engine.signer = healthy
    engine.settle_all()
    assert (Slot.objects.count(), Attempt.objects.count()) == (1, 1)
    assert engine.onchain(wallet) == 50


def test_an_operator_who_does_not_sign_holds_up_what_is_not_signed_yet(engine: Engine, wallet):
    first = give_bonus(wallet)
    engine.tick()
    healthy, engine.signer = engine.signer, DyingSigner(engine, SignerUnavailable)
    second = give_bonus(WalletFactory.create())

    for _ in range(3):
        engine.tick()
        engine.finalize()
    assert (status(first), status(second)) == ("COMPLETED", "PROCESSING")
    assert Attempt.objects.count() == 1

    engine.signer = healthy
    engine.settle_all()
    assert status(second) == "COMPLETED"


class AbsentCustodian:
    def sign_permit(self, **_asked: object) -> NoReturn:
        raise SignerUnavailable

    def sign_payout(self, **_asked: object) -> NoReturn:
        raise SignerUnavailable


def test_a_custodian_who_does_not_sign_leaves_everything_as_it_is(
    engine: Engine, wallet, kgen_wallet
):
    win(wallet, 70)
    withdraw(wallet)
    healthy, engine.custodian = engine.custodian, AbsentCustodian()

    engine.tick()

    assert set(Payout.objects.values_list("state", "onchain_id")) == {("PENDING", None)}
    assert (Slot.objects.count(), Permit.objects.count()) == (0, 0)
    engine.custodian = healthy
    engine.settle_all()
    assert engine.bench.balance(kgen_wallet.address) == 70


def test_of_two_who_sign_a_slot_at_once_one_is_stored(engine: Engine, wallet):
    give_bonus(wallet)

    class Racing(EnvironmentOperator):
        """While it signs, somebody else signs the same, at another price, and is faster."""

        def sign_call(self, **call) -> SignedTransaction:
            signed = super().sign_call(**call)
            if call["max_fee"] < 10**12:
                dearer = Fees(base=10**12, tip=1)
                sign_slots(operator_id=lane, fees=dearer, signer=self, now=engine.now)
            return signed

    lane = engine.open_lane().pk
    engine.signer = Racing()
    engine.tick()

    assert Attempt.objects.get().max_fee == networks.of(31337).fee_cap
    engine.settle_all()
    assert engine.onchain(wallet) == 50


def test_a_crash_between_submitting_and_sending_is_made_up_for(engine: Engine, wallet):
    give_bonus(wallet)
    engine.chain.before_send = crash
    with pytest.raises(Crash):
        engine.tick()
    stored = Attempt.objects.get()
    assert stored.first_sent_at is None

    engine.chain.before_send = None
    engine.settle_all()

    assert Payout.objects.get().tx_hash == stored.tx_hash
    assert engine.onchain(wallet) == 50


def test_a_crash_between_sending_and_noting_it_sends_the_same_bytes_again(engine: Engine, wallet):
    give_bonus(wallet)
    engine.chain.after_send = crash
    with pytest.raises(Crash):
        engine.tick()

    engine.chain.after_send = None
    engine.settle_all()

    assert Payout.objects.get().tx_hash == Attempt.objects.get().tx_hash
    assert engine.onchain(wallet) == 50


@pytest.mark.parametrize("when", ["before_send", "after_send"])
def test_a_lost_call_or_a_lost_reply_decides_nothing(engine: Engine, wallet, when):
    bonus = give_bonus(wallet)
    setattr(engine.chain, when, lost)
    engine.tick()
    setattr(engine.chain, when, None)
    engine.mine()
    assert status(bonus) == "PROCESSING"

    engine.now += timedelta(seconds=10)
    engine.settle_all()

    assert (status(bonus), Attempt.objects.count()) == ("COMPLETED", 1)
    assert engine.onchain(wallet) == 50


def test_a_crash_inside_the_closing_transaction_closes_nothing(engine: Engine, wallet, kgen_wallet):
    win(wallet, 70)
    withdraw(wallet)
    engine.tick()
    engine.finalize()

    def close_and_die() -> None:
        with atomic():
            look = confirm(operator_id=operator_id, chain=engine.chain, now=engine.now)
            assert look == Look(closed=2, is_behind=False)
            raise Crash

    operator_id = engine.open_lane().pk
    with pytest.raises(Crash):
        close_and_die()
    assert ledger.balances(wallet.pk).hold == 70
    assert set(Payout.objects.values_list("state", flat=True)) == {"SUBMITTED"}

    engine.settle_all()
    assert ledger.balances(wallet.pk).hold == 0
    assert engine.bench.balance(kgen_wallet.address) == 70


def test_every_run_may_be_doubled(engine: Engine, wallet, kgen_wallet):
    give_bonus(wallet)
    win(wallet, 70)
    withdraw(wallet)

    for _ in range(4):
        engine.tick()
        engine.tick()
        engine.finalize()
    engine.tick()

    assert engine.bench.balance(kgen_wallet.address) == 70
    assert engine.onchain(wallet) == ledger.balances(wallet.pk).onchain == 50
    assert Slot.objects.count() == Attempt.objects.count() == 2


# --- What the chain can do -----------------------------------------------------------------------


def test_a_reorg_takes_a_payout_back_to_submitted_and_its_bytes_are_sent_again(
    engine: Engine, wallet
):
    bonus = give_bonus(wallet)
    engine.tick()
    engine.mine()
    engine.tick()
    assert payout_of(bonus).state == "CONFIRMING"

    engine.bench.chain.rpc("anvil_reorg", 1, [])
    engine.tick()
    assert (payout_of(bonus).state, status(bonus)) == ("SUBMITTED", "PROCESSING")
    assert ledger.balances(wallet.pk).onchain == 0

    engine.now += timedelta(seconds=10)
    engine.settle_all()
    assert payout_of(bonus).tx_hash == Attempt.objects.get().tx_hash
    assert engine.onchain(wallet) == 50


def drain(engine: Engine, wallet) -> None:
    """Take the wallet's KCash away behind the platform's back."""
    bench = engine.bench
    bench.chain.rpc("anvil_impersonateAccount", wallet.address)
    bench.chain.rpc("anvil_setBalance", wallet.address, hex(10**20))
    data = bench.kcash.encode_abi("transfer", args=[bench.admin, bench.balance(wallet.address)])
    bench.chain.rpc(
        "eth_sendTransaction", {"from": wallet.address, "to": bench.kcash.address, "data": data}
    )
    engine.mine()


def test_a_payout_that_fails_is_tried_again_alone(engine: Engine, wallet):
    give_bonus(wallet)
    engine.settle_all()
    drain(engine, wallet)
    fee, other = join(wallet, 10), give_bonus(WalletFactory.create())

    # The permit is not mined yet, so that nobody can foresee how the payout fares.
    engine.tick()
    engine.finalize()
    engine.tick()

    payout = payout_of(fee)
    assert status(other) == "COMPLETED"
    assert (payout.tries, payout.error) == (1, "ERC20InsufficientBalance")
    assert (fee.sync_error, ledger.balances(wallet.pk).onchain) == (None, 50)

    bench = engine.bench
    bench.chain.rpc("evm_setAutomine", True)
    bench.settle([bench.claim(wallet.address, 50)], sender=operator_behind_our_back(engine))
    bench.chain.rpc("evm_setAutomine", False)
    engine.settle_all()
    assert (status(fee), payout_of(fee).error) == ("COMPLETED", "")
    assert ledger.balances(wallet.pk).onchain == 40


def operator_behind_our_back(engine: Engine) -> str:
    """Another operator, so that the lane's nonces stay its own."""
    bench, other = engine.bench, Web3.to_checksum_address(new_address())
    role = bench.settlement.functions.OPERATOR().call()
    bench.call(bench.admin, "grantRole", role, other)
    return other


def test_ten_failed_tries_end_in_failed_and_the_wallet_waits(engine: Engine, wallet):
    give_bonus(wallet)
    engine.settle_all()
    drain(engine, wallet)
    fee = join(wallet, 10)
    engine.settle_all()

    payout = payout_of(fee)
    assert (payout.state, payout.tries) == ("FAILED", 10)
    assert (status(fee), fee.sync_error) == ("FAILED", "ERC20InsufficientBalance")

    later = win(wallet, 5)
    engine.settle_all()
    later.refresh_from_db()
    assert (later.payout, later.sync_status) == (None, "PENDING")
    assert ledger.balances(wallet.pk).onchain == 50


def test_a_reverted_batch_counts_as_a_try_and_a_pause_stops_new_ones(engine: Engine, wallet):
    bonus = give_bonus(wallet)
    engine.tick()
    bench = engine.bench
    bench.chain.rpc("anvil_dropAllTransactions")
    bench.chain.rpc("evm_setAutomine", True)
    bench.call(bench.admin, "pause")
    bench.chain.rpc("evm_setAutomine", False)
    engine.now += timedelta(seconds=10)
    engine.tick()
    engine.finalize()
    engine.tick()

    payout = payout_of(bonus)
    assert (payout.state, payout.tries) == ("PENDING", 1)
    assert payout.error == "the whole batch was reverted"
    assert engine.tick().submitted == 0

    bench.chain.rpc("evm_setAutomine", True)
    bench.call(bench.admin, "unpause")
    bench.chain.rpc("evm_setAutomine", False)
    engine.settle_all()
    assert engine.onchain(wallet) == 50


def settle_with_the_lanes_nonce(engine: Engine, item: calldata.Item) -> None:
    """Somebody else uses the operator's key, for the nonce that the open slot has."""
    bench = engine.bench
    bench.chain.rpc("anvil_dropAllTransactions")
    bench.chain.rpc("evm_setAutomine", True)
    bench.settle([item])
    bench.chain.rpc("evm_setAutomine", False)
    engine.finalize()


def test_a_nonce_used_by_somebody_else_frees_its_payouts_for_another_slot(engine: Engine, wallet):
    bonus = give_bonus(wallet)
    engine.tick()
    settle_with_the_lanes_nonce(engine, engine.bench.claim(new_address(), 1))

    engine.tick()
    assert Slot.objects.earliest("nonce").state == "DEAD"

    engine.settle_all()
    assert (status(bonus), payout_of(bonus).tries) == ("COMPLETED", 0)
    assert engine.onchain(wallet) == 50


def test_a_payout_already_paid_elsewhere_is_completed_with_that_transaction(engine: Engine, wallet):
    bonus = give_bonus(wallet)
    engine.tick()
    onchain_id = str(payout_of(bonus).onchain_id)
    settle_with_the_lanes_nonce(
        engine, engine.bench.claim(wallet.address, 50, onchain_id=onchain_id)
    )

    engine.settle_all()

    payout = payout_of(bonus)
    paid = receipt_of(engine, payout)
    assert (payout.state, payout.block_number) == ("COMPLETED", paid.block_number)
    assert payout.tx_hash not in Attempt.objects.values_list("tx_hash", flat=True)
    assert engine.onchain(wallet) == ledger.balances(wallet.pk).onchain == 50


@pytest.mark.parametrize("how", ["paid otherwise", "voided"])
def test_an_id_that_ended_otherwise_is_left_to_a_person(engine: Engine, wallet, how):
    bonus = give_bonus(wallet)
    engine.tick()
    bench, onchain_id = engine.bench, str(payout_of(bonus).onchain_id)
    bench.chain.rpc("anvil_dropAllTransactions")
    bench.chain.rpc("evm_setAutomine", True)
    other = operator_behind_our_back(engine)
    if how == "voided":
        bench.call(other, "voidIds", [onchain_id])
    else:
        bench.settle([bench.claim(wallet.address, 49, onchain_id=onchain_id)], sender=other)
    bench.chain.rpc("evm_setAutomine", False)
    engine.now += timedelta(seconds=10)

    engine.settle_all()

    assert (payout_of(bonus).state, status(bonus)) == ("REVIEW", "PROCESSING")
    assert ledger.balances(wallet.pk).onchain == 0


# --- Price ---------------------------------------------------------------------------------------


def test_what_nobody_mines_is_sent_again_and_then_offered_more(engine: Engine, wallet):
    give_bonus(wallet)
    engine.tick()
    engine.now += timedelta(seconds=20)
    assert (engine.tick().sent, Attempt.objects.count()) == (1, 1)

    engine.now += timedelta(seconds=10)
    engine.tick()

    first, second = Attempt.objects.order_by("seq")
    assert second.max_fee > first.max_fee * 1.125
    assert second.priority_fee > first.priority_fee * 1.125
    engine.settle_all()
    assert Payout.objects.get().tx_hash == second.tx_hash
    assert engine.onchain(wallet) == 50


def test_the_older_attempt_may_be_the_one_that_is_mined(engine: Engine, wallet):
    give_bonus(wallet)
    engine.tick()
    engine.now += timedelta(seconds=30)
    engine.chain.before_send = lost
    engine.tick()
    engine.chain.before_send = None
    engine.finalize()

    engine.tick()

    first, _never_sent = Attempt.objects.order_by("seq")
    assert Payout.objects.get().tx_hash == first.tx_hash
    assert engine.onchain(wallet) == 50


# --- The lane ------------------------------------------------------------------------------------


def test_a_lane_keeps_few_nonces_open_and_leaves_no_gap(engine: Engine):
    operator = engine.open_lane()
    for _ in range(MAX_OPEN_SLOTS + 2):
        give_bonus(WalletFactory.create())
    engine.now += timedelta(seconds=2)
    group_transactions(now=engine.now)

    slots = [
        submit(
            operator_id=operator.pk,
            chain=engine.chain,
            fees=engine.chain.fees(),
            custodian=engine.custodian,
            now=engine.now,
            batch=1,
        )
        for _ in range(MAX_OPEN_SLOTS + 1)
    ]

    first = operator.next_nonce
    assert [slot and slot.nonce for slot in slots] == [first, first + 1, first + 2, first + 3, None]
    operator.refresh_from_db()
    assert operator.next_nonce == first + MAX_OPEN_SLOTS
    engine.settle_all()
    assert set(Payout.objects.values_list("state", flat=True)) == {"COMPLETED"}


def test_a_paused_lane_submits_nothing(engine: Engine, wallet):
    bonus = give_bonus(wallet)
    operator = engine.open_lane()
    operator.is_paused, operator.pause_reason, operator.paused_at = True, "a look", engine.now
    operator.save()

    engine.tick()

    assert (payout_of(bonus).state, Slot.objects.count()) == ("PENDING", 0)
