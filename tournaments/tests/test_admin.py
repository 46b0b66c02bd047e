from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.tests.factories import GameFactory
from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from tournaments import cancelling, joining, tickets
from tournaments.admin.tournaments import next_start
from tournaments.models import Participation, Tournament
from tournaments.tests.factories import TournamentFactory, player, record_score, seat
from tournaments.tests.world import world

pytestmark = pytest.mark.django_db

LIST = "/admin/tournaments/tournament/"
ADD = "/admin/tournaments/tournament/add/"


def page(tournament, act="change"):
    return reverse(f"admin:tournaments_tournament_{act}", args=[tournament.pk])


def form_of(starts_at, **fields):
    """What a browser sends for the short form, with the times that are named."""
    sent = {
        "title": "Daily Carrom",
        "entry_fee": "10",
        "tournament_size": "",
        "min_registration_start_limit": "2",
        "description": "",
        "theme": "",
        "score_rule": "LATEST",
        "sort": "HIGH",
        "event_ceiling": "",
        "minute_ceiling": "",
        "prize_structure": "BANDS",
        "prize_table": "",
        "sponsor_contribution": "0",
    }
    for name, at in {"starts_at": starts_at, **fields.pop("times", {})}.items():
        sent |= {f"{name}_0": f"{at:%Y-%m-%d}", f"{name}_1": f"{at:%H:%M:%S}"}
    return {**sent, **fields}


def errors(response):
    return dict(response.context["adminform"].form.errors)


# --- Making --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "start"),
    [("12:00", "12:15"), ("12:04", "12:15"), ("12:05", "12:30"), ("12:50", "13:15")],
)
def test_next_start_is_a_full_quarter_with_time_to_publish(now, start):
    at = datetime.fromisoformat(f"2026-01-01T{now}:00").replace(tzinfo=UTC)

    assert f"{next_start(at):%H:%M}" == start


def test_add_page_offers_the_next_start(now):
    operator = staff_client(OPERATORS)

    response = operator.get(ADD)

    assert response.context["adminform"].form.initial["starts_at"] == next_start(now)


def test_add_makes_a_draft_in_the_usual_rhythm(now):
    operator = staff_client(OPERATORS)
    game = GameFactory()
    starts_at = now + timedelta(hours=1)

    response = operator.post(ADD, form_of(starts_at, game=game.pk))

    tournament = Tournament.objects.get()
    assert response["Location"] == page(tournament)
    assert tournament.phase == "PREPARATION"
    assert (tournament.game, tournament.title, tournament.entry_fee) == (game, "Daily Carrom", 10)
    assert (tournament.tournament_size, tournament.min_registration_start_limit) == (None, 2)
    assert tournament.schedules_at == starts_at - timedelta(minutes=3)
    assert tournament.lobby_at == starts_at - timedelta(minutes=1)
    assert tournament.locks_at == starts_at + timedelta(hours=24) - timedelta(minutes=2)
    assert tournament.ends_at == starts_at + timedelta(hours=24)
    assert StaffAct.objects.get().line() == "Made"


def test_add_keeps_the_times_that_are_given(now):
    operator = staff_client(OPERATORS)
    starts_at = now + timedelta(hours=1)
    times = {
        "schedules_at": starts_at - timedelta(minutes=50),
        "lobby_at": starts_at - timedelta(minutes=40),
        "locks_at": starts_at + timedelta(minutes=20),
        "ends_at": starts_at + timedelta(minutes=30),
    }

    operator.post(ADD, form_of(starts_at, times=times, game=GameFactory().pk))

    tournament = Tournament.objects.get()
    assert {name: getattr(tournament, name) for name in times} == times


