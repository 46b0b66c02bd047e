import uuid
from datetime import timedelta
from itertools import pairwise

import pytest

from accounts.tests.api import GameClient, error_body
from tournaments import cancelling, settling
from tournaments.api.serializers import (
    LeaderboardSerializer,
    OwnStandingSerializer,
    StandingSerializer,
)
from tournaments.tests.factories import TournamentFactory, player, record_score, seat

pytestmark = pytest.mark.django_db


def read(tournament, gamer, **query):
    client = GameClient(gamer.game).as_gamer(gamer)
    uid = getattr(tournament, "uid", tournament)
    return client.get(f"/leaderboards/_byTournament/{uid}", query)


def shown(response):
    return [(row["user_id"], row["rank"], row["score"]) for row in response.json()["leaderboard"]]


def crowd(tournament, scores):
    """A gamer a score, named g-01, g-02 …; None has not scored."""
    return [
        seat(tournament, gamer=player(tournament.game, gamer_id=f"g-{number:02}"), score=score)
        for number, score in enumerate(scores, start=1)
    ]


def test_the_board_is_that_of_the_contract(now):
    tournament = TournamentFactory.create(now=now)
    swift = player(tournament.game, gamer_id="g-481", username="Swift")
    seat(tournament, gamer=player(tournament.game, gamer_id="g-102"), score=7)
    seat(tournament, gamer=swift, score=24)

    response = read(tournament, swift)

    assert response.status_code == 200
    assert response.json() == {
        "leaderboard": [
            {"user_id": "g-481", "score": 24, "rank": 1, "username": "Swift"},
            {"user_id": "g-102", "score": 7, "rank": 2, "username": None},
        ],
        "price_pool": 17,
        "winners": [],
        "total": 2,
        "tournament_status": "STARTED",
        "as_of": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "me": {"rank": 1, "score": 24, "reward": 0},
    }


def test_the_schema_describes_the_board(now):
    tournament = TournamentFactory.create(now=now)
    gamer = seat(tournament, score=1).gamer

    body = read(tournament, gamer).json()

    assert list(body) == list(LeaderboardSerializer().fields)
    assert list(body["leaderboard"][0]) == list(StandingSerializer().fields)
    assert list(body["me"]) == list(OwnStandingSerializer().fields)


def test_an_empty_board(now):
    tournament = TournamentFactory.create(now=now)

    body = read(tournament, player(tournament.game)).json()

    assert body | {"as_of": None} == {
        "leaderboard": [],
        "price_pool": 0,
        "winners": [],
        "total": 0,
        "tournament_status": "STARTED",
        "as_of": None,
        "me": None,
    }


def test_any_gamer_of_the_game_may_read(now):
    tournament = TournamentFactory.create(now=now)
    crowd(tournament, [5])

    body = read(tournament, player(tournament.game)).json()

    assert (body["total"], body["me"]) == (1, None)


def test_ties_are_broken_by_who_reached_joined_and_is_named_first(now):
    tournament = TournamentFactory.create(now=now)
    start = tournament.starts_at
    for name, joined, reached in [
        ("z-reached-first", 9, 10),
        ("y-joined-first", 1, 20),
        ("b-named-first", 5, 20),
        ("c-named-second", 5, 20),
        ("Z-capitals-before-small", 5, 20),
    ]:
        seat(
            tournament,
            gamer=player(tournament.game, gamer_id=name),
            joined_at=start + timedelta(seconds=joined),
            score=50,
            reached_at=start + timedelta(seconds=reached),
        )

    names = [name for name, _, _ in shown(read(tournament, player(tournament.game)))]

    assert names == [
        "z-reached-first",
        "y-joined-first",
        "Z-capitals-before-small",
        "b-named-first",
        "c-named-second",
    ]


def test_gamers_without_a_score_come_after_every_score(now):
    tournament = TournamentFactory.create(now=now)
    crowd(tournament, [None, 0, 3, None])

    response = read(tournament, player(tournament.game))

    assert shown(response) == [("g-03", 1, 3), ("g-02", 2, 0), ("g-01", 3, 0), ("g-04", 4, 0)]


def test_own_rank_holds_for_every_place(now):
    tournament = TournamentFactory.create(now=now)
    seats = crowd(tournament, [7, None, 9, 7, 0, None])

    ranks = {one.tiebreak: read(tournament, one.gamer).json()["me"]["rank"] for one in seats}

    board = shown(read(tournament, seats[0].gamer))
    assert ranks == {name: rank for name, rank, _ in board}
    assert [rank for _, rank, _ in board] == [1, 2, 3, 4, 5, 6]
    assert all(one[2] >= other[2] for one, other in pairwise(board))


def test_leavers_are_not_on_the_board_but_their_stakes_are_in_the_pool(now):
    tournament = TournamentFactory.create(now=now)
    leaver, stayer = crowd(tournament, [50, 10])
    GameClient(tournament.game).as_gamer(leaver.gamer).post(f"/tournaments/{tournament.uid}/_leave")

    body = read(tournament, leaver.gamer).json()

    assert [row["user_id"] for row in body["leaderboard"]] == [stayer.tiebreak]
    assert (body["total"], body["price_pool"], body["me"]) == (1, 17, None)


