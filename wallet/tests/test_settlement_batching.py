"""What a wallet did becomes one payout of the net, in its order, when that is due."""

from datetime import timedelta

import pytest
from django.db import transaction

from accounts.models import Game
from kgen.common.identifiers import uuid7
from wallet import approvals, deposits, ledger, reconciliation, reversals, transactions, withdrawals
from wallet.ledger import Balances
from wallet.models import Payout, Wallet, WalletTransaction
from wallet.settlement import picking
from wallet.settlement.batching import group_transactions
from wallet.tests.factories import KgenWalletFactory, WalletFactory
from wallet.tests.limiting import linked_wallet, staff
from wallet.tests.settling import START, give_bonus, join, payout_of, receive, status, win

WINDOW = timedelta(seconds=60)
LATER = START + WINDOW


@pytest.fixture(autouse=True)
def _window(settings) -> None:
    settings.NET_WINDOW_SECONDS = 60


@pytest.fixture
def wallet(db):
    linked = KgenWalletFactory.create(now=START)
    wallet = WalletFactory.create()
    wallet.gamer.kgen_account = linked.account
    wallet.gamer.save()
    wallet.gamer.game.min_withdrawal = 1
    return wallet


def withdraw(wallet: Wallet) -> WalletTransaction:
    done = withdrawals.withdraw(gamer=wallet.gamer, now=START)
    return WalletTransaction.objects.get(uid=done.transaction_uid)


def payouts():
    return list(
        Payout.objects.order_by("wallet_id", "seq").values_list("kind", "seq", "last_seq", "amount")
    )


def end(payout: Payout, *, state: str = "COMPLETED") -> None:
    """As the chain does, with what it covers."""
    chain = {"tx_hash": "0x" + "aa" * 32, "block_number": 1, "gas_fee": 1}
    Payout.objects.filter(pk=payout.pk).update(
        state=state,
        settlement_address="0x" + "5e" * 20,
        onchain_id="0x" + payout.pk.hex * 2,
        **(chain if state == "COMPLETED" else {}),
    )
    if state != "COMPLETED":
        return
    covered = WalletTransaction.objects.filter(payout=payout).order_by("seq")
    covered.update(sync_status="COMPLETED")
    for entry in covered:
        ledger.confirm_on_chain(
            transaction_uid=entry.uid, wallet_id=entry.wallet_id, signed_amount=entry.signed_amount
        )


# --- The net -------------------------------------------------------------------------------------


def test_what_a_wallet_did_is_one_payout_of_the_net_into_it(wallet, settings):
    bonus, fee, reward = give_bonus(wallet), join(wallet, 10), win(wallet, 5)

    assert group_transactions(now=LATER) == 1

    assert payouts() == [("IN", 1, 3, 45)]
    payout = payout_of(bonus)
    assert payout_of(fee) == payout_of(reward) == payout
    assert (payout.from_address, payout.to_address) == (settings.FLOAT_ADDRESS, wallet.address)
    assert (payout.state, payout.onchain_id, payout.created_at) == ("PENDING", None, LATER)
    assert {status(entry) for entry in (bonus, fee, reward)} == {"PENDING"}


def test_what_a_voided_net_covered_goes_out_without_what_came_after_its_paid_withdrawal(wallet):
    give_bonus(wallet)
    group_transactions(now=LATER)
    end(Payout.objects.get())
    reward, withdrawal = win(wallet, 30), withdraw(wallet)
    group_transactions(now=LATER)
    voided = payout_of(reward)
    WalletTransaction.objects.filter(pk=reward.pk).update(payout=None)
    end(voided, state="VOIDED")
    end(payout_of(withdrawal))
    later = win(wallet, 5)

    group_transactions(now=LATER)
    anew = payout_of(reward)
    end(anew)
    group_transactions(now=LATER)

    assert (anew.seq, anew.last_seq, anew.amount) == (reward.seq, reward.seq, 30)
    assert anew.pk != voided.pk
    assert payout_of(later).seq == payout_of(later).last_seq == later.seq
    assert ledger.balances(wallet.pk).onchain == 50


def test_a_net_below_zero_goes_out_of_the_wallet(wallet, settings):
    end_of_bonus(wallet)
    fee, reward = join(wallet, 10), win(wallet, 3)

    assert group_transactions(now=LATER) == 1

    payout = payout_of(fee)
    assert payout_of(reward) == payout
    assert (payout.kind, payout.seq, payout.last_seq, payout.amount) == ("OUT", 2, 3, 7)
    assert (payout.from_address, payout.to_address) == (wallet.address, settings.FLOAT_ADDRESS)


def end_of_bonus(wallet: Wallet) -> None:
    bonus = give_bonus(wallet)
    group_transactions(now=LATER)
    end(payout_of(bonus))


