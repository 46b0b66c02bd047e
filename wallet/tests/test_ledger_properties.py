"""Whatever is asked of it, in whatever order, the ledger agrees with a model of plain integers."""

from collections import Counter

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgen.common.identifiers import uuid7
from wallet import ledger
from wallet.ledger import MINT, TREASURY, Bucket, InsufficientFunds, Kind, Leg, Owner
from wallet.models import Transfer
from wallet.tests.factories import WalletFactory
from wallet.tests.ledger_model import run

pytestmark = pytest.mark.django_db

# Every way in which each kind of call can end; a run in which one never happened proves nothing.
ALL = ("posted", "floor", "replay", "conflict")
ENDS = {
    "fund": ("posted", "replay", "conflict"),
    "sponsor": ("posted", "replay", "conflict"),
    "too much": ("floor",),
    "huge": ("posted", "replay", "conflict", "bad"),
    "fee": ALL,
    "hold": ALL,
    "refund": (*ALL, "unknown"),
    "prizes": ALL,
    "finish": ("posted", "replay", "conflict"),
    "claim": ALL,
    "batch": ALL,
    "settle": ("posted", "replay", "conflict"),
    "release": ("posted", "replay", "conflict"),
    "part": ("posted", "replay", "conflict", "bad"),
    "no hold": ("unknown",),
    "confirm": ALL,
    "nowhere": ("unknown",),
    "other asset": ("unknown",),
    "itself": ("bad",),
    "pool pays and takes": ("bad",),
}


def test_ledger_agrees_with_its_model():
    outcomes = run(examples=10, steps=25)

    ended = Counter[str]()
    for (_, end), often in outcomes.items():
        ended[end] += often
    assert set(ended) == {*ALL, "bad", "unknown"}
    assert min(ended.values()) >= 10


@pytest.mark.slow
def test_ledger_agrees_with_its_model_for_long():
    outcomes = run(examples=60, steps=45)

    seen = {(name, end): outcomes[name, end] for name, ends in ENDS.items() for end in ends}
    assert set(outcomes) == set(seen)
    assert {which: often for which, often in seen.items() if often < 10} == {}


# --- Three engines, one result -------------------------------------------------------------------


def test_however_many_legs_at_once_the_rows_are_the_same():
    ended = Counter[str]()

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(
        moves=st.lists(
            st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 9)),
            min_size=5,
            max_size=9,
        ),
        pool_pays=st.booleans(),
    )
    def compare(moves, pool_pays):
        with transaction.atomic():
            legs = legs_between_five(moves, pool_pays=pool_pays)

            one_by_one = written([[leg] for leg in legs])
            by_twos_and_threes = written(split(legs))
            at_once = written([legs])

            transaction.set_rollback(True)
        assert one_by_one == by_twos_and_threes == at_once
        ended["overdrawn" if at_once == "overdrawn" else "posted"] += 1

    compare()

    assert set(ended) == {"overdrawn", "posted"}
    assert min(ended.values()) >= 5


def legs_between_five(moves: list[tuple[int, int, int]], *, pool_pays: bool) -> list[Leg]:
    """Legs among three buckets, the treasury, and a pool that either pays or is paid."""
    accounts = [
        ledger.wallet_account(WalletFactory.create(**{bucket: 12}).pk, bucket)
        for bucket in (Bucket.BONUS, Bucket.EARNED, Bucket.CLAIMABLE)
    ]
    ledger.open_accounts(Owner.TOURNAMENT, 1)
    pool = ledger.account_of(Owner.TOURNAMENT, 1, Bucket.POOL)
    ledger.post([Leg(MINT, pool, 12, Kind.SPONSOR)], posting_id=uuid7())
    payers = [*accounts, TREASURY, pool if pool_pays else MINT]
    takers = [*accounts, TREASURY, MINT if pool_pays else pool]
    return [
        Leg(payers[payer], takers[(payer + further) % 5], amount, Kind.GRANT)
        for payer, further, amount in moves
    ]


def split(legs: list[Leg]) -> list[list[Leg]]:
    """In parts of two or three, as long as there are two."""
    if len(legs) <= 3:
        return [legs]
    return [legs[:2], *split(legs[2:])]


def written(postings: list[list[Leg]]) -> list[tuple[object, ...]] | str:
    """The rows that these postings make one after another, undone again; or that they overdraw."""
    ids = [uuid7() for _ in postings]
    try:
        with transaction.atomic():
            for posting_id, legs in zip(ids, postings, strict=True):
                ledger.post(legs, posting_id=posting_id)
            rows: list[tuple[object, ...]] = [
                row
                for posting_id in ids
                for row in Transfer.objects.filter(posting_id=posting_id)
                .order_by("leg")
                .values_list(
                    "kind",
                    "debit_id",
                    "credit_id",
                    "amount",
                    "debit_seq",
                    "credit_seq",
                    "debit_after",
                    "credit_after",
                )
            ]
            transaction.set_rollback(True)
    except InsufficientFunds:
        return "overdrawn"
    return rows
