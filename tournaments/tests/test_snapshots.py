"""Boards at most a fifth of a second old: never older, never another order than the truth's."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as trials
from hypothesis import strategies as st

from accounts.models import Gamer
from accounts.tests.factories import GamerFactory
from tournaments import leaderboard, lifecycle, ranking, snapshots
from tournaments.joining import NotJoined
from tournaments.models import Tournament
from tournaments.tests.boards import leave, score, sit, tournament_of

pytestmark = pytest.mark.usefixtures("committed_database")

WINDOWS = [
    *((limit, offset, False) for limit in (1, 3, 100) for offset in (0, 1, 11, 2**53)),
    *((limit, 0, True) for limit in (1, 2, 3, 21)),
]


@pytest.fixture(autouse=True)
def _boards_are_kept(settings: Any) -> None:
    settings.BOARD_SNAPSHOT_AGE = timedelta(seconds=0.2)
    settings.RANKED_FROM_SEATS = 10**9
    snapshots.forget()


def board(tournament, gamer, window, *, now, fresh=False):
    limit, offset, around = window
    asked = {"tournament": tournament, "gamer": gamer, "limit": limit, "now": now, "fresh": fresh}
    try:
        if around:
            return leaderboard.read_around(**asked)
        return leaderboard.read(offset=offset, **asked)
    except NotJoined:
        return NotJoined


def top(tournament, *, now, fresh=False):
    """Who stands on the board, from the first on."""
    shown = board(tournament, GamerFactory(), (100, 0, False), now=now, fresh=fresh)
    return [(standing.gamer_id, standing.score) for standing in shown.standings]


def test_a_board_is_asked_for_once_however_many_look(django_assert_num_queries: Any):
    tournament = tournament_of()
    seat, now = sit(tournament, "g1", score=5), timezone.now()
    board(tournament, seat.gamer, (100, 0, False), now=now)

    with django_assert_num_queries(0):
        for milliseconds in (0, 50, 100):
            then = now + timedelta(milliseconds=milliseconds)
            shown = board(tournament, seat.gamer, (100, 0, False), now=then)

    assert [one.gamer_id for one in shown.standings] == ["g1"]
    assert shown.own == leaderboard.Own(rank=1, score=5, prize=0)
    assert shown.as_of == now


def test_it_is_never_older_than_a_fifth_of_a_second():
    tournament, now = tournament_of(), timezone.now()
    seat = sit(tournament, "g1", score=5)
    assert top(tournament, now=now) == [("g1", 5)]
    score(seat, 7)

    assert top(tournament, now=now + timedelta(milliseconds=100)) == [("g1", 5)]

    assert top(tournament, now=now + timedelta(milliseconds=201)) == [("g1", 7)]


def test_who_asks_for_the_truth_gets_it():
    tournament, now = tournament_of(), timezone.now()
    seat = sit(tournament, "g1", score=5)
    assert top(tournament, now=now) == [("g1", 5)]
    score(seat, 7)

    assert top(tournament, now=now, fresh=True) == [("g1", 7)]


def test_a_clock_that_is_put_back_keeps_no_board_alive():
    tournament, now = tournament_of(), timezone.now()
    seat = sit(tournament, "g1", score=5)
    top(tournament, now=now)
    score(seat, 7)

    assert top(tournament, now=now - timedelta(hours=1)) == [("g1", 7)]


def test_while_one_brings_it_up_to_date_the_others_go_on(monkeypatch: pytest.MonkeyPatch):
    tournament, now = tournament_of(), timezone.now()
    seat = sit(tournament, "g1", score=5)
    top(tournament, now=now)
    score(seat, 7)
    asked, may_answer, ask = Event(), Event(), ranking.moved_since

    def slowly(*arguments):
        asked.set()
        assert may_answer.wait(10)
        return ask(*arguments)

    monkeypatch.setattr(ranking, "moved_since", slowly)
    soon = now + timedelta(milliseconds=150)

    def look():
        try:
            return top(tournament, now=soon)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(look)
        assert asked.wait(10)
        others = top(tournament, now=soon)
        may_answer.set()

        assert first.result() == [("g1", 7)]
    assert others == [("g1", 5)]


def test_a_board_that_is_over_is_read_as_it_is():
    tournament, now = tournament_of(), timezone.now()
    seat = sit(tournament, "g1", score=5)
    top(tournament, now=now)
    score(seat, 7)
    with transaction.atomic():
        over = lifecycle.locked(uid=tournament.uid)
        lifecycle.cancel(over, now=now)

    shown = board(over, seat.gamer, (100, 0, False), now=now)

    assert (shown.status, shown.price_pool) == (Tournament.Status.CANCELLED, 0)
    assert shown.own == leaderboard.Own(rank=1, score=7, prize=0)


def test_a_board_of_more_seats_than_are_kept_is_read_as_it_is(settings: Any):
    settings.BOARD_SNAPSHOT_SEATS = 2
    tournament, now = tournament_of(), timezone.now()
    for name in ("g1", "g2", "g3"):
        seat = sit(tournament, name, score=5)
    top(tournament, now=now)
    score(seat, 9)

    assert top(tournament, now=now) == [("g3", 9), ("g1", 5), ("g2", 5)]


def test_the_board_that_nobody_asked_for_longest_makes_room(settings: Any):
    settings.BOARD_SNAPSHOT_SEATS = 3
    first, second, third = (tournament_of() for _ in range(3))
    for tournament in (first, second, third):
        for name in ("g1", "g2"):
            seat = sit(tournament, name, score=5)
    now = timezone.now()
    for tournament in (first, second, third):
        top(tournament, now=now)
    score(seat, 9)

    kept = list(snapshots._kept._snapshots)

    assert kept == [second.uid, third.uid]
    assert top(third, now=now) == [("g1", 5), ("g2", 5)]


def test_after_a_restart_of_the_server_a_board_is_read_anew():
    tournament, now = tournament_of(), timezone.now()
    sit(tournament, "g1", score=5)
    top(tournament, now=now)
    snapshot = snapshots._kept.of(tournament, now=now)
    snapshot._server = "another life"
    sit(tournament, "g2", score=9)

    assert top(tournament, now=now + timedelta(seconds=1)) == [("g2", 9), ("g1", 5)]


def test_a_board_that_has_moved_too_much_is_read_anew(monkeypatch: pytest.MonkeyPatch):
    tournament, now = tournament_of(), timezone.now()
    sit(tournament, "g1", score=5)
    top(tournament, now=now)
    monkeypatch.setattr(ranking, "_MOST_MOVES", 1)
    for name in ("g2", "g3", "g4"):
        sit(tournament, name, score=9)

    later = top(tournament, now=now + timedelta(seconds=1))

    assert later == [("g2", 9), ("g3", 9), ("g4", 9), ("g1", 5)]


@pytest.mark.slow
@pytest.mark.parametrize("sort", Tournament.Sort)
@trials(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from(["score", "leave", "look"]), st.integers(0, 5), st.integers(0, 3)
        ),
        max_size=25,
    )
)
def test_every_part_of_it_is_the_truths(sort, moves):
    snapshots.forget()
    tournament, now = tournament_of(sort=sort), timezone.now()
    seats: dict[int, Any] = {}
    for step, (move, who, points) in enumerate(moves):
        seat = seats.get(who)
        if move == "look":
            now += timedelta(seconds=1)
            assert_true_to(tournament, now=now)
        elif seat is None:
            seats[who] = sit(tournament, f"g{who}", joined=step)
        elif move == "leave":
            leave(seats.pop(who))
        else:
            score(seat, points, reached=step)

    assert_true_to(tournament, now=now + timedelta(seconds=1))


def assert_true_to(tournament, *, now):
    for gamer in [*Gamer.objects.filter(game=tournament.game), GamerFactory()]:
        for window in WINDOWS:
            shown = board(tournament, gamer, window, now=now)
            with transaction.atomic():
                assert shown == board(tournament, gamer, window, now=now, fresh=True)


@pytest.mark.slow
def test_under_many_writers_and_readers_it_ends_as_the_truth():
    tournament = tournament_of()
    seats = [sit(tournament, f"g{number:03}", score=1) for number in range(200)]
    is_over = Event()

    def write(number):
        dice = random.Random(number)  # noqa: S311 - not a secret
        try:
            for step in range(100):
                score(dice.choice(seats[number::4]), dice.randrange(50), reached=step)
        finally:
            connection.close()

    def look():
        try:
            while not is_over.is_set():
                shown = board(tournament, seats[0].gamer, (100, 0, False), now=timezone.now())
                places = [(-one.score, one.rank) for one in shown.standings]
                assert places == sorted(places)
                assert shown.total == 200
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(look) for _ in range(4)]
        for writer in [pool.submit(write, number) for number in range(4)]:
            writer.result()
        is_over.set()
        for reader in readers:
            reader.result()

    assert_true_to(tournament, now=timezone.now() + timedelta(seconds=1))
