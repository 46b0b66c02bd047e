from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.models import Gamer
from accounts.tests.factories import GamerFactory
from kgen.common.identifiers import uuid7
from wallet import custody, freezing, ledger, reconciliation, withdrawals
from wallet.freezing import WalletFrozen
from wallet.ledger import Balances
from wallet.models import KgenWallet, Payout, Transfer, Wallet, WalletTransaction
from wallet.settlement.sandboxes import SandboxNotPaid
from wallet.tests.factories import KgenWalletFactory, WalletFactory
from wallet.tests.parallel import in_parallel, kinds
from wallet.withdrawals import KgenWalletNotLinked, MinimumNotMet, Withdrawal

SETTLEMENT = "0x" + "5e" * 20


@pytest.fixture(autouse=True)
def _settlement(settings) -> None:
    settings.SETTLEMENT_ADDRESS = SETTLEMENT


def linked_wallet(*, is_sandbox=False, **filled):
    gamer = GamerFactory.create(linked=True, game__is_sandbox=is_sandbox)
    KgenWalletFactory.create(account=gamer.kgen_account)
    return WalletFactory.create(gamer=gamer, **filled)


def withdraw(gamer):
    return withdrawals.withdraw(gamer=gamer, now=timezone.now())


def refused(gamer, error):
    """The details of the refusal, which moved nothing."""
    before = (ledger.balances(gamer.wallet.pk), Transfer.objects.count())
    with pytest.raises(error) as refusal:
        withdraw(gamer)
    assert (ledger.balances(gamer.wallet.pk), Transfer.objects.count()) == before
    assert not WalletTransaction.objects.exists()
    assert not Payout.objects.exists()
    assert Wallet.objects.get(gamer=gamer).last_seq == 0
    return refusal.value.details


@pytest.mark.django_db
def test_withdrawal_takes_the_whole_earned_balance_and_nothing_else():
    wallet = linked_wallet(bonus=5, bought=7, earned=1000, claimable=9)
    kgen = KgenWallet.objects.get()

    done = withdraw(wallet.gamer)

    assert ledger.balances(wallet.pk) == Balances(5, 7, 0, 9, 1000, 0)
    entry = WalletTransaction.objects.get()
    assert done == Withdrawal(kgen_address=kgen.address, amount=1000, transaction_uid=entry.uid)
    assert (entry.seq, entry.type, entry.direction, entry.amount) == (1, "WITHDRAW", "DEBIT", 1000)
    assert (entry.from_address, entry.to_address) == (wallet.address, kgen.address)
    payout = Payout.objects.get()
    assert entry.payout == payout
    assert (payout.uid, payout.kind, payout.amount, payout.seq) == (entry.uid, "WITHDRAW", 1000, 1)
    assert (payout.from_address, payout.to_address) == (wallet.address, kgen.address)
    assert reconciliation.holds_without_payout() == []


@pytest.mark.django_db
def test_held_withdrawal_is_settled_or_released():
    settled, released = linked_wallet(earned=1000), linked_wallet(earned=1000)
    done = [withdraw(wallet.gamer) for wallet in (settled, released)]

    ledger.settle(done[0].transaction_uid)
    ledger.release(done[1].transaction_uid)

    assert ledger.balances(settled.pk) == Balances(0, 0, 0, 0, 0, 0)
    assert ledger.balances(released.pk) == Balances(0, 0, 1000, 0, 0, 0)


@pytest.mark.django_db
@pytest.mark.parametrize(("minimum", "earned"), [(1000, 999), (1000, 0), (0, 0)])
def test_withdrawal_below_the_minimum_is_refused_before_the_link_is_looked_at(minimum, earned):
    filled = {"earned": earned} if earned else {}
    gamer = GamerFactory.create(game__min_withdrawal=minimum)
    WalletFactory.create(gamer=gamer, bonus=5000, **filled)

    details = refused(gamer, MinimumNotMet)

    assert details == {"earned_balance": earned, "minWalletBalToWithdraw": minimum}


