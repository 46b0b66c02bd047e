from itertools import chain, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournaments import prizes
from tournaments.prizes import Distribution


def distribute(entrants: int, *, fee: int = 10, rake: int = 15, earning: int | None = None):
    return prizes.distribute(
        stakes=entrants * fee,
        rake_percent=rake,
        entry_fee=fee,
        entrants=entrants,
        earning=entrants if earning is None else earning,
    )


@pytest.mark.parametrize(
    ("entrants", "fee", "expected"),
    [
        (100, 10, (60, *[40] * 10, *[15] * 20, *[10] * 9)),
        (20, 10, (50, 40, *[15] * 4, *[10] * 2)),
        (5, 10, (32, 10)),
        (2, 10, (17,)),
        (8, 50, (215, 75, 50)),
        (1, 10, (8,)),
        (3, 1, (2,)),
        (100, 0, ()),
    ],
)
def test_prizes_are_those_of_the_contract(entrants, fee, expected):
    assert distribute(entrants, fee=fee).prizes == expected


def test_every_unit_of_the_stakes_has_a_place():
    assert distribute(100) == Distribution(
        pool=850,
        prizes=(60, *[40] * 10, *[15] * 20, *[10] * 9),
        remainder=0,
        platform_rake=75,
        developer_rake=75,
    )


def test_the_platform_takes_the_odd_unit_of_the_rake():
    distribution = distribute(7, fee=1)

    assert (distribution.pool, distribution.platform_rake, distribution.developer_rake) == (5, 1, 1)
    assert distribute(1).platform_rake == 1
    assert distribute(1).developer_rake == 1
    assert distribute(2).platform_rake == 2
    assert distribute(2).developer_rake == 1


def test_the_winner_is_raised_to_six_fees_at_most_and_the_rest_remains():
    distribution = distribute(20, earning=1)

    assert distribution.prizes == (60,)
    assert distribution.remainder == 170 - 60


def test_zero_scores_are_dropped_first():
    distribution = distribute(100, earning=11)

    assert distribution.prizes == (60, *[40] * 10)
    assert distribution.remainder == 850 - 460


def test_forfeited_stakes_of_leavers_are_won_too():
    distribution = prizes.distribute(
        stakes=30, rake_percent=15, entry_fee=10, entrants=2, earning=2
    )

    assert distribution.prizes == (25,)


def test_under_a_high_rake_all_prizes_shrink_alike():
    distribution = distribute(100, rake=50)

    assert distribution.pool == 500
    assert distribution.prizes == (60, *[23] * 10, *[8] * 20, *[5] * 9)
    assert distribution.remainder == 5


@pytest.mark.parametrize(
    ("entrants", "expected"), [(0, 0), (1, 1), (2, 1), (3, 1), (5, 2), (99, 39), (100, 40)]
)
def test_expected_winners_are_two_in_five_and_at_least_one(entrants, expected):
    assert prizes.expected_winners(entrants) == expected


@given(
    entrants=st.integers(1, 3000),
    fee=st.integers(0, 10**18),
    rake=st.integers(0, 100),
    earning_share=st.floats(0, 1),
    leavers=st.integers(0, 50),
)
def test_prizes_and_remainder_are_the_pool(entrants, fee, rake, earning_share, leavers):
    stakes = (entrants + leavers) * fee
    distribution = prizes.distribute(
        stakes=stakes,
        rake_percent=rake,
        entry_fee=fee,
        entrants=entrants,
        earning=int(entrants * earning_share),
    )
    won = list(distribution.prizes)

    assert sum(won) + distribution.remainder == distribution.pool
    assert distribution.pool + distribution.platform_rake + distribution.developer_rake == stakes
    assert distribution.platform_rake - distribution.developer_rake in {0, 1}
    assert distribution.remainder >= 0
    assert won == sorted(won, reverse=True)
    assert all(0 < prize <= 6 * fee for prize in won)
    assert len(won) <= int(entrants * earning_share)


@pytest.mark.slow
def test_no_total_loses_a_unit():
    under_the_usual_rake = ((stakes, 15) for stakes in range(1, 10**6 + 1))
    under_any_rake = product(range(1, 1001), range(101))

    for stakes, rake in chain(under_the_usual_rake, under_any_rake):
        split = prizes.distribute(
            stakes=stakes, rake_percent=rake, entry_fee=stakes, entrants=1, earning=1
        )
        parts = (*split.prizes, split.remainder, split.platform_rake, split.developer_rake)
        assert sum(parts) == stakes
        assert min(parts) >= 0
