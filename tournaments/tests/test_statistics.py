from datetime import timedelta

import pytest

from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory
from tournaments import cancelling, settling
from tournaments.tests.factories import TournamentFactory, player, seat

pytestmark = pytest.mark.django_db


def historic(gamer, **query):
    return GameClient(gamer.game).as_gamer(gamer).get("/statistics/_historic", query)


def finished(gamer, now, *, hours_ago=0, score=9, rival=5):
    """A tournament that the gamer has played against one rival, settled."""
    then = now - timedelta(hours=hours_ago)
    tournament = TournamentFactory.create(now=then, over=True, game=gamer.game)
    seat(tournament, gamer=gamer, score=score)
    seat(tournament, score=rival)
    return settling.settle(uid=tournament.uid, now=then)


def iso(moment):
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def test_won_lost_and_refunded_newest_first(now):
    gamer = player(GameFactory.create())
    won = finished(gamer, now, hours_ago=3)
    lost = finished(gamer, now, hours_ago=2, score=1)
    cancelled = TournamentFactory.create(now=now, game=gamer.game)
    seat(cancelled, gamer=gamer)
    cancelling.cancel(uid=cancelled.uid, now=now)

    response = historic(gamer)

    shared = {"type": "Tournament", "mode": "Quick", "buyInStake": 10}
    assert response.status_code == 200
    assert response.json() == [
        {
            **shared,
            "typeValue": 3,
            "result": "Refunded",
            "occurredAtText": iso(now),
            "amountWon": 0,
            "tournament_uid": str(cancelled.uid),
            "rank": None,
        },
        {
            **shared,
            "typeValue": 2,
            "result": "You Lost",
            "occurredAtText": iso(lost.ends_at),
            "amountWon": 0,
            "tournament_uid": str(lost.uid),
            "rank": 2,
        },
        {
            **shared,
            "typeValue": 1,
            "result": "Won",
            "occurredAtText": iso(won.ends_at),
            "amountWon": 17,
            "tournament_uid": str(won.uid),
            "rank": 1,
        },
    ]


def test_running_left_and_other_gamers_tournaments_are_not_listed(now):
    gamer = player(GameFactory.create())
    seat(TournamentFactory.create(now=now, game=gamer.game), gamer=gamer)
    left = TournamentFactory.create(now=now, game=gamer.game)
    seat(left, gamer=gamer, score=5)
    GameClient(gamer.game).as_gamer(gamer).post(f"/tournaments/{left.uid}/_leave")
    cancelling.cancel(uid=left.uid, now=now)
    finished(player(gamer.game), now)

    response = historic(gamer)

    assert (response.status_code, response.json()) == (200, [])


def test_pages_keep_the_numbers(now):
    gamer = player(GameFactory.create())
    for hours in (3, 2, 1):
        finished(gamer, now, hours_ago=hours)

    page = historic(gamer, limit=1, offset=1).json()

    assert [played["typeValue"] for played in page] == [2]


@pytest.mark.parametrize(
    ("query", "field"),
    [({"limit": 0}, "limit"), ({"limit": 201}, "limit"), ({"offset": -1}, "offset")],
)
def test_a_wrong_query_is_refused(now, query, field):
    response = historic(player(GameFactory.create()), **query)

    assert response.status_code == 400
    refused = error_body(response)
    assert refused["error"] == "BAD_REQUEST"
    assert list(refused["details"]["fields"]) == [field]


@pytest.mark.parametrize("tournaments", [1, 3])
def test_historic_makes_few_queries(now, django_assert_num_queries, tournaments):
    gamer = player(GameFactory.create())
    for hours in range(tournaments):
        finished(gamer, now, hours_ago=hours + 1)
    client = GameClient(gamer.game).as_gamer(gamer)

    with django_assert_num_queries(3):
        client.get("/statistics/_historic")
