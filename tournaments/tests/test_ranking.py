"""The copy of a big board against the board: never another order, never an older moment."""

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from itertools import count
from threading import Event
from typing import Any
from uuid import UUID

import pytest
import redis
from django.conf import settings as configured
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as trials
from hypothesis import strategies as st

from accounts.models import Gamer
from kgen.common.money import LARGEST_AMOUNT_IN_JSON
from tournaments import leaderboard, ranking, tasks
from tournaments.joining import NotJoined
from tournaments.models import Tournament
from tournaments.order import MEMBER, ORDER, seat_of
from tournaments.tests.boards import leave, score, sit, tournament_of
from tournaments.tests.factories import TournamentFactory, player, record_score
from wallet.tests.parallel import in_parallel

pytestmark = pytest.mark.usefixtures("committed_database")

_numbers = count()
WINDOWS = [
    *((limit, offset, False) for limit in (1, 3, 100) for offset in (0, 1, 11, 2**53)),
    *((limit, 0, True) for limit in (1, 2, 3, 21)),
]


@pytest.fixture(autouse=True)
def _every_board_is_big(settings: Any) -> None:
    settings.RANKED_FROM_SEATS = 1


@pytest.fixture
def valkey() -> Iterator[Any]:
    with redis.Redis.from_url(configured.REDIS_URL) as client:
        yield client


def board(tournament, gamer, window):
    limit, offset, around = window
    now = tournament.starts_at
    try:
        if around:
            return leaderboard.read_around(tournament=tournament, gamer=gamer, limit=limit, now=now)
        return leaderboard.read(
            tournament=tournament, gamer=gamer, limit=limit, offset=offset, now=now
        )
    except NotJoined:
        return NotJoined


def truth(tournament, gamer, window):
    """What PostgreSQL counts; inside a transaction nothing else is asked."""
    with transaction.atomic():
        return board(tournament, gamer, window)


def copy_of(tournament, *, gamer_pk: int | None = None) -> Any:
    return ranking.read(tournament=tournament, gamer_pk=gamer_pk, limit=100, offset=0, around=False)


def assert_same(tournament, gamers, windows=WINDOWS):
    assert copy_of(tournament) is not None
    for gamer in gamers:
        for window in windows:
            assert board(tournament, gamer, window) == truth(tournament, gamer, window)


# --- One order -----------------------------------------------------------------------------------

# Few values, so that ties are common; names that begin like others, and of every width in UTF-8.
_names = st.one_of(
    st.sampled_from(["a", "ab", "a b", "a ", "A", "B", "ä", "aä", "a\u0001", "\uffff", "😀", "~"]),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6
    ),
)
_points = st.one_of(st.none(), st.integers(0, 3), st.just(LARGEST_AMOUNT_IN_JSON))
_moments = st.one_of(st.integers(0, 2), st.integers(0, 10**9))
_seats = st.lists(
    st.tuples(_names, _moments, _points, _moments),
    min_size=1,
    max_size=12,
    unique_by=lambda s: s[0],
)
_sorts = st.sampled_from(list(Tournament.Sort))


