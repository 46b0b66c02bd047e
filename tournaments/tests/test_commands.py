from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.tests.factories import GameFactory
from tournaments.models import Tournament
from tournaments.tests.factories import TournamentFactory, seat
from tournaments.tests.world import buckets, world

pytestmark = pytest.mark.django_db


def last_line(*words):
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue().splitlines()[-1]


def create(game, **changed):
    options = {
        "--client": game.client_id,
        "--title": "Daily",
        "--buy-in": "10",
        "--lobby": "+0s",
        "--starts": "+1s",
        "--locks": "+5m",
        "--ends": "+1h",
    } | changed
    return last_line("create_tournament", *(word for pair in options.items() for word in pair))


def test_create_tournament_publishes_at_once(now):
    game = GameFactory.create()

    uid = create(game)

    tournament = Tournament.objects.get(uid=uid)
    assert (tournament.game, tournament.title, tournament.entry_fee) == (game, "Daily", 10)
    assert (tournament.schedules_at, tournament.lobby_at) == (now, now)
    assert tournament.starts_at == now + timedelta(seconds=1)
    assert tournament.locks_at == now + timedelta(minutes=5)
    assert tournament.ends_at == now + timedelta(hours=1)
    assert tournament.grace == timedelta(seconds=60)
    assert (tournament.tournament_size, tournament.min_registration_start_limit) == (None, 2)
    assert tournament.status_at(now) == "LOBBY"


def test_create_tournament_with_every_option(now):
    uid = create(
        GameFactory.create(),
        **{"--starts": "+0s", "--grace": "2s", "--size": "40", "--min-entrants": "3"},
    )

    tournament = Tournament.objects.get(uid=uid)
    assert tournament.status_at(now) == "STARTED"
    assert tournament.grace == timedelta(seconds=2)
    assert (tournament.tournament_size, tournament.min_registration_start_limit) == (40, 3)


def test_create_tournament_with_absolute_times(now):
    uid = create(
        GameFactory.create(),
        **{
            "--lobby": "2100-01-01T00:00:00Z",
            "--starts": "2100-01-01T00:00:00",
            "--locks": "2100-01-01T05:30:00+05:30",
            "--ends": "2100-01-02T00:00:00Z",
        },
    )

    tournament = Tournament.objects.get(uid=uid)
    new_year = datetime(2100, 1, 1, tzinfo=UTC)
    assert (tournament.lobby_at, tournament.starts_at, tournament.locks_at) == (new_year,) * 3


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"--client": "nobody"}, "There is no client nobody"),
        ({"--lobby": "+2s"}, "must follow one another"),
        ({"--starts": "soon"}, "is neither a time like"),
        ({"--starts": "+20"}, "is no duration"),
        ({"--buy-in": "1.5"}, "is no whole number"),
        ({"--buy-in": "-1"}, "expected one argument|is no whole number"),
        ({"--size": "0"}, "out of range"),
        ({"--size": str(2**31)}, "out of range"),
        ({"--title": " "}, "1 to 200 printable"),
        ({"--title": "x" * 201}, "1 to 200 printable"),
        ({"--ends": "+999999999d"}, "beyond the calendar"),
        ({"--ends": "9999-12-31T23:59:59Z"}, "before the year 3000"),
        ({"--grace": "999999999d"}, "grace is a day at most"),
        ({"--lobby": "2000-01-01T00:00:00Z"}, "must follow one another"),
    ],
)
def test_create_tournament_says_what_is_wrong(now, changed, complaint):
    game = GameFactory.create()

    with pytest.raises(CommandError, match=complaint):
        create(game, **changed)

    assert not Tournament.objects.exists()


def test_settle_now_settles_what_is_over(now):
    tournament = TournamentFactory.create(now=now, over=True)
    for score in (5, 3):
        seat(tournament, score=score)

    assert last_line("settle_now", str(tournament.uid)) == "COMPLETED"
    assert last_line("settle_now", str(tournament.uid)) == "COMPLETED"


def test_settle_now_refunds_what_nobody_won(now):
    tournament = TournamentFactory.create(now=now, over=True)
    gamer = seat(tournament, score=0).gamer

    assert last_line("settle_now", str(tournament.uid)) == "CANCELLED"

    assert buckets(gamer) == (10, 0, 0, 0)


def test_settle_now_refuses_what_still_runs(now):
    tournament = TournamentFactory.create(now=now)
    before = world()

    with pytest.raises(CommandError, match=r"not over yet\. It closes at"):
        call_command("settle_now", str(tournament.uid))

    assert world() == before


def test_settle_now_refuses_an_unknown_tournament(now):
    with pytest.raises(CommandError, match="No such tournament"):
        call_command("settle_now", str(UUID(int=7)))
