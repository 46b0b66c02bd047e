from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from kgen.common.identifiers import uuid7
from wallet import ledger
from wallet.ledger import (
    KGEN_OUT,
    MINT,
    TREASURY,
    BadPosting,
    Balances,
    Bucket,
    InsufficientFunds,
    Kind,
    Leg,
    Outcome,
    Owner,
    Phase,
    PostingConflict,
    PostingIdOutOfRange,
    UnknownAccount,
)
from wallet.models import LedgerAccount, Transfer, Wallet
from wallet.tests.factories import WalletFactory
from wallet.tests.soundness import assert_sound

pytestmark = pytest.mark.django_db


def account(wallet: Wallet, bucket: Bucket) -> int:
    return ledger.account_of(Owner.WALLET, wallet.pk, bucket)


def pool(tournament_id: int = 1) -> int:
    ledger.open_accounts(Owner.TOURNAMENT, tournament_id, owner_uid=uuid4())
    return ledger.account_of(Owner.TOURNAMENT, tournament_id, Bucket.POOL)


def rows(posting_id: UUID) -> list[tuple[object, ...]]:
    """What a posting wrote: phase, leg, kind, accounts, amount, numbers and balances after."""
    transfers = Transfer.objects.filter(posting_id=posting_id).order_by("phase", "leg")
    return list(
        transfers.values_list(
            "phase",
            "leg",
            "kind",
            "debit_id",
            "credit_id",
            "amount",
            "debit_seq",
            "credit_seq",
            "debit_after",
            "credit_after",
        )
    )


def books() -> tuple[list[tuple[object, ...]], int]:
    """Everything that a refused posting must leave as it was."""
    kept = LedgerAccount.objects.order_by("pk").values_list("pk", "balance", "seq")
    return list(kept), Transfer.objects.count()


