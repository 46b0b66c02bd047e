from itertools import chain, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournaments import prizes
from tournaments.prizes import Distribution, PrizeTableWrong, Range, Structure, Terms

FEE_10 = Terms(entry_fee=10, rake_percent=15)


def row(first: int, last: int, amount: int) -> dict[str, int]:
    return {"first": first, "last": last, "amount": amount}


def distribute(entrants: int, *, fee: int = 10, rake: int = 15, earning: int | None = None):
    return prizes.distribute(
        terms=Terms(entry_fee=fee, rake_percent=rake),
        stakes=entrants * fee,
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
    distribution = prizes.distribute(terms=FEE_10, stakes=30, entrants=2, earning=2)

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
    assert prizes.expected_winners(entrants, FEE_10) == expected


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
        terms=Terms(entry_fee=fee, rake_percent=rake),
        stakes=stakes,
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
        terms = Terms(entry_fee=stakes, rake_percent=rake)
        split = prizes.distribute(terms=terms, stakes=stakes, entrants=1, earning=1)
        parts = (*split.prizes, split.remainder, split.platform_rake, split.developer_rake)
        assert sum(parts) == stakes
        assert min(parts) >= 0


# --- Tables and sponsors -------------------------------------------------------------------------


def test_fixed_prizes_are_paid_as_they_are_whoever_joins():
    table = (Range(1, 1, 500), Range(2, 3, 100))
    terms = Terms(10, 15, Structure.FIXED, table, sponsored=700)

    assert prizes.distribute(terms=terms, stakes=100, entrants=10, earning=10) == Distribution(
        pool=785, prizes=(500, 100, 100), remainder=85, platform_rake=8, developer_rake=7
    )
    assert prizes.distribute(terms=terms, stakes=20, entrants=2, earning=2).prizes == (500, 100)


def test_shares_are_of_the_pool_rounded_down():
    table = (Range(1, 1, 5_000), Range(2, 3, 1_500))
    terms = Terms(10, 15, Structure.SHARES, table, sponsored=3)

    assert prizes.distribute(terms=terms, stakes=100, entrants=10, earning=10) == Distribution(
        pool=88, prizes=(44, 13, 13), remainder=18, platform_rake=8, developer_rake=7
    )


def test_a_sponsor_pays_no_rake():
    terms = Terms(10, 15, sponsored=1000)

    split = prizes.distribute(terms=terms, stakes=100, entrants=10, earning=10)

    assert (split.pool, split.platform_rake + split.developer_rake) == (1085, 15)


@pytest.mark.parametrize(
    ("structure", "rows", "expected"),
    [
        (Structure.BANDS, [], 4),
        (Structure.FIXED, [row(1, 3, 5)], 3),
        (Structure.SHARES, [row(1, 30, 100)], 10),
    ],
)
def test_expected_winners_of_ten(structure, rows, expected):
    terms = Terms(10, 15, structure, prizes.table_of(structure, rows), sponsored=15)

    assert prizes.expected_winners(10, terms) == expected
    assert len(prizes.preview(terms, entrants=10).prizes) == expected


@pytest.mark.parametrize(
    ("structure", "rows", "reason"),
    [
        (Structure.BANDS, [row(1, 1, 5)], "Bands have no table of their own."),
        (Structure.FIXED, [], "Name at least one prize."),
        (
            Structure.FIXED,
            [row(2, 2, 5)],
            "The next row has to start at rank 1 and end there or later.",
        ),
        (
            Structure.FIXED,
            [row(1, 2, 5), row(2, 3, 4)],
            "The next row has to start at rank 3 and end there or later.",
        ),
        (
            Structure.FIXED,
            [row(1, 2, 5), row(3, 2, 4)],
            "The next row has to start at rank 3 and end there or later.",
        ),
        (
            Structure.FIXED,
            [row(1, 1, 5), row(2, 2, 6)],
            "Rank 2 has to win between 1 and 5: no more than before.",
        ),
        (
            Structure.FIXED,
            [row(1, 1, 0)],
            "Rank 1 has to win between 1 and 100,000,000,000: no more than before.",
        ),
        (Structure.FIXED, [row(1, 10_001, 1)], "No more than 10,000 ranks can win."),
        (
            Structure.SHARES,
            [row(1, 3, 3_334)],
            "The shares come to more than the whole pool.",
        ),
        (
            Structure.SHARES,
            [{"first": 1, "last": 1}],
            "Each row has the whole numbers first, last and amount.",
        ),
        (
            Structure.SHARES,
            [{"first": 1, "last": 1, "amount": True}],
            "Each row has the whole numbers first, last and amount.",
        ),
    ],
)
def test_tables_that_are_refused(structure, rows, reason):
    with pytest.raises(PrizeTableWrong) as refused:
        prizes.table_of(structure, rows)

    assert refused.value.details == {"reason": reason}


def test_fixed_prizes_need_a_sponsor_who_covers_them():
    table = (Range(1, 2, 50),)

    prizes.refuse_unpayable(Terms(10, 15, Structure.FIXED, table, sponsored=100))
    with pytest.raises(PrizeTableWrong):
        prizes.refuse_unpayable(Terms(10, 15, Structure.FIXED, table, sponsored=99))


def test_bands_of_a_free_tournament_would_strand_a_contribution():
    prizes.refuse_unpayable(Terms(0, 15))
    with pytest.raises(PrizeTableWrong):
        prizes.refuse_unpayable(Terms(0, 15, sponsored=1))


@st.composite
def tables(draw) -> tuple[Structure, list[dict[str, int]]]:
    structure = draw(st.sampled_from([Structure.FIXED, Structure.SHARES]))
    widths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    most = prizes.WHOLE_POOL // sum(widths) if structure == Structure.SHARES else 10**9
    amounts = sorted(
        (draw(st.integers(1, most)) for _ in widths),
        reverse=True,
    )
    rows, first = [], 1
    for width, amount in zip(widths, amounts, strict=True):
        rows.append(row(first, first + width - 1, amount))
        first += width
    return structure, rows


@given(
    table=tables(),
    entrants=st.integers(1, 40),
    earning=st.integers(0, 40),
    fee=st.integers(0, 10**9),
    rake=st.integers(0, 100),
    sponsored=st.integers(0, 10**12),
)
def test_no_table_pays_more_than_the_pool_or_less_to_the_better(
    table, entrants, earning, fee, rake, sponsored
):
    structure, rows = table
    terms = Terms(fee, rake, structure, prizes.table_of(structure, rows), sponsored)
    earning = min(earning, entrants)

    split = prizes.distribute(
        terms=terms, stakes=entrants * fee, entrants=entrants, earning=earning
    )

    won = list(split.prizes)
    assert sum(won) + split.remainder == split.pool
    assert split.remainder >= 0
    assert split.pool + split.platform_rake + split.developer_rake == entrants * fee + sponsored
    assert won == sorted(won, reverse=True)
    assert len(won) <= earning