def test_a_net_of_zero_is_complete_without_the_chain(wallet):
    bonus, fee = give_bonus(wallet), join(wallet, 50)

    assert group_transactions(now=LATER) == 1

    assert Payout.objects.count() == 0
    assert [status(entry) for entry in (bonus, fee)] == ["COMPLETED", "COMPLETED"]
    assert (bonus.payout, fee.payout, bonus.modified_at) == (None, None, LATER)
    assert ledger.balances(wallet.pk).onchain == 0
    assert [finding for audit in reconciliation.AUDITS for finding in audit.find()] == []


def test_a_payout_that_a_restored_backup_has_lost_is_made_again_under_its_name(wallet):
    bonus = give_bonus(wallet)
    group_transactions(now=LATER)
    lost = payout_of(bonus).pk
    WalletTransaction.objects.update(payout=None)
    Payout.objects.all().delete()

    group_transactions(now=LATER)

    assert payout_of(bonus).pk == lost == bonus.pk


def test_what_was_voided_is_paid_under_another_name_each_time(wallet):
    bonus = give_bonus(wallet)
    names = []
    for _ in range(3):
        group_transactions(now=LATER)
        payout = payout_of(bonus)
        names.append(payout.pk)
        WalletTransaction.objects.update(payout=None)
        Payout.objects.filter(pk=payout.pk).update(state="VOIDED")

    assert names[0] == bonus.pk
    assert len(set(names)) == 3
    assert {(name.version, name.variant, name.int >> 80) for name in names} == {
        (7, bonus.pk.variant, bonus.pk.int >> 80)
    }


def test_each_wallet_has_its_own_net(db):
    first, second, third = (WalletFactory.create() for _ in range(3))
    for wallet in (first, second, third):
        give_bonus(wallet)
    join(second, 20)
    join(third, 50)

    assert group_transactions(now=LATER) == 3

    assert payouts() == [("IN", 1, 1, 50), ("IN", 1, 2, 30)]


def test_grouping_again_makes_nothing(wallet):
    give_bonus(wallet)
    group_transactions(now=LATER)

    assert group_transactions(now=LATER) == 0

    assert Payout.objects.count() == 1


def test_as_many_wallets_are_grouped_at_once_as_asked_for(db):
    for _ in range(3):
        give_bonus(WalletFactory.create())

    assert [group_transactions(now=LATER, limit=2) for _ in range(3)] == [2, 1, 0]


def test_what_reaches_the_chain_another_way_is_never_paid_out(wallet):
    bonus = give_bonus(wallet)
    receive(wallet, 5)
    join(wallet, 20)
    transactions.record(
        WalletTransaction.Type.REVERSAL,
        WalletTransaction.Direction.CREDIT,
        wallet=wallet,
        uid=uuid7(),
        amount=5,
        counterparty=bonus.counterparty,
        description="",
        now=START,
        reverses=bonus,
    )

    assert group_transactions(now=LATER) == 1

    assert payouts() == [("IN", 1, 3, 30)]
    assert set(payout_of(bonus).transactions.values_list("type", flat=True)) == {
        "WELCOME_BONUS",
        "JOIN",
    }


def test_a_bought_deposit_is_paid_out_of_the_float(wallet, settings):
    bought = deposits.buy(wallet=wallet, amount=70, reference="order 1", now=START)

    assert group_transactions(now=LATER) == 1

    payout = payout_of(bought)
    assert (payout.kind, payout.amount, payout.from_address, payout.to_address) == (
        "IN",
        70,
        settings.FLOAT_ADDRESS,
        wallet.address,
    )


# --- When it is due ------------------------------------------------------------------------------


def test_the_window_opens_with_the_oldest(wallet):
    give_bonus(wallet)

    assert group_transactions(now=LATER - timedelta(microseconds=1)) == 0
    assert group_transactions(now=LATER) == 1


@pytest.mark.parametrize(("fee", "grouped"), [(10, 0), (9, 1), (50, 1)])
def test_less_than_the_threshold_waits_and_nothing_to_send_does_not(wallet, settings, fee, grouped):
    settings.NET_THRESHOLD = 41
    give_bonus(wallet)
    join(wallet, fee)

    assert group_transactions(now=LATER) == grouped


def test_less_than_the_threshold_waits_a_day_at_most(wallet, settings):
    settings.NET_THRESHOLD = 1000
    give_bonus(wallet)
    day = timedelta(hours=24)

    assert group_transactions(now=START + day - timedelta(microseconds=1)) == 0
    assert group_transactions(now=START + day) == 1


def test_a_net_out_of_the_wallet_is_held_against_the_threshold_too(wallet, settings):
    end_of_bonus(wallet)
    settings.NET_THRESHOLD = 10
    join(wallet, 9)

    assert group_transactions(now=LATER) == 0

    join(wallet, 1)

    assert group_transactions(now=LATER) == 1


def test_a_withdrawal_does_not_let_its_net_wait(wallet, settings):
    settings.NET_THRESHOLD = 1000
    give_bonus(wallet)
    win(wallet, 70)
    withdrawal = withdraw(wallet)
    after = win(wallet, 5)

    assert group_transactions(now=START) == 1

    assert payouts() == [("IN", 1, 2, 120), ("WITHDRAW", 3, 3, 70)]
    payout = payout_of(withdrawal)
    assert payout.from_address == wallet.address
    after.refresh_from_db()
    assert after.payout is None