def test_add_follows_an_early_lobby_and_a_short_length(now):
    operator = staff_client(OPERATORS)
    starts_at = now + timedelta(hours=1)
    times = {
        "lobby_at": starts_at - timedelta(minutes=30),
        "ends_at": starts_at + timedelta(minutes=1),
    }

    operator.post(ADD, form_of(starts_at, times=times, game=GameFactory().pk))

    tournament = Tournament.objects.get()
    assert tournament.schedules_at == tournament.lobby_at == times["lobby_at"]
    assert tournament.locks_at == starts_at


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("times", "field", "sentence"),
    [
        ({"ends_at": -HOUR}, "ends_at", "It must end after it starts."),
        ({"lobby_at": HOUR}, "lobby_at", "The lobby opens before the start, or with it."),
        (
            {"schedules_at": -HOUR, "lobby_at": -2 * HOUR},
            "lobby_at",
            "Gamers must see the tournament before its lobby opens.",
        ),
        ({"locks_at": -HOUR}, "locks_at", "It locks after its start, or with it."),
        ({"locks_at": 48 * HOUR}, "locks_at", "It locks before its end, or with it."),
    ],
)
def test_add_refuses_times_out_of_order_with_a_sentence(now, times, field, sentence):
    operator = staff_client(OPERATORS)
    starts_at = now + timedelta(days=1)
    shifted = {name: starts_at + shift for name, shift in times.items()}

    response = operator.post(ADD, form_of(starts_at, times=shifted, game=GameFactory().pk))

    assert errors(response) == {field: [sentence]}
    assert Tournament.objects.count() == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"entry_fee": "-1"}, "entry_fee"),
        ({"entry_fee": "1.5"}, "entry_fee"),
        ({"entry_fee": "9007199254740992"}, "entry_fee"),
        ({"tournament_size": "0"}, "tournament_size"),
        ({"tournament_size": "99999999999"}, "tournament_size"),
        ({"tournament_size": "3", "min_registration_start_limit": "4"}, "tournament_size"),
        ({"min_registration_start_limit": "0"}, "min_registration_start_limit"),
        ({"title": ""}, "title"),
        ({"title": "a\x00b"}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"starts_at_0": "", "starts_at_1": ""}, "starts_at"),
        ({"starts_at_0": "tomorrow"}, "starts_at"),
        ({"lobby_at_0": "2026-01-01"}, "lobby_at"),
        ({"starts_at_0": "2020-01-01"}, "starts_at"),
        ({"starts_at_0": "9999-12-31", "starts_at_1": "23:59:59"}, "starts_at"),
        ({"starts_at_0": "0001-01-01", "starts_at_1": "00:00:00"}, "starts_at"),
    ],
)
def test_add_refuses_what_the_database_would(now, fields, field):
    operator = staff_client(OPERATORS)

    response = operator.post(ADD, form_of(now + HOUR, game=GameFactory().pk, **fields))

    assert list(errors(response)) == [field]
    assert Tournament.objects.count() == 0


def test_draft_can_be_changed(now):
    operator = staff_client(OPERATORS)
    draft = TournamentFactory(published=False)
    starts_at = now + HOUR

    operator.post(page(draft), form_of(starts_at, game=draft.game.pk, title="Better name"))

    draft.refresh_from_db()
    assert (draft.title, draft.starts_at, draft.phase) == ("Better name", starts_at, "PREPARATION")


def test_published_tournament_cannot_be_changed(now):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory()
    before = world()

    response = operator.post(page(tournament), form_of(now + HOUR, game=tournament.game.pk))

    assert response.status_code == 403
    assert world() == before


def test_support_may_read_and_do_nothing(now):
    support = staff_client(SUPPORT)
    tournament = TournamentFactory(over=True)
    before = world()

    assert support.get(page(tournament)).status_code == 200
    assert support.get(ADD).status_code == 403
    for act in ("publish", "settle", "cancel"):
        assert support.post(page(tournament, act), {"reason": "no"}).status_code == 403
    assert world() == before


# --- Acts ----------------------------------------------------------------------------------------


def test_publish_shows_the_tournament_to_gamers_and_is_logged(now):
    operator = staff_client(OPERATORS)
    draft = TournamentFactory(published=False)

    asked = operator.get(page(draft, "publish"))
    operator.post(page(draft, "publish"), {"reason": "as planned"})

    draft.refresh_from_db()
    assert "Entry fee (10 KCash), seats and times are fixed from then on." in asked.content.decode()
    assert draft.phase == "PUBLISHED"
    assert StaffAct.objects.get().line() == "Publish: as planned"


def test_publish_twice_is_not_possible(now):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory()
    before = world()

    response = operator.post(page(tournament, "publish"), {"reason": "again"}, follow=True)

    assert "is not possible any more" in response.content.decode()
    assert world() == before