@pytest.mark.slow
@given(seats=_seats, sort=_sorts)
@trials(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_copy_has_the_order_and_the_windows_of_the_board(seats, sort):
    tournament = tournament_of(sort=sort)
    taken = [
        sit(tournament, name, joined=joined, score=points, reached=reached)
        for name, joined, points, reached in seats
    ]
    ranking.build(uid=tournament.uid)
    spectator = Gamer()

    ends = [
        standing.gamer_id for standing in board(tournament, spectator, (100, 0, False)).standings
    ]
    first_middle_last = {ends[0], ends[len(ends) // 2], ends[-1]}
    players = [seat.gamer for seat in taken if seat.tiebreak in first_middle_last]
    assert_same(tournament, [*players, spectator])
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {MEMBER} FROM tournaments_participation AS seat"  # noqa: S608 - constants
            f" WHERE tournament_id = %s ORDER BY {ORDER}",
            [tournament.pk],
        )
        members = [bytes(member) for (member,) in cursor.fetchall()]
    assert members == sorted(members)
    assert [seat_of(member).gamer_id for member in members] == ends


_moves = st.lists(
    st.tuples(
        st.sampled_from(["score", "leave", "join", "refund", "rebuild"]),
        st.integers(0, 5),
        _points,
        _moments,
    ),
    max_size=15,
)


@pytest.mark.slow
@given(moves=_moves, sort=_sorts)
@trials(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_copy_follows_every_move(moves, sort):
    tournament = tournament_of(sort=sort)
    seats = {number: sit(tournament, f"g{number}", score=number) for number in range(3)}
    gamers = [Gamer(), *(seat.gamer for seat in seats.values())]
    ranking.build(uid=tournament.uid)

    for move, number, points, moment in moves:
        seat = seats.get(number)
        match move:
            case "score" if seat and points is not None:
                score(seat, points, reached=moment)
            case "leave" if seat:
                leave(seats.pop(number))
            case "refund" if seat:
                seats.pop(number)
                seat.left_at, seat.refund_posting_id = timezone.now(), UUID(int=next(_numbers))
                seat.save()  # remembers, and writes, all that it was
            case "join" if not seat:
                seats[number] = sit(tournament, f"g{number}", joined=moment)
            case "rebuild":
                ranking.forget(tournament.uid)
                ranking.build(uid=tournament.uid)

        assert_same(tournament, gamers, [(3, 1, False), (3, 0, True)])


def test_a_refund_of_an_earlier_seat_leaves_the_gamer_on_the_board():
    tournament = tournament_of()
    earlier = sit(tournament, "g", score=3)
    ranking.build(uid=tournament.uid)
    leave(earlier)
    sit(tournament, "g", score=5)
    assert (copy_of(tournament).total, copy_of(tournament).stakes) == (1, 2)

    earlier.refund_posting_id = UUID(int=next(_numbers))
    earlier.save(update_fields=["refund_posting_id"])

    shown = copy_of(tournament, gamer_pk=earlier.gamer_id)
    assert (shown.total, shown.stakes, shown.own_seat.standing_key) == (1, 1, -5)


# --- One moment ----------------------------------------------------------------------------------


def test_a_move_that_was_begun_early_and_committed_late_is_not_missed():
    tournament = tournament_of()
    early, late = sit(tournament, "early"), sit(tournament, "late", joined=1)
    ranking.build(uid=tournament.uid)
    began, may_commit = Event(), Event()

    def slow():
        with transaction.atomic():
            score(early, 5)
            began.set()
            may_commit.wait(10)

    def quick():
        began.wait(10)
        score(late, 7)
        names = [seat.gamer_id for seat in copy_of(tournament).seats]
        assert names == ["late", "early"]
        copy_of(tournament)
        may_commit.set()

    assert in_parallel([slow, quick]) == [None, None]

    shown = board(tournament, Gamer(), (100, 0, False))
    assert [(one.gamer_id, one.score) for one in shown.standings] == [("late", 7), ("early", 5)]


def test_what_is_not_committed_is_not_copied():
    tournament = tournament_of()
    seat = sit(tournament, "g", score=3)
    ranking.build(uid=tournament.uid)

    with transaction.atomic():
        score(seat, 9)
        inside = board(tournament, Gamer(), (100, 0, False))
        transaction.set_rollback(True)

    assert [one.score for one in inside.standings] == [9]
    assert [one.standing_key for one in copy_of(tournament).seats] == [-3]


def test_whoever_has_scored_finds_it_on_the_board_among_many_who_write_and_read():
    tournament = tournament_of()
    seats = [sit(tournament, f"g{number}") for number in range(8)]
    ranking.build(uid=tournament.uid)

    def play(seat):
        for points in range(1, 25):
            with transaction.atomic():
                score(seat, points)
            window = copy_of(tournament, gamer_pk=seat.gamer_id)
            assert window.own_seat.standing_key == -points
            keys = [one.standing_key for one in window.seats]
            assert keys == sorted(keys)
            assert len({one.gamer_pk for one in window.seats}) == window.total == 8

    assert in_parallel([partial(play, seat) for seat in seats]) == [None] * 8

    assert_same(tournament, [seat.gamer for seat in seats])


def test_a_copy_that_is_made_while_scores_come_in_misses_none():
    tournament = tournament_of()
    seats = [sit(tournament, f"g{number}") for number in range(4)]

    def play(seat):
        for points in range(1, 40):
            score(seat, points)

    def rebuild():
        for _ in range(10):
            ranking.forget(tournament.uid)
            ranking.build(uid=tournament.uid)

    assert in_parallel([*(partial(play, seat) for seat in seats), rebuild]) == [None] * 5

    assert_same(tournament, [seat.gamer for seat in seats])


def test_an_older_question_never_undoes_a_newer_one(valkey):
    tournament = tournament_of()
    seat = sit(tournament, "g", score=1)
    ranking.build(uid=tournament.uid)
    about = f"board:{{{tournament.uid}}}:about"
    build, asked, upto = valkey.hmget(about, "build", "count", "upto")
    score(seat, 2)
    assert copy_of(tournament).seats[0].standing_key == -2

    stale = sha256(b"a member that nobody has").digest()
    answer = ranking._valkey(configured.REDIS_URL).read(
        keys=ranking._keys(f"{{{tournament.uid}}}"),
        args=[build, asked, asked, upto, 60, "", 9, 0, 0, seat.gamer_id, seat.pk, 1, stale],
    )

    assert answer == [b"AGAIN"]
    assert copy_of(tournament).seats[0].standing_key == -2


# --- Missing -------------------------------------------------------------------------------------


def test_after_a_flush_postgresql_answers_until_the_copy_is_made_anew(valkey):
    tournament = tournament_of()
    seat = sit(tournament, "g", score=4)
    ranking.build(uid=tournament.uid)
    valkey.flushdb()

    meanwhile = board(tournament, seat.gamer, (100, 0, False))
    missing = copy_of(tournament)
    tasks.build_wanted_rankings()
    wanted = valkey.smembers("boards:wanted")

    assert meanwhile == truth(tournament, seat.gamer, (100, 0, False))
    assert missing is None
    assert wanted == set()
    assert_same(tournament, [seat.gamer])


def test_a_small_board_stays_with_postgresql(settings, valkey):
    settings.RANKED_FROM_SEATS = 2
    tournament = tournament_of()
    seat = sit(tournament, "g", score=4)

    board(tournament, seat.gamer, (100, 0, False))

    assert valkey.smembers("boards:wanted") == set()


@pytest.mark.parametrize("part", ["about", "order", "members", "stakes"])
def test_a_copy_of_which_a_part_is_gone_is_not_read(valkey, part):
    tournament = tournament_of()
    sit(tournament, "g", score=4)
    ranking.build(uid=tournament.uid)
    valkey.delete(f"board:{{{tournament.uid}}}:{part}")

    assert copy_of(tournament) is None

    assert valkey.keys("board:*") == [] or part == "about"


def test_a_copy_of_an_earlier_life_of_the_server_is_dropped(valkey):
    tournament = tournament_of()
    sit(tournament, "g", score=4)
    ranking.build(uid=tournament.uid)
    valkey.hset(f"board:{{{tournament.uid}}}:about", "server", "1.5")

    assert copy_of(tournament) is None

    assert valkey.keys("board:*") == []


def test_a_copy_that_is_far_behind_is_dropped(valkey, monkeypatch):
    tournament = tournament_of()
    ranking.build(uid=tournament.uid)
    sit(tournament, "g1")
    assert copy_of(tournament).total == 1
    monkeypatch.setattr(ranking, "_MOST_MOVES", 1)
    sit(tournament, "g2")
    sit(tournament, "g3")

    assert copy_of(tournament) is None


@pytest.mark.usefixtures("valkey_away")
def test_without_valkey_postgresql_answers():
    tournament = tournament_of()
    seat = sit(tournament, "g", score=4)

    shown = board(tournament, seat.gamer, (100, 0, False))

    assert shown == truth(tournament, seat.gamer, (100, 0, False))
    assert shown.own == leaderboard.Own(rank=1, score=4, prize=0)


def test_of_two_builders_one_is_shown(valkey):
    tournament = tournament_of()
    sit(tournament, "g", score=4)

    shown = in_parallel([partial(ranking.build, uid=tournament.uid)] * 2)

    assert sorted(shown) == [False, True]
    assert len(valkey.keys("board:*")) == 4


def test_a_scored_event_reaches_the_copy():
    tournament = TournamentFactory.create(now=timezone.now())
    gamer = player(tournament.game)
    sit(tournament, gamer.gamer_id)
    ranking.build(uid=tournament.uid)

    record_score(tournament, gamer, 12, at=timezone.now())

    assert [one.standing_key for one in copy_of(tournament).seats] == [-12]
