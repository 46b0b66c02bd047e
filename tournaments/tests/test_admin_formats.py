"""How operators choose scores and prizes, and what they see of it before they publish."""

from datetime import timedelta

import pytest
from django.utils.html import strip_tags

from accounts.tests.factories import GameFactory
from accounts.tests.staff import staff_client
from kgen.common.admin import OPERATORS
from tournaments.lifecycle import Rules
from tournaments.models import Tournament
from tournaments.tests.factories import TournamentFactory
from tournaments.tests.test_admin import ADD, errors, form_of, page
from tournaments.tests.world import pool_balance

pytestmark = pytest.mark.django_db


def post(now, **fields):
    sent = form_of(now + timedelta(hours=1), game=GameFactory().pk, **fields)
    return staff_client(OPERATORS).post(ADD, sent)


def panel(response, title):
    return dict(response.context["panels"])[title]


def texts(table):
    return [[strip_tags(str(cell)).removesuffix(" KCash") for cell in row] for row in table.rows]


def test_tournament_is_made_by_the_rules_that_are_chosen(now):
    post(
        now,
        score_rule="SUM",
        event_ceiling="500",
        minute_ceiling="900",
        prize_structure="SHARES",
        prize_table="1: 50\n2-3: 12.5 %\n\n 4 - 5 = 0.05",
        sponsor_contribution="1000",
    )

    made = Tournament.objects.get()
    assert (made.score_rule, made.sort) == ("SUM", "HIGH")
    assert (made.event_ceiling, made.minute_ceiling) == (500, 900)
    assert (made.prize_structure, made.sponsor_contribution) == ("SHARES", 1000)
    assert made.prize_table == [
        {"first": 1, "last": 1, "amount": 5000},
        {"first": 2, "last": 3, "amount": 1250},
        {"first": 4, "last": 5, "amount": 5},
    ]


@pytest.mark.parametrize(
    ("fields", "name", "wrong"),
    [
        (
            {"prize_structure": "FIXED", "prize_table": "first: 10"},
            "prize_table",
            "“first: 10” is not such as “1: 500” or “2-3: 200”.",
        ),
        (
            {"prize_structure": "FIXED", "prize_table": "1: 10.5", "sponsor_contribution": "99"},
            "prize_table",
            "“1: 10.5”: KCash has no decimals.",
        ),
        (
            {"prize_structure": "FIXED", "prize_table": "1: 10"},
            "prize_table",
            "The prizes come to 10 KCash; the sponsor's contribution has to cover them.",
        ),
        (
            {"prize_structure": "SHARES", "prize_table": "1: 60\n2: 41"},
            "prize_table",
            "The shares come to more than the whole pool.",
        ),
        (
            {"prize_structure": "SHARES", "prize_table": "1: 10\n3: 5"},
            "prize_table",
            "The next row has to start at rank 2 and end there or later.",
        ),
        ({"prize_structure": "SHARES"}, "prize_table", "Name at least one prize."),
        ({"prize_table": "1: 10"}, "prize_table", "Bands have no table of their own."),
        (
            {"entry_fee": "0", "sponsor_contribution": "5"},
            "prize_table",
            "Bands pay in entry fees: a free tournament shares its sponsor's contribution.",
        ),
        (
            {"sort": "LOW", "minute_ceiling": "5"},
            "minute_ceiling",
            "Where the lowest score wins, none can rise too fast: leave the ceiling a minute out.",
        ),
    ],
)
def test_what_cannot_be_paid_or_scored_is_refused_beside_its_field(now, fields, name, wrong):
    response = post(now, **fields)

    assert errors(response) == {name: [wrong]}
    assert not Tournament.objects.exists()


@pytest.mark.parametrize(
    ("structure", "amount", "text"), [("FIXED", 250, "1: 250"), ("SHARES", 250, "1: 2.5")]
)
def test_table_of_a_draft_reads_as_it_was_typed_and_stays_when_saved(now, structure, amount, text):
    draft = TournamentFactory.create(
        now=now,
        hidden=True,
        published=False,
        rules=Rules(
            prize_structure=Tournament.PrizeStructure(structure),
            prize_table=[{"first": 1, "last": 1, "amount": amount}],
            sponsor_contribution=250,
        ),
    )
    operator = staff_client(OPERATORS)

    form = operator.get(page(draft)).context["adminform"].form
    assert form["prize_table"].value() == text
    operator.post(
        page(draft),
        form_of(
            draft.starts_at,
            game=draft.game.pk,
            title="Renamed",
            prize_structure=structure,
            prize_table=text,
            sponsor_contribution="250",
        ),
    )

    draft.refresh_from_db()
    assert draft.title == "Renamed"
    assert draft.prize_table == [{"first": 1, "last": 1, "amount": amount}]


def test_draft_shows_what_different_crowds_would_win(now):
    draft = TournamentFactory.create(now=now, hidden=True, published=False)

    table = panel(staff_client(OPERATORS).get(page(draft)), "Prizes if all earn")

    assert texts(table) == [
        ["20", "170", "8", "1: 50 · 2: 40 · 3-6: 15 · 7-8: 10", "0", "30"],
        ["100", "850", "40", "1: 60 · 2-11: 40 · 12-31: 15 · 32-40: 10", "0", "150"],
        [
            "1,000",
            "8,500",
            "400",
            "1-10: 60 · 11-110: 40 · 111-310: 15 · 311-400: 10",
            "0",
            "1,500",
        ],
    ]


def test_no_crowd_is_shown_that_has_no_seats(now):
    draft = TournamentFactory.create(now=now, hidden=True, published=False, tournament_size=7)

    table = panel(staff_client(OPERATORS).get(page(draft)), "Prizes if all earn")

    assert [row[0] for row in table.rows] == ["7"]


def test_publishing_says_first_what_the_sponsor_pays(now):
    draft = TournamentFactory.create(
        now=now, hidden=True, published=False, rules=Rules(sponsor_contribution=1500)
    )

    asked = staff_client(OPERATORS).get(page(draft, "publish")).content.decode()

    assert "The sponsor&#x27;s contribution of 1,500 KCash goes from the treasury" in asked


def test_cancelling_gives_the_sponsor_back_and_says_so_first(now):
    tournament = TournamentFactory.create(
        now=now, hidden=True, rules=Rules(sponsor_contribution=1500)
    )
    operator = staff_client(OPERATORS)

    asked = operator.get(page(tournament, "cancel")).content.decode()
    operator.post(page(tournament, "cancel"), {"reason": "the sponsor has gone"})

    assert "no entry fee is given back" in asked
    assert "The sponsor&#x27;s 1,500 KCash go back to the treasury." in asked
    assert pool_balance(tournament) == 0