class Refused:
    """`with Refused(BadPosting):` the posting is refused, and nothing has moved."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __enter__(self) -> None:
        self.before = books()
        self.savepoint = transaction.atomic()
        self.savepoint.__enter__()

    def __exit__(self, kind, error, trace) -> bool:
        self.savepoint.__exit__(kind, error, trace)
        assert kind is self.error, f"expected {self.error.__name__}, got {error!r}"
        assert books() == self.before
        return True


# --- One leg -------------------------------------------------------------------------------------


def test_post_one_leg_moves_the_amount_and_numbers_it():
    wallet = WalletFactory.create(earned=70)
    earned, hold = account(wallet, Bucket.EARNED), account(wallet, Bucket.HOLD)
    posting = uuid7()

    outcome = ledger.post([Leg(earned, hold, 20, Kind.HOLD)], posting_id=posting)

    assert outcome is Outcome.POSTED
    assert rows(posting) == [(0, 1, "HOLD", earned, hold, 20, 2, 1, 50, 20)]
    assert ledger.balances(wallet.pk) == Balances(0, 0, 50, 0, 20, 0)
    assert_sound()


def test_post_one_leg_to_the_lower_account_number_is_the_same():
    wallet = WalletFactory.create(hold=70)
    earned, hold = account(wallet, Bucket.EARNED), account(wallet, Bucket.HOLD)
    posting = uuid7()

    ledger.post([Leg(hold, earned, 20, Kind.RELEASE)], posting_id=posting)

    assert rows(posting) == [(0, 1, "RELEASE", hold, earned, 20, 2, 1, 50, 20)]
    assert_sound()


def test_accounts_without_balance_keep_no_numbers():
    wallet = WalletFactory.create(earned=5)
    posting = uuid7()

    ledger.post([Leg(account(wallet, Bucket.EARNED), KGEN_OUT, 5, Kind.SETTLE)], posting_id=posting)

    assert rows(posting)[0][6:] == (2, None, 0, None)
    assert_sound()


@pytest.mark.parametrize("legs", [1, 2])
def test_post_again_adds_nothing(legs):
    wallet = WalletFactory.create(earned=70)
    movement = [Leg(account(wallet, Bucket.EARNED), KGEN_OUT, 20, Kind.SETTLE)] * legs
    posting = uuid7()
    ledger.post(movement, posting_id=posting)
    before = books()

    outcome = ledger.post(movement, posting_id=posting)

    assert outcome is Outcome.REPLAYED
    assert books() == before


@pytest.mark.parametrize("legs", [1, 2])
@pytest.mark.parametrize(
    "changed",
    [
        {"amount": 21},
        {"kind": Kind.HOLD},
        {"credit": TREASURY},
        {"debit": MINT},
    ],
)
def test_posting_id_names_one_posting(legs, changed):
    wallet = WalletFactory.create(earned=70)
    first: dict[str, Any] = {
        "debit": account(wallet, Bucket.EARNED),
        "credit": KGEN_OUT,
        "amount": 20,
        "kind": Kind.SETTLE,
    }
    posting = uuid7()
    ledger.post([Leg(**first)] * legs, posting_id=posting)

    with Refused(PostingConflict):
        ledger.post([Leg(**{**first, **changed})] * legs, posting_id=posting)


def test_posting_id_names_all_its_legs():
    wallet = WalletFactory.create(earned=70)
    leg = Leg(account(wallet, Bucket.EARNED), KGEN_OUT, 20, Kind.SETTLE)
    posting = uuid7()
    ledger.post([leg, leg], posting_id=posting)

    with Refused(PostingConflict):
        ledger.post([leg], posting_id=posting)
    with Refused(PostingConflict):
        ledger.post([leg, leg, leg], posting_id=posting)


def test_phases_of_one_posting_id_are_postings_of_their_own():
    wallet = WalletFactory.create()
    posting = uuid7()
    ledger.post(
        [Leg(MINT, account(wallet, Bucket.BONUS), 50, Kind.WELCOME_BONUS)], posting_id=posting
    )

    ledger.confirm_on_chain(transaction_uid=posting, wallet_id=wallet.pk, signed_amount=50)

    assert ledger.balances(wallet.pk) == Balances(50, 0, 0, 0, 0, 50)


# --- Many legs -----------------------------------------------------------------------------------


def test_post_many_legs_books_each_in_its_order():
    giver, taker = WalletFactory.create(earned=30), WalletFactory.create()
    source, target = account(giver, Bucket.EARNED), account(taker, Bucket.EARNED)
    posting = uuid7()

    ledger.post(
        [
            Leg(source, target, 10, Kind.PRIZE),
            Leg(target, KGEN_OUT, 4, Kind.SETTLE),
            Leg(source, target, 20, Kind.PRIZE),
        ],
        posting_id=posting,
    )

    assert rows(posting) == [
        (0, 1, "PRIZE", source, target, 10, 2, 1, 20, 10),
        (0, 2, "SETTLE", target, KGEN_OUT, 4, 2, None, 6, None),
        (0, 3, "PRIZE", source, target, 20, 3, 3, 0, 26),
    ]
    assert_sound()


def test_no_leg_may_overdraw_even_if_a_later_one_makes_up_for_it():
    wallet = WalletFactory.create(earned=10)
    earned = account(wallet, Bucket.EARNED)

    with Refused(InsufficientFunds):
        ledger.post(
            [Leg(earned, KGEN_OUT, 11, Kind.SETTLE), Leg(MINT, earned, 50, Kind.GRANT)],
            posting_id=uuid7(),
        )


def test_one_bad_leg_undoes_all():
    wallet = WalletFactory.create(earned=10)
    earned = account(wallet, Bucket.EARNED)

    with Refused(UnknownAccount):
        ledger.post(
            [Leg(MINT, earned, 5, Kind.GRANT), Leg(MINT, 999_999, 5, Kind.GRANT)],
            posting_id=uuid7(),
        )


def test_one_leg_and_many_write_the_same():
    one, many = WalletFactory.create(earned=10), WalletFactory.create(earned=10)
    posted = []
    for wallet, statement in ((one, "post1"), (many, "post")):
        posting = uuid7()
        earned, hold = account(wallet, Bucket.EARNED), account(wallet, Bucket.HOLD)
        legs: list[Any] = [str(posting), 0, "HOLD", earned, hold, 4]
        arrays: list[Any] = [*legs[:2], *([value] for value in legs[2:])]
        with connection.cursor() as cursor:
            if statement == "post1":
                cursor.execute("SELECT ledger.post1(%s, %s::smallint, %s, %s, %s, %s)", legs)
            else:
                cursor.execute(
                    "SELECT ledger.post(%s, %s::smallint, %s::text[], %s::bigint[], %s::bigint[],"
                    " %s::numeric[])",
                    arrays,
                )
        posted.append([row[5:] for row in rows(posting)])

    assert posted[0] == posted[1] == [(4, 2, 1, 6, 4)]


def test_many_legs_at_once_write_the_same_as_one_by_one():
    prizes = [7, 1, 30, 2, 5, 9, 1, 1]
    written = []
    for together in (True, False):
        pot, winners = pool(int(together)), [WalletFactory.create(claimable=3) for _ in range(3)]
        targets = [account(winner, Bucket.CLAIMABLE) for winner in winners]
        ledger.post([Leg(MINT, pot, 60, Kind.SPONSOR)], posting_id=uuid7())
        legs = [
            Leg(pot, targets[place % 3], prize, Kind.PRIZE) for place, prize in enumerate(prizes)
        ]
        postings = [legs] if together else [[leg] for leg in legs]
        ids = [uuid7() for _ in postings]
        for posting_id, posting in zip(ids, postings, strict=True):
            ledger.post(posting, posting_id=posting_id)
        written.append([row[5:] for posting_id in ids for row in rows(posting_id)])

    assert written[0] == written[1]
    assert written[0][-1] == (1, 8, 4, 4, 10)
    assert_sound()


# --- Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("legs", [1, 2])
def test_no_overdraft(legs):
    wallet = WalletFactory.create(earned=10)
    leg = Leg(account(wallet, Bucket.EARNED), KGEN_OUT, 12 // legs, Kind.SETTLE)

    with Refused(InsufficientFunds):
        ledger.post([leg] * legs, posting_id=uuid7())


@pytest.mark.parametrize(
    "amount",
    [
        0,
        -1,
        0.5,
        1.0,
        Decimal("0.5"),
        Decimal(1),
        Decimal("NaN"),
        float("nan"),
        True,
        None,
        "1",
        10**78,
    ],
)
def test_amounts_are_integers_above_zero(amount):
    with pytest.raises(BadPosting):
        Leg(MINT, TREASURY, amount, Kind.GRANT)


@pytest.mark.parametrize("amount", ["0.5", "0", "-1", "NaN", "Infinity", "1e78", None])
@pytest.mark.parametrize("function", ["post1", "post", "spend"])
def test_database_takes_whole_amounts_alone(function, amount):
    wallet = WalletFactory.create(earned=10)
    earned, posting = account(wallet, Bucket.EARNED), str(uuid7())
    statement, parameters = {
        "post1": (
            "SELECT ledger.post1(%s, 0::smallint, 'SETTLE', %s, %s, %s::numeric)",
            [posting, earned, KGEN_OUT, amount],
        ),
        "post": (
            "SELECT ledger.post(%s, 0::smallint, '{SETTLE}', %s::bigint[], %s, %s::numeric[])",
            [posting, [earned], [KGEN_OUT], [amount]],
        ),
        "spend": (
            "SELECT ledger.spend(%s, 'SETTLE', %s, '{earned}', %s::numeric, %s)",
            [posting, wallet.pk, amount, KGEN_OUT],
        ),
    }[function]

    with Refused(BadPosting):
        ledger._call(statement, parameters)


def test_huge_amounts_are_exact():
    wallet = WalletFactory.create(earned=10**77)

    ledger.post(
        [Leg(account(wallet, Bucket.EARNED), KGEN_OUT, 10**77 - 1, Kind.SETTLE)],
        posting_id=uuid7(),
    )

    assert ledger.balances(wallet.pk).earned == 1


@pytest.mark.parametrize("legs", [1, 2])
def test_balance_beyond_the_type_is_refused(legs):
    wallet = WalletFactory.create(earned=10**78 - 1)
    leg = Leg(MINT, account(wallet, Bucket.EARNED), 1, Kind.GRANT)

    with Refused(BadPosting):
        ledger.post([leg] * legs, posting_id=uuid7())


@pytest.mark.parametrize("posting_id", [uuid4(), UUID(int=0)])
def test_posting_ids_are_version_7(posting_id):
    with Refused(BadPosting):
        ledger.post([Leg(MINT, TREASURY, 1, Kind.GRANT)], posting_id=posting_id)


@pytest.mark.parametrize("milliseconds", [1, 2**47], ids=["years ago", "years ahead"])
def test_posting_ids_outside_every_partition_are_refused(milliseconds):
    posting_id = UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62)

    with Refused(PostingIdOutOfRange):
        ledger.post([Leg(MINT, TREASURY, 1, Kind.GRANT)], posting_id=posting_id)


@pytest.mark.parametrize("legs", [1, 2])
def test_unknown_accounts_are_refused(legs):
    with Refused(UnknownAccount):
        ledger.post([Leg(MINT, 999_999, 1, Kind.GRANT)] * legs, posting_id=uuid7())


@pytest.mark.parametrize("legs", [1, 2])
def test_two_assets_never_mix(legs):
    wallet = WalletFactory.create(earned=10)
    leg = Leg(account(wallet, Bucket.EARNED), account(wallet, Bucket.ONCHAIN), 1, Kind.CONFIRM)

    with Refused(UnknownAccount):
        ledger.post([leg] * legs, posting_id=uuid7())


@pytest.mark.parametrize("legs", [1, 2])
def test_an_account_pays_somebody_else(legs):
    wallet = WalletFactory.create(earned=10)
    earned = account(wallet, Bucket.EARNED)

    with Refused(BadPosting):
        ledger.post([Leg(earned, earned, 1, Kind.GRANT)] * legs, posting_id=uuid7())


def test_no_legs_are_refused():
    with Refused(BadPosting):
        ledger.post([], posting_id=uuid7())


# --- Queued accounts -----------------------------------------------------------------------------


def test_credits_of_a_pool_wait_until_it_pays():
    wallet = WalletFactory.create(earned=70)
    pot = pool()
    for amount in (20, 30):
        ledger.post(
            [Leg(account(wallet, Bucket.EARNED), pot, amount, Kind.ENTRY_FEE)], posting_id=uuid7()
        )
    waiting = LedgerAccount.objects.get(pk=pot).balance
    held = ledger.queued_balance(pot)
    posting = uuid7()

    ledger.post([Leg(pot, TREASURY, 45, Kind.PRIZE)], posting_id=posting)

    assert (waiting, held) == (0, 50)
    assert rows(posting) == [(0, 1, "PRIZE", pot, TREASURY, 45, 1, None, 5, None)]
    assert ledger.queued_balance(pot) == 5
    assert_sound()


@pytest.mark.parametrize("legs", [1, 2])
def test_pool_pays_no_more_than_it_holds(legs):
    wallet = WalletFactory.create(earned=70)
    pot = pool()
    ledger.post([Leg(account(wallet, Bucket.EARNED), pot, 20, Kind.ENTRY_FEE)], posting_id=uuid7())

    with Refused(InsufficientFunds):
        ledger.post([Leg(pot, TREASURY, 22 // legs, Kind.PRIZE)] * legs, posting_id=uuid7())

    assert ledger.queued_balance(pot) == 20


def test_pool_does_not_pay_and_take_in_one_posting():
    wallet = WalletFactory.create(earned=70)
    earned, pot = account(wallet, Bucket.EARNED), pool()

    with Refused(BadPosting):
        ledger.post(
            [Leg(earned, pot, 20, Kind.ENTRY_FEE), Leg(pot, TREASURY, 5, Kind.PRIZE)],
            posting_id=uuid7(),
        )


# --- Spending ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "left"),
    [
        (1, (9, 20, 30)),
        (10, (0, 20, 30)),
        (11, (0, 19, 30)),
        (30, (0, 0, 30)),
        (31, (0, 0, 29)),
        (60, (0, 0, 0)),
    ],
)
def test_spend_empties_bonus_then_bought_then_earned(total, left):
    wallet = WalletFactory.create(bonus=10, bought=20, earned=30)
    pot = pool()

    ledger.spend(wallet_id=wallet.pk, total=total, to=pot, posting_id=uuid7(), kind=Kind.ENTRY_FEE)

    balances = ledger.balances(wallet.pk)
    assert (balances.bonus, balances.bought, balances.earned) == left
    assert ledger.queued_balance(pot) == total
    assert_sound()


def test_spend_skips_empty_buckets():
    wallet = WalletFactory.create(earned=30)
    posting = uuid7()

    ledger.spend(wallet_id=wallet.pk, total=30, to=pool(), posting_id=posting, kind=Kind.ENTRY_FEE)

    assert [row[1:6:4] for row in rows(posting)] == [(1, 30)]


def test_spend_tells_what_there_is():
    wallet = WalletFactory.create(bonus=10, bought=20, earned=30, claimable=99, hold=99)
    pot = pool()
    before = books()

    with pytest.raises(InsufficientFunds) as refusal, transaction.atomic():
        ledger.spend(wallet_id=wallet.pk, total=61, to=pot, posting_id=uuid7(), kind=Kind.ENTRY_FEE)

    assert refusal.value.available == 60
    assert books() == before


def test_spend_again_adds_nothing_though_balances_moved():
    wallet = WalletFactory.create(bonus=10, earned=30)
    pot, posting = pool(), uuid7()
    spending = {"wallet_id": wallet.pk, "to": pot, "posting_id": posting, "kind": Kind.ENTRY_FEE}
    ledger.spend(total=15, **spending)

    again = ledger.spend(total=15, **spending)

    assert again is Outcome.REPLAYED
    assert ledger.balances(wallet.pk) == Balances(0, 0, 25, 0, 0, 0)
    with Refused(PostingConflict):
        ledger.spend(total=16, **spending)
    with Refused(PostingConflict):
        ledger.spend(total=15, **{**spending, "kind": Kind.HOLD})


def test_spend_of_an_unknown_wallet_is_refused():
    with Refused(UnknownAccount):
        ledger.spend(
            wallet_id=999_999, total=1, to=KGEN_OUT, posting_id=uuid7(), kind=Kind.ENTRY_FEE
        )


def test_refund_gives_every_bucket_its_own_back():
    wallet = WalletFactory.create(bonus=10, bought=20, earned=30)
    pot, fee, refund = pool(), uuid7(), uuid7()
    ledger.spend(wallet_id=wallet.pk, total=45, to=pot, posting_id=fee, kind=Kind.ENTRY_FEE)

    ledger.refund(fee, new_posting_id=refund)

    assert ledger.balances(wallet.pk) == Balances(10, 20, 30, 0, 0, 0)
    assert ledger.queued_balance(pot) == 0
    assert ledger.refund(fee, new_posting_id=refund) is Outcome.REPLAYED
    assert_sound()


def test_refund_of_nothing_is_refused():
    with Refused(UnknownAccount):
        ledger.refund(uuid7(), new_posting_id=uuid7())


# --- Holds and the chain -------------------------------------------------------------------------


def held_wallet() -> tuple[Wallet, UUID]:
    wallet, posting = WalletFactory.create(bonus=5, earned=30), uuid7()
    ledger.hold(wallet_id=wallet.pk, total=30, posting_id=posting)
    return wallet, posting


def test_hold_takes_earned_money_alone():
    wallet, _ = held_wallet()

    assert ledger.balances(wallet.pk) == Balances(5, 0, 0, 0, 30, 0)
    with Refused(InsufficientFunds):
        ledger.hold(wallet_id=wallet.pk, total=1, posting_id=uuid7())


def test_settled_hold_leaves_the_wallet_and_cannot_be_released():
    wallet, posting = held_wallet()

    ledger.settle(posting)

    assert ledger.balances(wallet.pk) == Balances(5, 0, 0, 0, 0, 0)
    assert ledger.settle(posting) is Outcome.REPLAYED
    with Refused(PostingConflict):
        ledger.release(posting)
    assert_sound()


def test_released_hold_is_earned_again_and_cannot_be_settled():
    wallet, posting = held_wallet()

    ledger.release(posting)

    assert ledger.balances(wallet.pk) == Balances(5, 0, 30, 0, 0, 0)
    assert ledger.release(posting) is Outcome.REPLAYED
    with Refused(PostingConflict):
        ledger.settle(posting)
    assert_sound()


def test_hold_ends_as_a_whole():
    wallet, posting = held_wallet()
    hold, earned = account(wallet, Bucket.HOLD), account(wallet, Bucket.EARNED)

    with Refused(BadPosting):
        ledger.post([Leg(hold, KGEN_OUT, 29, Kind.SETTLE)], posting_id=posting, phase=Phase.RESOLVE)

    ledger.post(
        [Leg(hold, KGEN_OUT, 20, Kind.SETTLE), Leg(hold, earned, 10, Kind.RELEASE)],
        posting_id=posting,
        phase=Phase.RESOLVE,
    )
    assert ledger.balances(wallet.pk) == Balances(5, 0, 10, 0, 0, 0)


@pytest.mark.parametrize("end", [ledger.settle, ledger.release])
def test_what_was_never_held_cannot_be_ended(end):
    with Refused(UnknownAccount):
        end(uuid7())


def test_chain_is_mirrored_both_ways_and_never_below_zero():
    wallet = WalletFactory.create()
    ledger.confirm_on_chain(transaction_uid=uuid7(), wallet_id=wallet.pk, signed_amount=50)

    ledger.confirm_on_chain(transaction_uid=uuid7(), wallet_id=wallet.pk, signed_amount=-30)

    assert ledger.balances(wallet.pk) == Balances(0, 0, 0, 0, 0, 20)
    with Refused(InsufficientFunds):
        ledger.confirm_on_chain(transaction_uid=uuid7(), wallet_id=wallet.pk, signed_amount=-21)


# --- Accounts and months -------------------------------------------------------------------------


def test_system_accounts_have_the_numbers_that_the_code_knows():
    numbered = LedgerAccount.objects.filter(owner_kind=Owner.SYSTEM).values_list("bucket", "pk")

    assert dict(numbered) == {
        "mint": ledger.MINT,
        "treasury": ledger.TREASURY,
        "platform_rake": ledger.PLATFORM_RAKE,
        "kgen_out": ledger.KGEN_OUT,
        "chain_supply": ledger.CHAIN_SUPPLY,
    }


def test_every_bucket_and_mode_of_the_database_has_its_name_here():
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM ledger.bucket")
        assert {name for (name,) in cursor.fetchall()} == set(Bucket)


def test_accounts_are_opened_once():
    wallet = WalletFactory.create(bonus=50)
    before = books()

    ledger.open_accounts(Owner.WALLET, wallet.pk)

    assert books() == before
    numbers = ledger.accounts_of(wallet.pk)
    # Locks are taken by number: fees and holds never cross.
    assert sorted(numbers, key=lambda bucket: numbers[bucket]) == [
        "bonus",
        "bought",
        "earned",
        "claimable",
        "hold",
        "onchain",
    ]


def test_balances_are_one_query(django_assert_num_queries):
    wallet = WalletFactory.create(bonus=50)

    with django_assert_num_queries(1):
        balances = ledger.balances(wallet.pk)

    assert (balances.lazy, balances.delta) == (50, 50)


def test_balances_of_an_unknown_wallet_are_refused():
    with pytest.raises(UnknownAccount):
        ledger.balances(999_999)


def test_months_are_made_from_the_last_to_a_year_ahead():
    now = datetime.now(UTC)
    counted = [now.year * 12 + now.month - 1 + ahead for ahead in range(-1, 13)]

    assert months_made() == [f"transfer_{n // 12}_{n % 12 + 1:02}" for n in counted]


def test_ensure_partitions_makes_what_is_missing_once():
    before = months_made()
    now = datetime.now(UTC)
    counted = now.year * 12 + now.month - 1 + 14  # twelve months ahead are made already
    until = date(counted // 12, counted % 12 + 1, 1)

    made = [ledger.ensure_partitions(until=until), ledger.ensure_partitions(until=until)]

    assert made == [2, 0]
    assert len(months_made()) == len(before) + 2


def test_ensure_partitions_is_not_for_centuries():
    with pytest.raises(BadPosting), transaction.atomic():
        ledger.ensure_partitions(until=date(2199, 1, 1))


def months_made() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'ledger.transfer'::regclass ORDER BY 1"
        )
        return [name.removeprefix("ledger.") for (name,) in cursor.fetchall()]
