"""Bonus, fees, refunds, pools, prizes and claims: exact amounts, and refusals that move nothing."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from kgen.common.identifiers import uuid7
from wallet import (
    claims,
    custody,
    entry_fees,
    freezing,
    ledger,
    prize_pools,
    reconciliation,
    welcome_bonus,
)
from wallet.entry_fees import AlreadyRefunded, InsufficientBalance
from wallet.freezing import WalletFrozen
from wallet.ledger import Balances, InsufficientFunds
from wallet.models import LedgerAccount, Transfer, Wallet, WalletTransaction
from wallet.prize_pools import Pool, PoolNotEmptied
from wallet.reconciliation import TournamentBooks
from wallet.tests.factories import WalletFactory

pytestmark = pytest.mark.django_db

FLOAT = "0x5050a4f4b3f9338c3472dcc01a87c76a144b3c9c"
TOURNAMENT = uuid4()


def open_pool(wallet: Wallet) -> Pool:
    return prize_pools.open_pool(
        tournament_id=7, tournament_uid=TOURNAMENT, game_id=wallet.gamer.game_id
    )


def collect(wallet: Wallet, pool: Pool, amount: int) -> WalletTransaction:
    return entry_fees.collect(
        wallet=wallet,
        pool=pool,
        amount=amount,
        reference=uuid7(),
        description="Entry fee for Daily Carrom",
        now=timezone.now(),
    )


def refund(fee: WalletTransaction) -> WalletTransaction:
    return entry_fees.refund(
        fee_reference=fee.uid,
        reference=uuid7(),
        description="Refund for Daily Carrom",
        now=timezone.now(),
    )


def claim(wallet: Wallet, amount: int, reference: UUID | None = None) -> WalletTransaction:
    return claims.credit(
        wallet=wallet,
        amount=amount,
        reference=reference or uuid7(),
        description="Reward for Daily Carrom",
        now=timezone.now(),
    )


def freeze(wallet: Wallet) -> None:
    freezing.freeze(wallet=wallet, reason="stolen phone", by="sam", now=timezone.now())


def state() -> object:
    """All that a refusal must leave as it was."""
    return (
        list(LedgerAccount.objects.order_by("pk").values_list("pk", "balance", "seq")),
        Transfer.objects.count(),
        list(WalletTransaction.objects.order_by("uid").values_list()),
        list(Wallet.objects.order_by("pk").values_list("pk", "last_seq", "modified_at")),
    )


class Refused:
    """`with Refused(AlreadyRefunded) as refusal:` refused, and nothing has moved."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __enter__(self) -> "Refused":
        self.before = state()
        self.savepoint = transaction.atomic()
        self.savepoint.__enter__()
        return self

    def __exit__(self, kind, error, trace) -> bool:
        self.savepoint.__exit__(kind, error, trace)
        assert kind is self.error, f"expected {self.error.__name__}, got {error!r}"
        assert state() == self.before
        self.raised = error
        return True


# --- Welcome bonus -------------------------------------------------------------------------------


def test_welcome_bonus_is_the_first_transaction():
    wallet, now = WalletFactory.create(), timezone.now()

    bonus = welcome_bonus.grant(wallet=wallet, now=now)

    assert bonus is not None
    assert ledger.balances(wallet.pk) == Balances(50, 0, 0, 0, 0, 0)
    assert WalletTransaction.objects.values().get() == {
        "uid": wallet.bonus_posting_id,
        "wallet_id": wallet.pk,
        "seq": 1,
        "type": "WELCOME_BONUS",
        "direction": "CREDIT",
        "amount": 50,
        "counterparty": FLOAT,
        "name": "Welcome bonus",
        "description": "Welcome bonus",
        "sync_status": "PENDING",
        "sync_error": None,
        "payout_id": None,
        "reverses_id": None,
        "created_at": now,
        "modified_at": now,
    }
    assert (bonus.from_address, bonus.to_address) == (FLOAT, wallet.address)
    assert custody.lock(wallet.pk).last_seq == 1


def test_welcome_bonus_is_given_once():
    wallet = WalletFactory.create()
    welcome_bonus.grant(wallet=wallet, now=timezone.now())
    before = state()

    with pytest.raises(IntegrityError, match="wallet_wallettransaction_pkey"), transaction.atomic():
        welcome_bonus.grant(wallet=wallet, now=timezone.now())

    assert state() == before


def test_welcome_bonus_of_nothing_is_no_transaction(settings):
    settings.WELCOME_BONUS = 0
    wallet = WalletFactory.create()
    before = state()

    assert welcome_bonus.grant(wallet=wallet, now=timezone.now()) is None

    assert state() == before


# --- Entry fees ----------------------------------------------------------------------------------


