"""What each rank wins: pure arithmetic on whole numbers (API contract, section 1)."""

from dataclasses import dataclass

# Bands by rank: up to and with this share of the entrants (in percent, rounded down), the prize is
# this many halves of the entry fee.
_BANDS = ((1, 12), (11, 8), (31, 3), (40, 2))
_TOP_PRIZE_IN_FEES = 6


@dataclass(frozen=True)
class Distribution:
    """Where every unit of the stakes goes: prizes and remainder make the pool, the rest is rake."""

    pool: int
    prizes: tuple[int, ...]
    """By rank, the winner's first; ranks that win nothing are left out."""
    remainder: int
    """What the prizes leave of the pool; the platform's."""
    platform_rake: int
    developer_rake: int


def pool_of_stakes(stakes: int, rake_percent: int) -> int:
    """The net pool: what the stakes leave after the rake, rounded down."""
    return stakes * (100 - rake_percent) // 100


def expected_winners(entrants: int) -> int:
    """How many will be rewarded, as far as can be said before the scores are final."""
    return max(entrants * _BANDS[-1][0] // 100, min(entrants, 1))


def distribute(
    *, stakes: int, rake_percent: int, entry_fee: int, entrants: int, earning: int
) -> Distribution:
    """Split the stakes of `entrants` gamers, the first `earning` of whom scored above zero."""
    pool = pool_of_stakes(stakes, rake_percent)
    prizes = _bands(entry_fee=entry_fee, entrants=entrants)[:earning]
    promised = sum(prizes)
    if promised > pool:
        # Never with the usual rake of 15 %; under a higher one all prizes shrink alike.
        prizes = [prize * pool // promised for prize in prizes]
    if earning:
        prizes = _top_up(prizes, pool=pool, at_most=_TOP_PRIZE_IN_FEES * entry_fee)
    prizes = [prize for prize in prizes if prize > 0]

    rake = stakes - pool
    return Distribution(
        pool=pool,
        prizes=tuple(prizes),
        remainder=pool - sum(prizes),
        platform_rake=rake - rake // 2,
        developer_rake=rake // 2,
    )


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