def test_cancel_shows_who_gets_what_back_before_it_does(now):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(now=now)
    for _ in range(3):
        seat(tournament)
    leaver = seat(tournament, score=5)
    joining.leave(gamer=leaver.gamer, tournament_uid=tournament.uid, now=now)
    before = world()

    response = operator.get(page(tournament, "cancel"))

    assert response.context["consequences"] == [
        "Participants: 3. They can neither play on nor win.",
        "Entry fees to give back: 4, of 10 KCash each.",
        "Of these, forfeited by gamers who left: 1.",
        "Refund in all: 40 KCash, to where it came from.",
        "Refunds follow within seconds. It cannot be undone.",
    ]
    assert world() == before


def test_cancel_needs_a_reason(now):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory()
    before = world()

    response = operator.post(page(tournament, "cancel"), {"reason": " "})

    assert dict(response.context["form"].errors) == {"reason": ["This field is required."]}
    assert world() == before


def test_cancel_calls_the_tournament_off_and_is_logged(now):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(now=now)
    seat(tournament)

    operator.post(page(tournament, "cancel"), {"reason": "server trouble"})

    tournament.refresh_from_db()
    assert (tournament.phase, tournament.cancelled_at) == ("CANCELLED", now)
    assert StaffAct.objects.get().line() == "Cancel and refund: server trouble"


def test_settle_is_offered_only_when_it_is_due(now):
    operator = staff_client(OPERATORS)
    running = TournamentFactory(now=now)
    before = world()

    response = operator.post(page(running, "settle"), {"reason": "now"})

    assert response["Location"] == page(running)
    assert world() == before


def test_settle_pays_the_pool_out(now):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(over=True, now=now)
    seat(tournament, score=7)
    seat(tournament, score=3)

    operator.post(page(tournament, "settle"), {"reason": "the worker is down"})

    tournament.refresh_from_db()
    assert (tournament.phase, tournament.settled_pool) == ("COMPLETED", 17)
    assert StaffAct.objects.get().line() == "Settle now: the worker is down"


# --- Reading -------------------------------------------------------------------------------------


def test_page_shows_the_board_and_the_participations(now):
    support = staff_client(SUPPORT)
    tournament = TournamentFactory(now=now)
    first = seat(tournament, gamer=player(tournament.game, username="Swift"), score=1234)
    second = seat(tournament)

    panels = dict(support.get(page(tournament)).context["panels"])

    board = panels["Leaderboard"].rows
    assert [(row[0], row[2], row[3]) for row in board] == [(1, "Swift", "1,234"), (2, "-", "0")]
    assert str(first.gamer) in board[0][1]
    assert [str(second.gamer) in panels["Newest participations"].rows[0][0]] == [True]


@pytest.mark.parametrize(
    ("made", "status", "left"),
    [
        ({"published": False}, "DRAFT", "-"),
        ({"hidden": True}, "TO BE SHOWN", "starts in 1 h"),
        ({"scheduled": True}, "SCHEDULED", "starts in 2 min"),
        ({"lobby": True}, "LOBBY", "starts in 30 s"),
        ({}, "STARTED", "ends in 50 min"),
        ({"locked": True}, "LOCKED", "ends in 1 min"),
        ({"over": True}, "REWARDS", "-"),
    ],
)
def test_list_tells_status_and_time_left(now, made, status, left):
    support = staff_client(SUPPORT)
    TournamentFactory(now=now, **made)

    content = support.get(LIST).content.decode()

    assert f">{status}</span>" in content
    assert f'<td class="field-left">{left}</td>' in content


@pytest.mark.parametrize(
    ("status", "titles"),
    [
        ("draft", {"draft"}),
        ("upcoming", {"hidden", "lobby"}),
        ("live", {"running", "locked"}),
        ("due", {"over"}),
        ("completed", set()),
        ("cancelled", {"cancelled"}),
    ],
)
def test_list_filters_by_status(now, status, titles):
    support = staff_client(SUPPORT)
    game = GameFactory()
    TournamentFactory(now=now, game=game, title="draft", published=False)
    for made in ("hidden", "lobby", "locked", "over"):
        TournamentFactory(now=now, game=game, title=made, **{made: True})
    TournamentFactory(now=now, game=game, title="running")
    called_off = TournamentFactory(now=now, game=game, title="cancelled")
    cancelling.cancel(uid=called_off.uid, now=now)

    response = support.get(LIST, {"status": status})

    assert {one.title for one in response.context["cl"].result_list} == titles


