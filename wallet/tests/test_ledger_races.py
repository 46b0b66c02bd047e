"""Threads on a committed database: what must happen once happens once, and nobody waits for ever."""

import random
from collections import Counter
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from accounts.models import Gamer
from accounts.tests.factories import GamerFactory
from kgen.common.identifiers import uuid7
from wallet import custody, ledger
from wallet.ledger import (
    KGEN_OUT,
    MINT,
    TREASURY,
    Balances,
    Bucket,
    InsufficientFunds,
    Kind,
    LedgerBusy,
    Leg,
    Outcome,
    Owner,
    PostingConflict,
)
from wallet.models import Transfer, Wallet
from wallet.tests.factories import WalletFactory
from wallet.tests.parallel import in_parallel, kinds
from wallet.tests.soundness import assert_sound

pytestmark = pytest.mark.usefixtures("committed_database")

THREADS = 16


def opened(**filled):
    with transaction.atomic():
        return WalletFactory.create(**filled)


def pool() -> int:
    with transaction.atomic():
        ledger.open_accounts(Owner.TOURNAMENT, 1, owner_uid=uuid4())
    return ledger.account_of(Owner.TOURNAMENT, 1, Bucket.POOL)


def test_same_posting_at_once_is_made_once():
    wallet = opened(earned=100)
    earned, hold = (ledger.wallet_account(wallet.pk, name) for name in (Bucket.EARNED, Bucket.HOLD))
    posting = uuid7()

    @transaction.atomic
    def post():
        return ledger.post([Leg(earned, hold, 10, Kind.HOLD)] * 2, posting_id=posting)

    outcomes = in_parallel([post] * THREADS)

    assert sorted(outcomes, key=str) == [Outcome.POSTED] + [Outcome.REPLAYED] * (THREADS - 1)
    assert Transfer.objects.filter(posting_id=posting).count() == 2
    assert ledger.balances(wallet.pk) == Balances(0, 0, 80, 0, 20, 0)


def test_same_single_transfer_at_once_is_made_once():
    wallet = opened(earned=100)
    earned = ledger.wallet_account(wallet.pk, Bucket.EARNED)
    posting = uuid7()

    @transaction.atomic
    def post():
        return ledger.post([Leg(earned, KGEN_OUT, 10, Kind.SETTLE)], posting_id=posting)

    outcomes = in_parallel([post] * THREADS)

    assert sorted(outcomes, key=str) == [Outcome.POSTED] + [Outcome.REPLAYED] * (THREADS - 1)
    assert ledger.balances(wallet.pk).earned == 90
    assert_sound()


def test_single_transfers_at_once_never_count_the_same_coin():
    wallet = opened(earned=10 * THREADS - 5)
    earned = ledger.wallet_account(wallet.pk, Bucket.EARNED)

    @transaction.atomic
    def post():
        return ledger.post([Leg(earned, KGEN_OUT, 10, Kind.SETTLE)], posting_id=uuid7())

    outcomes = in_parallel([post] * THREADS)

    assert kinds(outcomes) == ["InsufficientFunds"] + ["Outcome"] * (THREADS - 1)
    assert outcomes.count(Outcome.POSTED) == THREADS - 1
    assert ledger.balances(wallet.pk).earned == 5
    assert_sound()


def test_two_fees_at_once_never_count_the_same_coin():
    wallet, pot = opened(bonus=30, earned=20), pool()

    @transaction.atomic
    def pay():
        return ledger.spend(
            wallet_id=wallet.pk, total=15, to=pot, posting_id=uuid7(), kind=Kind.ENTRY_FEE
        )

    outcomes = in_parallel([pay] * THREADS)

    assert outcomes.count(Outcome.POSTED) == 3
    assert kinds(outcomes) == ["InsufficientFunds"] * (THREADS - 3) + ["Outcome"] * 3
    assert ledger.balances(wallet.pk) == Balances(0, 0, 5, 0, 0, 0)
    assert ledger.queued_balance(pot) == 45
    assert_sound()