def test_entry_fee_is_one_transaction_whatever_buckets_it_takes():
    wallet = WalletFactory.create(bonus=10, bought=5, earned=30)
    pool = open_pool(wallet)

    fee = collect(wallet, pool, 20)

    assert ledger.balances(wallet.pk) == Balances(0, 0, 25, 0, 0, 0)
    assert ledger.queued_balance(pool.account_id) == 20
    assert (fee.seq, fee.type, fee.direction, fee.amount) == (1, "JOIN", "DEBIT", 20)
    assert (fee.name, fee.description) == ("Entry fee", "Entry fee for Daily Carrom")
    assert (fee.from_address, fee.to_address) == (wallet.address, FLOAT)
    assert Transfer.objects.filter(posting_id=fee.uid, kind="ENTRY_FEE").count() == 3


def test_entry_fee_is_refused_beyond_the_lazy_balance():
    wallet = WalletFactory.create(bonus=2, bought=2, earned=1, claimable=90, hold=90)
    pool = open_pool(wallet)

    with Refused(InsufficientBalance) as refusal:
        collect(wallet, pool, 10)

    assert refusal.raised.details == {"lazy_balance": 5, "required": 10}
    assert refusal.raised.code == "INSUFFICIENT_BALANCE"


@pytest.mark.parametrize("amount", [0, -5, 2.5])
def test_entry_fee_is_a_whole_amount(amount):
    wallet = WalletFactory.create(bonus=50)
    pool = open_pool(wallet)
    before = state()

    with pytest.raises((ledger.BadPosting, IntegrityError)), transaction.atomic():
        collect(wallet, pool, amount)

    assert state() == before


def test_frozen_wallet_plays_on():
    wallet = WalletFactory.create(bonus=50)
    freeze(wallet)

    collect(wallet, open_pool(wallet), 10)

    assert ledger.balances(wallet.pk).bonus == 40


def test_entry_fee_costs_three_queries(django_assert_num_queries):
    wallet = WalletFactory.create(bonus=50)
    pool = open_pool(wallet)

    with django_assert_num_queries(3):  # the wallet's row, the transaction, the posting
        collect(wallet, pool, 10)


def test_refund_goes_back_to_the_same_buckets():
    wallet = WalletFactory.create(bonus=10, bought=5, earned=30)
    pool = open_pool(wallet)
    fee = collect(wallet, pool, 20)

    given_back = refund(fee)

    assert ledger.balances(wallet.pk) == Balances(10, 5, 30, 0, 0, 0)
    assert ledger.queued_balance(pool.account_id) == 0
    assert (given_back.seq, given_back.type, given_back.direction) == (2, "REFUND", "CREDIT")
    assert (given_back.amount, given_back.reverses) == (20, fee)
    assert given_back.description == "Refund for Daily Carrom"


def test_refund_is_given_once():
    wallet = WalletFactory.create(bonus=50)
    fee = collect(wallet, open_pool(wallet), 20)
    refund(fee)

    with Refused(AlreadyRefunded):
        refund(fee)


# --- Prize pools ---------------------------------------------------------------------------------


def test_pool_is_opened_once_with_the_account_of_its_games_developer():
    wallet = WalletFactory.create()

    pool = open_pool(wallet)

    assert open_pool(wallet) == pool
    assert prize_pools.pool_of(tournament_id=7, game_id=pool.game_id) == pool
    opened = LedgerAccount.objects.filter(owner_kind__in=["TOURNAMENT", "GAME"]).order_by("pk")
    assert list(opened.values_list("owner_id", "owner_uid", "bucket", "mode")) == [
        (7, TOURNAMENT, "pool", "Q"),
        (pool.game_id, None, "developer_rake", "Q"),
    ]


def test_pool_that_was_never_opened_is_refused():
    with pytest.raises(ledger.UnknownAccount):
        prize_pools.pool_of(tournament_id=404, game_id=1)


def test_distribution_empties_the_pool_in_one_posting():
    payers = [WalletFactory.create(bonus=50) for _ in range(4)]
    pool = open_pool(payers[0])
    for payer in payers:
        collect(payer, pool, 50)
    prize_pools.sponsor(pool=pool, amount=30, reference=uuid7())
    reference = uuid7()

    prize_pools.distribute(
        pool=pool,
        reference=reference,
        prizes=[(payers[1].pk, 150), (payers[0].pk, 43)],
        platform=15,
        developer=15,
        remainder=7,
    )

    assert [ledger.balances(payer.pk).claimable for payer in payers] == [43, 150, 0, 0]
    kinds = Transfer.objects.filter(posting_id=reference).order_by("leg")
    assert list(kinds.values_list("kind", "amount")) == [
        ("RAKE_PLATFORM", 15),
        ("RAKE_DEVELOPER", 15),
        ("REMAINDER", 7),
        ("PRIZE", 150),
        ("PRIZE", 43),
    ]
    developer = ledger.account_of(ledger.Owner.GAME, pool.game_id, ledger.Bucket.DEVELOPER_RAKE)
    assert ledger.queued_balance(developer) == 15
    books = reconciliation.tournament_books(TOURNAMENT)
    assert books == TournamentBooks(
        stakes=200,
        refunds=0,
        sponsored=30,
        prizes=193,
        rake=30,
        remainder=7,
        in_pool=0,
        ledger_sum=0,
    )
    assert books.is_balanced