@pytest.mark.django_db
def test_withdrawal_of_exactly_the_minimum_passes():
    wallet = linked_wallet(earned=1000)

    assert withdraw(wallet.gamer).amount == 1000


@pytest.mark.django_db
def test_withdrawal_without_a_link_is_refused():
    wallet = WalletFactory.create(earned=1000)

    assert refused(wallet.gamer, KgenWalletNotLinked) == {}


@pytest.mark.django_db
def test_frozen_wallet_withdraws_nothing():
    wallet = linked_wallet(earned=1000)
    freezing.freeze(wallet=wallet, reason="stolen phone", by="sam", now=timezone.now())

    assert refused(wallet.gamer, WalletFrozen) == {"reason": "WALLET_FROZEN"}


@pytest.mark.django_db
def test_withdrawal_costs_the_same_queries_whatever_came_before(django_assert_num_queries):
    wallet = linked_wallet(earned=1000)
    gamer = Gamer.objects.select_related("game").get(pk=wallet.gamer_id)

    # 2 of the savepoint; wallet, balances, link; what was withdrawn before, the day's total; number,
    # transaction; payout, its link to the transaction; account of the hold, posting.
    with django_assert_num_queries(13):
        withdraw(gamer)


def test_withdrawals_at_once_take_the_money_once(committed_database):
    with transaction.atomic():
        wallet = linked_wallet(earned=1000)

    outcomes = in_parallel([lambda: withdraw(wallet.gamer)] * 6)

    assert kinds(outcomes) == ["MinimumNotMet"] * 5 + ["Withdrawal"]
    assert ledger.balances(wallet.pk) == Balances(0, 0, 0, 0, 1000, 0)
    assert WalletTransaction.objects.count() == Payout.objects.count() == 1


def test_withdrawal_and_fee_at_once_never_spend_the_same_coin(committed_database):
    with transaction.atomic():
        wallet = linked_wallet(earned=1000)
        ledger.open_accounts(ledger.Owner.TOURNAMENT, 1, owner_uid=uuid4())
    pot = ledger.account_of(ledger.Owner.TOURNAMENT, 1, ledger.Bucket.POOL)

    @transaction.atomic
    def pay():
        custody.lock(wallet.pk)
        return ledger.spend(
            wallet_id=wallet.pk, total=600, to=pot, posting_id=uuid7(), kind=ledger.Kind.ENTRY_FEE
        )

    outcomes = in_parallel([lambda: withdraw(wallet.gamer), pay])

    balances = ledger.balances(wallet.pk)
    assert (balances.hold, balances.earned, ledger.queued_balance(pot)) in [
        (1000, 0, 0),  # the withdrawal was first
        (0, 400, 600),  # the fee was first, and left less than the minimum
    ]
    assert len([outcome for outcome in outcomes if isinstance(outcome, Exception)]) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("chain_id", [137, 56, 8217, 1])  # nobody here knows what 1 is worth
def test_sandbox_is_not_paid_where_kcash_may_be_money(settings, chain_id):
    settings.CHAIN_ID = chain_id
    wallet = linked_wallet(is_sandbox=True, earned=1000)

    assert refused(wallet.gamer, SandboxNotPaid) == {"reason": "SANDBOX"}

    assert ledger.balances(wallet.pk) == Balances(0, 0, 1000, 0, 0, 0)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("chain_id", "is_sandbox"), [(31337, True), (80002, True), (137, False), (1, False)]
)
def test_others_are_paid(settings, chain_id, is_sandbox):
    settings.CHAIN_ID = chain_id
    wallet = linked_wallet(is_sandbox=is_sandbox, earned=1000)

    assert withdraw(wallet.gamer).amount == 1000
    assert ledger.balances(wallet.pk) == Balances(0, 0, 0, 0, 1000, 0)