def test_hold_is_settled_or_released_never_both():
    wallet = opened(earned=50)
    holds = [uuid7() for _ in range(5)]
    for posting in holds:
        with transaction.atomic():
            ledger.hold(wallet_id=wallet.pk, total=10, posting_id=posting)

    for posting in holds:
        calls = [
            partial(transaction.atomic(end), posting)
            for end in [ledger.settle, ledger.release] * (THREADS // 2)
        ]
        outcomes = in_parallel(calls)
        assert outcomes.count(Outcome.POSTED) == 1
        assert outcomes.count(Outcome.REPLAYED) == THREADS // 2 - 1
        assert sum(isinstance(outcome, PostingConflict) for outcome in outcomes) == THREADS // 2

    balances = ledger.balances(wallet.pk)
    assert (balances.hold, balances.earned % 10) == (0, 0)
    assert_sound()


def test_pool_is_paid_out_to_the_last_coin_while_fees_arrive():
    pot = pool()
    payers = [opened(earned=100) for _ in range(4)]

    def pay_fees(wallet):
        for _ in range(20):
            with transaction.atomic():
                ledger.spend(
                    wallet_id=wallet.pk, total=5, to=pot, posting_id=uuid7(), kind=Kind.ENTRY_FEE
                )

    def pay_out():
        paid = 0
        for _ in range(20):
            with transaction.atomic():
                held = ledger.queued_balance(pot)
                if held:
                    ledger.post([Leg(pot, TREASURY, held, Kind.PRIZE)], posting_id=uuid7())
                    paid += held
        return paid

    outcomes = in_parallel([*(partial(pay_fees, payer) for payer in payers), pay_out])

    assert outcomes[:4] == [None] * 4
    assert outcomes[4] + pay_out() == 4 * 100
    assert ledger.queued_balance(pot) == 0
    assert_sound()


@pytest.mark.parametrize(
    ("gamers", "calls"), [(6, 20), pytest.param(50, 250, marks=pytest.mark.slow)]
)
def test_many_poor_wallets_at_once_meet_no_deadlock(gamers, calls):
    pot = pool()
    wallets = [opened(bonus=20, bought=20, earned=20) for _ in range(gamers)]
    accounts = [ledger.accounts_of(wallet.pk) for wallet in wallets]
    with transaction.atomic():
        ledger.post([Leg(MINT, pot, 50, Kind.SPONSOR)], posting_id=uuid7())

    def fee(chance):
        return ledger.spend(
            wallet_id=chance.choice(wallets).pk,
            total=chance.randint(1, 25),
            to=pot,
            posting_id=uuid7(),
            kind=Kind.ENTRY_FEE,
        )

    def gift(chance):
        one, other = chance.sample(accounts, 2)
        leg = Leg(one["earned"], other["earned"], chance.randint(1, 25), Kind.GRANT)
        return ledger.post([leg], posting_id=uuid7())

    def swap(chance):
        one, other = chance.sample(accounts, 2)
        legs = [
            Leg(one["bonus"], other["bonus"], chance.randint(1, 25), Kind.GRANT),
            Leg(other["bought"], one["bought"], 1, Kind.GRANT),
        ]
        return ledger.post(legs, posting_id=uuid7())

    def prizes(chance):
        winners = chance.choices(accounts, k=10)
        legs = [Leg(pot, winner["earned"], 3, Kind.PRIZE) for winner in winners]
        return ledger.post(legs, posting_id=uuid7())

    def act(seed):
        chance = random.Random(seed)  # noqa: S311 - a test's own dice
        outcomes = []
        for _ in range(calls):
            try:
                with transaction.atomic():
                    outcomes.append(chance.choice((fee, gift, swap, prizes))(chance))
            except InsufficientFunds:
                outcomes.append("floor")
        return outcomes

    results = in_parallel([partial(act, seed) for seed in range(THREADS)])

    # A deadlock would be a LedgerBusy in place of a client's outcomes.
    ended = Counter(outcome for outcomes in results for outcome in outcomes)
    assert set(ended) == {"floor", Outcome.POSTED}
    assert ended.total() == THREADS * calls
    assert min(ended.values()) >= 10
    assert_sound()


@pytest.mark.slow
def test_same_postings_at_once_are_made_once_each():
    wallet = opened(earned=10_000)
    accounts = ledger.accounts_of(wallet.pk)
    postings = [uuid7() for _ in range(200)]

    def post_all(legs):
        outcomes = Counter[Any]()
        for posting_id in postings:
            leg = Leg(accounts["earned"], accounts["bought"], 10, Kind.GRANT)
            try:
                with transaction.atomic():
                    outcomes[ledger.post([leg] * legs, posting_id=posting_id)] += 1
            except LedgerBusy:
                outcomes["busy"] += 1
        return outcomes

    for legs in (1, 2):
        postings = [uuid7() for _ in range(200)]
        total: Counter[Any] = sum(in_parallel([partial(post_all, legs)] * THREADS), Counter())
        assert total[Outcome.POSTED] == 200
        assert total.total() == 200 * THREADS
        if legs == 2:  # looked for under the locks: nobody collides
            assert total == {Outcome.POSTED: 200, Outcome.REPLAYED: 200 * (THREADS - 1)}

    assert ledger.balances(wallet.pk) == Balances(0, 6000, 4000, 0, 0, 0)
    assert_sound()


@pytest.mark.slow
def test_a_thousand_holds_are_settled_or_released_never_both():
    wallet = opened(earned=1000)
    holds = [uuid7() for _ in range(1000)]
    with transaction.atomic():
        for posting_id in holds:
            ledger.hold(wallet_id=wallet.pk, total=1, posting_id=posting_id)

    def end_all(end):
        outcomes = Counter[Any]()
        for posting_id in holds:
            try:
                with transaction.atomic():
                    outcomes[end(posting_id)] += 1
            except PostingConflict:
                outcomes["conflict"] += 1
        return outcomes

    results = in_parallel([partial(end_all, end) for end in (ledger.settle, ledger.release) * 2])

    settled, released = (
        results[way][Outcome.POSTED] + results[way + 2][Outcome.POSTED] for way in (0, 1)
    )
    assert settled + released == 1000
    # Each of four clients met each hold: one of them ended it, one repeated that, two were refused.
    assert sum(results, Counter()) == {
        Outcome.POSTED: 1000,
        Outcome.REPLAYED: 1000,
        "conflict": 2000,
    }
    assert ledger.balances(wallet.pk) == Balances(0, 0, released, 0, 0, 0)
    assert_sound()


def test_one_gamer_gets_one_wallet():
    gamer: Gamer = GamerFactory.create()

    @transaction.atomic
    def open_wallet():
        return custody.open_wallet(gamer=gamer, now=gamer.created_at)

    outcomes = in_parallel([open_wallet] * THREADS)

    assert kinds(outcomes) == ["IntegrityError"] * (THREADS - 1) + ["Wallet"]
    (wallet,) = Wallet.objects.all()
    assert len(ledger.accounts_of(wallet.pk)) == 6


def test_wallets_opened_at_once_have_addresses_of_their_own():
    gamers = GamerFactory.create_batch(THREADS)

    @transaction.atomic
    def open_wallet(gamer):
        return custody.open_wallet(gamer=gamer, now=gamer.created_at)

    wallets = in_parallel([partial(open_wallet, gamer) for gamer in gamers])

    assert len({wallet.hd_index for wallet in wallets}) == THREADS
    assert [wallet.address for wallet in wallets] == [
        custody.custodial_address(wallet.hd_index) for wallet in wallets
    ]