def test_a_withdrawal_that_may_not_leave_yet_hurries_nobody(wallet, settings):
    settings.NET_THRESHOLD = 1000
    win(wallet, 70)
    withdrawal = withdraw(wallet)
    Payout.objects.filter(pk=withdrawal.pk).update(not_before=START + timedelta(seconds=1))

    assert group_transactions(now=START) == 0
    assert group_transactions(now=START + timedelta(seconds=1)) == 1


def test_a_withdrawal_that_waits_for_staff_hurries_nobody(wallet, settings):
    settings.NET_THRESHOLD = 1000
    Game.objects.update(auto_approve_limit=0)
    win(wallet, 70)
    withdrawal = withdraw(wallet)
    (ann,) = staff("ann")

    assert group_transactions(now=START) == 0

    approvals.approve(payout_uid=withdrawal.pk, by=ann, reason="fine", now=START)
    assert group_transactions(now=START) == 1


# --- One group at a time -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", ["SUBMITTED", "CONFIRMING", "REVIEW", "FAILED", "VOIDING", "PENDING"]
)
def test_the_next_group_waits_until_the_one_before_is_final(wallet, state):
    first = give_bonus(wallet)
    group_transactions(now=LATER)
    if state != "PENDING":
        end(payout_of(first), state=state)
    second = win(wallet, 5)

    assert group_transactions(now=LATER) == 0

    end(payout_of(first))
    assert group_transactions(now=LATER) == 1
    assert payouts() == [("IN", 1, 1, 50), ("IN", 2, 2, 5)]
    assert status(second) == "PENDING"


def test_a_zero_waits_for_what_is_before_it(wallet):
    bonus = give_bonus(wallet)
    group_transactions(now=LATER)
    win(wallet, 7)
    join(wallet, 7)

    assert group_transactions(now=LATER) == 0
    assert ledger.balances(wallet.pk).onchain == 0

    end(payout_of(bonus))
    assert group_transactions(now=LATER) == 1
    assert ledger.balances(wallet.pk).onchain == 50
    assert set(WalletTransaction.objects.values_list("sync_status", flat=True)) == {"COMPLETED"}


def test_what_follows_a_withdrawal_waits_for_it(wallet):
    win(wallet, 70)
    withdrawal = withdraw(wallet)
    reward = win(wallet, 5)
    group_transactions(now=LATER)
    net = Payout.objects.get(kind="IN")
    end(net)

    assert group_transactions(now=LATER) == 0

    end(payout_of(withdrawal))
    assert group_transactions(now=LATER) == 1
    assert payouts() == [("IN", 1, 1, 70), ("WITHDRAW", 2, 2, 70), ("IN", 3, 3, 5)]
    assert status(reward) == "PENDING"


def test_after_a_voided_withdrawal_the_wallet_goes_on(wallet):
    win(wallet, 70)
    withdrawal = withdraw(wallet)
    group_transactions(now=LATER)
    end(Payout.objects.get(kind="IN"))
    end(payout_of(withdrawal), state="VOIDING")
    reversals.give_back(withdrawal_uid=withdrawal.uid, now=LATER)
    join(wallet, 70)

    assert group_transactions(now=LATER) == 1

    assert payouts() == [("IN", 1, 1, 70), ("WITHDRAW", 2, 2, 70), ("OUT", 4, 4, 70)]
    end(Payout.objects.get(kind="OUT"))
    assert ledger.balances(wallet.pk).onchain == 0
    assert [finding for audit in reconciliation.AUDITS for finding in audit.find()] == []


# --- Sandboxes -----------------------------------------------------------------------------------


def picked_wallets() -> list[int]:
    picked = picking.pick(operator_id=1, batch=10, now=LATER)
    with transaction.atomic():
        held = picking.hold(picked, operator_id=1, now=LATER)
    assert held == picked
    return [payout.wallet_id for payout in picked]


def test_a_sandbox_is_netted_and_sent_only_where_kcash_is_no_money(db, settings):
    sandbox, real = linked_wallet(is_sandbox=True), linked_wallet()
    bonus, other = give_bonus(sandbox), give_bonus(real)

    settings.CHAIN_ID = 137
    on_mainnet = (group_transactions(now=LATER), payouts(), picked_wallets())
    after_mainnet = (status(bonus), bonus.payout_id, ledger.balances(sandbox.pk))
    settings.CHAIN_ID = 80002
    on_testnet = (group_transactions(now=LATER), picked_wallets())
    # What a test network was to pay stays unpaid, should the settings name a mainnet now.
    settings.CHAIN_ID = 137
    afterwards = picked_wallets()

    assert on_mainnet == (1, [("IN", 1, 1, 50)], [real.pk])
    assert payout_of(other).wallet_id == real.pk
    assert after_mainnet == ("PENDING", None, Balances(50, 0, 0, 0, 0, 0))
    assert on_testnet == (1, [sandbox.pk, real.pk])
    assert afterwards == [real.pk]