def test_limit_and_offset_cut_a_page(now):
    tournament = TournamentFactory.create(now=now)
    seats = crowd(tournament, [9, 8, 7, 6, 5])

    body = read(tournament, seats[0].gamer, limit=2, offset=1, fresh=1).json()

    assert [(row["user_id"], row["rank"]) for row in body["leaderboard"]] == [
        ("g-02", 2),
        ("g-03", 3),
    ]
    assert (body["total"], body["me"]["rank"]) == (5, 1)


def test_an_offset_behind_the_end_shows_nothing_but_the_rest(now):
    tournament = TournamentFactory.create(now=now)
    seats = crowd(tournament, [9, 8])

    body = read(tournament, seats[1].gamer, offset=2).json()

    assert body["leaderboard"] == []
    assert (body["total"], body["price_pool"], body["me"]["rank"]) == (2, 17, 2)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "1.0"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"offset": "x"}, "offset"),
        ({"around": "you"}, "around"),
        ({"around": "me", "limit": "201"}, "limit"),
        ({"around": "me", "offset": "0"}, "offset"),
    ],
)
def test_a_wrong_query_is_refused(now, query, field):
    tournament = TournamentFactory.create(now=now)

    response = read(tournament, seat(tournament).gamer, **query)

    assert response.status_code == 400
    refused = error_body(response)
    assert refused["error"] == "BAD_REQUEST"
    assert list(refused["details"]["fields"]) == [field]


@pytest.mark.parametrize("which", ["unknown", "malformed", "hidden", "of another game"])
def test_an_unknown_tournament_is_refused(now, which):
    gamer = player(TournamentFactory.create(now=now).game)
    tournament = {
        "unknown": lambda: uuid.uuid4(),
        "malformed": lambda: "no-uuid",
        "hidden": lambda: TournamentFactory.create(now=now, hidden=True, game=gamer.game),
        "of another game": lambda: TournamentFactory.create(now=now),
    }[which]()

    response = read(tournament, gamer)

    assert response.status_code == 404
    assert error_body(response) == {"error": "TOURNAMENT_NOT_FOUND", "details": {}}


def test_winners_after_settlement(now):
    tournament = TournamentFactory.create(now=now, over=True)
    seats = crowd(tournament, [50, 40, 30, 0, None])
    settling.settle(uid=tournament.uid, now=now)

    body = read(tournament, seats[1].gamer, limit=1, offset=1).json()

    assert body["tournament_status"] == "COMPLETED"
    assert body["price_pool"] == 42
    assert body["winners"] == [{"user_id": "g-02", "reward": 10, "rank": 2, "score": 40}]
    assert body["me"] == {"rank": 2, "score": 40, "reward": 10}
    winners = read(tournament, seats[1].gamer, limit=1).json()["winners"]
    assert [(winner["rank"], winner["reward"]) for winner in winners] == [(1, 32), (2, 10)]


def test_a_cancelled_board_has_no_pool(now):
    tournament = TournamentFactory.create(now=now)
    seats = crowd(tournament, [5, 3])
    cancelling.cancel(uid=tournament.uid, now=now)

    body = read(tournament, seats[0].gamer).json()

    assert body["tournament_status"] == "CANCELLED"
    assert (body["price_pool"], body["winners"], body["total"]) == (0, [], 2)
    assert body["me"] == {"rank": 1, "score": 5, "reward": 0}


# --- Around the caller ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "limit", "expected"),
    [
        (5, 3, [4, 5, 6]),
        (5, 4, [3, 4, 5, 6]),
        (1, 3, [1, 2, 3]),
        (2, 5, [1, 2, 3, 4, 5]),
        (9, 3, [7, 8, 9]),
        (8, 5, [5, 6, 7, 8, 9]),
        (5, 21, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (5, None, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (4, 1, [4]),
    ],
)
def test_around_me_stays_full_at_either_end(now, place, limit, expected):
    tournament = TournamentFactory.create(now=now)
    seats = crowd(tournament, [90, 80, 70, 60, 50, 40, 30, 20, None])
    query = {"around": "me"} if limit is None else {"around": "me", "limit": limit}

    body = read(tournament, seats[place - 1].gamer, **query).json()

    assert [row["rank"] for row in body["leaderboard"]] == expected
    assert body["me"]["rank"] == place


def test_around_me_without_a_seat_is_refused(now):
    tournament = TournamentFactory.create(now=now)
    crowd(tournament, [9, 8])

    response = read(tournament, player(tournament.game), around="me")

    assert response.status_code == 404
    assert error_body(response) == {"error": "TOURNAMENT_PARTICIPATION_NOT_FOUND", "details": {}}


# --- Cost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("entrants", [1, 3])
def test_the_board_makes_few_queries(now, django_assert_num_queries, entrants):
    tournament = TournamentFactory.create(now=now)
    seats = crowd(tournament, range(entrants))
    client = GameClient(tournament.game).as_gamer(seats[0].gamer)

    # Secret, token, the tournament, the board.
    with django_assert_num_queries(4):
        client.get(f"/leaderboards/_byTournament/{tournament.uid}")


def test_a_higher_score_moves_up(now):
    tournament = TournamentFactory.create(now=now)
    first, second = crowd(tournament, [9, 8])

    record_score(tournament, second.gamer, 10, at=now)

    assert shown(read(tournament, first.gamer)) == [("g-02", 1, 10), ("g-01", 2, 9)]
