"""What each rank wins: pure arithmetic on whole numbers (API contract, sections 1 and 7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from kgen.common.errors import Invalid

# Bands by rank: up to and with this share of the entrants (in percent, rounded down), the prize is
# this many halves of the entry fee.
_BANDS: Final = ((1, 12), (11, 8), (31, 3), (40, 2))
_TOP_PRIZE_IN_FEES: Final = 6

WHOLE_POOL: Final = 10_000  # basis points
MOST_RANKS: Final = 10_000
# Every sum of a table stays within what JSON can say.
LARGEST_PRIZE: Final = 10**11


class PrizeTableWrong(Invalid):
    code = "PRIZE_TABLE_WRONG"
    message = "These prizes cannot be paid as they are."


class Structure(StrEnum):
    BANDS = "BANDS"
    FIXED = "FIXED"
    SHARES = "SHARES"


@dataclass(frozen=True)
class Range:
    """The ranks from `first` to `last` win the same: KCash, or of SHARES basis points of the pool."""

    first: int
    last: int
    amount: int

    @property
    def total(self) -> int:
        return (self.last - self.first + 1) * self.amount


@dataclass(frozen=True)
class Terms:
    """What a tournament has promised to pay by; `sponsored` comes on top of the net stakes."""

    entry_fee: int
    rake_percent: int
    structure: Structure = Structure.BANDS
    table: tuple[Range, ...] = ()
    sponsored: int = 0


@dataclass(frozen=True)
class Distribution:
    """Where every unit goes: prizes and remainder make the pool; the rest of the stakes is rake."""

    pool: int
    prizes: tuple[int, ...]
    """By rank, the winner's first; ranks that win nothing are left out."""
    remainder: int
    """What the prizes leave of the pool; the platform's."""
    platform_rake: int
    developer_rake: int


def table_of(structure: Structure, rows: Sequence[Mapping[str, Any]]) -> tuple[Range, ...]:
    """The table out of its JSON, `[{"first": 1, "last": 3, "amount": 50}]`.

    Refuses with PrizeTableWrong unless it starts at rank 1, leaves no rank out, and nobody wins more
    than a better rank; shares come to the whole pool at most.
    """
    if structure == Structure.BANDS:
        if rows:
            raise _wrong("Bands have no table of their own.")
        return ()
    if not rows:
        raise _wrong("Name at least one prize.")
    try:
        table = tuple(
            Range(first=row["first"], last=row["last"], amount=row["amount"]) for row in rows
        )
    except (KeyError, TypeError) as problem:
        raise _wrong("Each row has the whole numbers first, last and amount.") from problem
    _refuse_disorder(table)
    if structure == Structure.SHARES and sum(row.total for row in table) > WHOLE_POOL:
        raise _wrong("The shares come to more than the whole pool.")
    return table


def refuse_unpayable(terms: Terms) -> None:
    """Raises PrizeTableWrong where money would have nobody to go to, or a prize no money."""
    if terms.structure == Structure.BANDS and terms.entry_fee == 0 and terms.sponsored:
        raise _wrong(
            "Bands pay in entry fees: a free tournament shares its sponsor's contribution."
        )
    promised = sum(row.total for row in terms.table)
    if terms.structure == Structure.FIXED and promised > terms.sponsored:
        raise _wrong(
            f"The prizes come to {promised:,} KCash; the sponsor's contribution has to cover them."
        )


def pool_of_stakes(stakes: int, terms: Terms) -> int:
    """The net pool: what the stakes leave after the rake, rounded down, and the sponsor's whole."""
    return stakes * (100 - terms.rake_percent) // 100 + terms.sponsored


def expected_winners(entrants: int, terms: Terms) -> int:
    """How many will be rewarded, as far as can be said before the scores are final."""
    if terms.structure == Structure.BANDS:
        return max(entrants * _BANDS[-1][0] // 100, min(entrants, 1))
    return min(entrants, max((row.last for row in terms.table), default=0))


def distribute(*, terms: Terms, stakes: int, entrants: int, earning: int) -> Distribution:
    """Split the stakes, and the sponsor's contribution, among the first `earning` of the entrants."""
    pool = pool_of_stakes(stakes, terms)
    prizes = _offered(terms, pool=pool, entrants=entrants)[:earning]
    promised = sum(prizes)
    if promised > pool:
        # Never with the usual rake of 15 %; under a higher one all prizes shrink alike.
        prizes = [prize * pool // promised for prize in prizes]
    if earning and terms.structure == Structure.BANDS:
        prizes = _top_up(prizes, pool=pool, at_most=_TOP_PRIZE_IN_FEES * terms.entry_fee)
    prizes = [prize for prize in prizes if prize > 0]

    rake = stakes + terms.sponsored - pool
    return Distribution(
        pool=pool,
        prizes=tuple(prizes),
        remainder=pool - sum(prizes),
        platform_rake=rake - rake // 2,
        developer_rake=rake // 2,
    )


def preview(terms: Terms, *, entrants: int) -> Distribution:
    """The split if so many join, and all of them earn."""
    return distribute(
        terms=terms, stakes=entrants * terms.entry_fee, entrants=entrants, earning=entrants
    )


def _offered(terms: Terms, *, pool: int, entrants: int) -> list[int]:
    """What each rank would win if it earns, the winner's first."""
    if terms.structure == Structure.BANDS:
        return _bands(entry_fee=terms.entry_fee, entrants=entrants)
    return [
        pool * row.amount // WHOLE_POOL if terms.structure == Structure.SHARES else row.amount
        for row in terms.table
        for _ in range(row.first, row.last + 1)
    ]


def _bands(*, entry_fee: int, entrants: int) -> list[int]:
    prizes: list[int] = []
    for percent, half_fees in _BANDS:
        ranks = entrants * percent // 100 - len(prizes)
        prizes += [entry_fee * half_fees // 2] * ranks
    return prizes


def _top_up(prizes: list[int], *, pool: int, at_most: int) -> list[int]:
    """Raise the winner's prize from what is left, also where the bands gave rank 1 nothing."""
    first, *others = prizes or [0]
    left = pool - first - sum(others)
    return [max(first, min(first + left, at_most)), *others]


def _refuse_disorder(table: Sequence[Range]) -> None:
    expected, least = 1, LARGEST_PRIZE
    for row in table:
        numbers = (row.first, row.last, row.amount)
        if not all(type(number) is int for number in numbers):
            raise _wrong("Each row has the whole numbers first, last and amount.")
        if row.first != expected or row.last < row.first:
            raise _wrong(f"The next row has to start at rank {expected} and end there or later.")
        if row.last > MOST_RANKS:
            raise _wrong(f"No more than {MOST_RANKS:,} ranks can win.")
        if not 0 < row.amount <= least:
            raise _wrong(
                f"Rank {row.first} has to win between 1 and {least:,}: no more than before."
            )
        expected, least = row.last + 1, row.amount


def _wrong(why: str) -> PrizeTableWrong:
    return PrizeTableWrong(details={"reason": why})