def test_distribution_must_leave_nothing():
    wallet = WalletFactory.create(bonus=50)
    pool = open_pool(wallet)
    collect(wallet, pool, 50)

    with Refused(PoolNotEmptied):
        prize_pools.distribute(
            pool=pool,
            reference=uuid7(),
            prizes=[(wallet.pk, 42)],
            platform=4,
            developer=3,
            remainder=0,
        )


def test_distribution_pays_no_more_than_there_is():
    wallet = WalletFactory.create(bonus=50)
    pool = open_pool(wallet)
    collect(wallet, pool, 50)

    with Refused(InsufficientFunds):
        prize_pools.distribute(
            pool=pool,
            reference=uuid7(),
            prizes=[(wallet.pk, 43)],
            platform=4,
            developer=4,
            remainder=0,
        )


def test_distribution_of_nothing_posts_nothing():
    wallet = WalletFactory.create(bonus=50)
    pool = open_pool(wallet)
    before = state()

    prize_pools.distribute(
        pool=pool, reference=uuid7(), prizes=[], platform=0, developer=0, remainder=0
    )

    assert state() == before


def test_distribution_again_adds_nothing():
    wallet = WalletFactory.create(bonus=50)
    pool = open_pool(wallet)
    collect(wallet, pool, 50)
    distribution: dict[str, Any] = {
        "pool": pool,
        "reference": uuid7(),
        "prizes": [(wallet.pk, 42)],
        "platform": 4,
        "developer": 4,
        "remainder": 0,
    }
    prize_pools.distribute(**distribution)
    before = state()

    prize_pools.distribute(**distribution)

    assert state() == before


@pytest.mark.slow
def test_ten_thousand_winners_are_paid_in_one_posting():
    pool = open_pool(WalletFactory.create())
    for wallet_id in range(10**6, 10**6 + 10_000):
        ledger.open_accounts(ledger.Owner.WALLET, wallet_id)
    prize_pools.sponsor(pool=pool, amount=20_000, reference=uuid7())

    prize_pools.distribute(
        pool=pool,
        reference=uuid7(),
        prizes=[(wallet_id, 2) for wallet_id in range(10**6, 10**6 + 10_000)],
        platform=0,
        developer=0,
        remainder=0,
    )

    assert [audit.find() for audit in reconciliation.AUDITS[:6]] == [[]] * 6


# --- Rewards -------------------------------------------------------------------------------------


def test_promised_reward_waits_outside_the_lazy_balance():
    wallet = WalletFactory.create()

    claims.promise(wallet=wallet, amount=60, reference=uuid7())

    assert ledger.balances(wallet.pk) == Balances(0, 0, 0, 60, 0, 0)
    assert not WalletTransaction.objects.exists()


def test_promise_is_made_once_per_reference():
    wallet, reference = WalletFactory.create(), uuid7()
    claims.promise(wallet=wallet, amount=60, reference=reference)
    before = state()

    claims.promise(wallet=wallet, amount=60, reference=reference)

    assert state() == before


def test_claim_turns_a_promise_into_earned_money():
    wallet = WalletFactory.create(claimable=60)

    credited = claim(wallet, 40)

    assert ledger.balances(wallet.pk) == Balances(0, 0, 40, 20, 0, 0)
    assert (credited.seq, credited.type, credited.direction) == (1, "REWARD_CLAIM", "CREDIT")
    assert (credited.amount, credited.name) == (40, "Reward")
    assert (credited.from_address, credited.to_address) == (FLOAT, wallet.address)


def test_claim_of_more_than_was_promised_is_refused():
    wallet = WalletFactory.create(claimable=60)

    with Refused(InsufficientFunds):
        claim(wallet, 61)


def test_frozen_wallet_claims_nothing():
    wallet = WalletFactory.create(claimable=60)
    freeze(wallet)

    with Refused(WalletFrozen) as refusal:
        claim(wallet, 60)

    assert (refusal.raised.code, refusal.raised.details) == (
        "GAMER_BLOCKED",
        {"reason": "WALLET_FROZEN"},
    )


# --- In order ------------------------------------------------------------------------------------


def test_transactions_of_a_wallet_are_numbered_without_gaps():
    wallet = WalletFactory.create(claimable=60)
    welcome_bonus.grant(wallet=wallet, now=timezone.now())
    pool = open_pool(wallet)
    fee = collect(wallet, pool, 10)
    with pytest.raises(InsufficientBalance), transaction.atomic():
        collect(wallet, pool, 1000)
    refund(fee)
    claim(wallet, 60)

    numbered = WalletTransaction.objects.filter(wallet=wallet).order_by("seq")

    assert list(numbered.values_list("seq", "type")) == [
        (1, "WELCOME_BONUS"),
        (2, "JOIN"),
        (3, "REFUND"),
        (4, "REWARD_CLAIM"),
    ]