@pytest.mark.parametrize("rows", [1, 3])
def test_list_costs_the_same_queries_whatever_its_length(now, rows, django_assert_num_queries):
    support = staff_client(SUPPORT)
    for _ in range(rows):
        tournament = TournamentFactory(now=now)
        seat(tournament)

    with django_assert_num_queries(8):
        support.get(LIST)


@pytest.mark.parametrize("rows", [1, 3])
def test_participations_cost_the_same_queries_whatever_their_number(
    now, rows, django_assert_num_queries
):
    support = staff_client(SUPPORT)
    for _ in range(rows):
        seat(TournamentFactory(now=now))

    with django_assert_num_queries(7):
        support.get("/admin/tournaments/participation/")


@pytest.mark.parametrize("rows", [1, 3])
def test_page_costs_the_same_queries_whatever_the_crowd(now, rows, django_assert_num_queries):
    support = staff_client(SUPPORT)
    tournament = TournamentFactory(now=now)
    for number in range(rows):
        seat(tournament, score=number + 1)

    with django_assert_num_queries(13):
        support.get(page(tournament))


@pytest.mark.parametrize("rows", [1, 3])
def test_gamer_page_costs_the_same_queries_whatever_was_played(
    now, rows, django_assert_num_queries
):
    support = staff_client(SUPPORT)
    gamer = player(GameFactory())
    for _ in range(rows):
        tournament = TournamentFactory(now=now, game=gamer.game)
        seat(tournament, gamer=gamer)
        record_score(tournament, gamer, 5, at=now)

    with django_assert_num_queries(16):
        support.get(reverse("admin:accounts_gamer_change", args=[gamer.pk]))


def test_participations_are_for_reading_alone(now):
    operator = staff_client(OPERATORS)
    taken = seat(TournamentFactory(now=now))
    url = reverse("admin:tournaments_participation_change", args=[taken.pk])

    assert operator.get(url).status_code == 200
    assert operator.post(url, {"score": "9"}).status_code == 403
    assert operator.get("/admin/tournaments/participation/add/").status_code == 403
    assert operator.post(url.replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert Participation.objects.get().score is None


@pytest.mark.parametrize("term", ["Cup", "not-a-uuid", "\x00", "0xAB"])
def test_searches_survive_any_term(now, term):
    support = staff_client(SUPPORT)
    seat(TournamentFactory(now=now, title="Grand Cup"))

    for url in (LIST, "/admin/tournaments/participation/"):
        assert support.get(url, {"q": term}).status_code == 200


def test_search_finds_the_tournament_id():
    support = staff_client(SUPPORT)
    wanted, _other = TournamentFactory(now=timezone.now()), TournamentFactory()

    response = support.get(LIST, {"q": str(wanted.uid)})

    assert list(response.context["cl"].result_list) == [wanted]


# --- The board as it changes ---------------------------------------------------------------------


@pytest.mark.parametrize("role", [OPERATORS, SUPPORT])
def test_the_page_of_a_tournament_follows_its_board(now, settings, role):
    settings.STREAM_URL = "https://stream.example"
    tournament = TournamentFactory.create(now=now)
    staff = staff_client(role)

    shown = staff.get(page(tournament)).content.decode()
    response = staff.get(page(tournament, "ticket"))

    assert f'data-live="{page(tournament, "ticket")}"' in shown
    assert 'src="/static/console/board.js" defer' in shown
    assert "no-store" in response["Cache-Control"]
    address = urlsplit(response.json()["address"])
    assert f"{address.scheme}://{address.netloc}{address.path}" == (
        f"https://stream.example/leaderboards/{tournament.uid}"
    )
    tickets.check(parse_qs(address.query)["token"][0], uid=tournament.uid)


def test_a_board_that_does_not_change_is_not_followed(now, settings):
    settings.STREAM_URL = "https://stream.example"
    tournament = TournamentFactory.create(now=now)
    cancelling.cancel(uid=tournament.uid, now=now)

    shown = staff_client(OPERATORS).get(page(tournament)).content.decode()

    assert "data-live" not in shown


def test_who_may_not_see_the_tournament_gets_no_ticket(now, settings):
    settings.STREAM_URL = "https://stream.example"
    tournament = TournamentFactory.create(now=now)

    by_finance = staff_client(FINANCE).get(page(tournament, "ticket"))
    by_nobody = Client().get(page(tournament, "ticket"))

    assert by_finance.status_code == 403
    assert (by_nobody.status_code, by_nobody["Location"][:13]) == (302, "/admin/login/")
