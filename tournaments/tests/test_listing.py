import uuid
from datetime import timedelta

import pytest

from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory
from tournaments import cancelling, settling
from tournaments.tests.factories import TournamentFactory, player, seat

pytestmark = pytest.mark.django_db


def get(gamer, path, **query):
    return GameClient(gamer.game).as_gamer(gamer).get(path, query)


def uids(response):
    return [shown["tournament_uid"] for shown in response.json()]


def iso(moment):
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def test_a_tournament_has_every_key_of_the_contract(now):
    tournament = TournamentFactory.create(now=now, title="Daily Carrom")
    gamer = seat(tournament, score=5).gamer
    seat(tournament)

    response = get(gamer, f"/tournaments/{tournament.uid}")

    assert response.status_code == 200
    assert response.json() == {
        "tournament_uid": str(tournament.uid),
        "game_uid": tournament.game.game_uid,
        "title": "Daily Carrom",
        "description": None,
        "theme": None,
        "mode": "Quick",
        "entry_type": "Individual",
        "tournament_status": "STARTED",
        "buy_in_price": 10,
        "price_pool": 17,
        "tournament_size": None,
        "participants_count": 2,
        "min_registration_start_limit": 2,
        "total_players_rewarded": 1,
        "lock_type": "Duration",
        "schedules_at_date": f"{tournament.schedules_at:%Y-%m-%d}",
        "schedules_at_timestamp": iso(tournament.schedules_at),
        "moves_to_lobby_at_date": f"{tournament.lobby_at:%Y-%m-%d}",
        "moves_to_lobby_at_timestamp": iso(tournament.lobby_at),
        "starts_at_timestamp": iso(tournament.starts_at),
        "locks_at_date": f"{tournament.locks_at:%Y-%m-%d}",
        "locks_at_timestamp": iso(tournament.locks_at),
        "ends_at_date": f"{tournament.ends_at:%Y-%m-%d}",
        "ends_at_timestamp": iso(tournament.ends_at),
        "created_at": iso(tournament.created_at),
        "updated_at": iso(tournament.updated_at),
        "joined": True,
    }


def test_active_lists_what_is_announced_open_or_running(now):
    game = GameFactory.create()
    listed = {
        name: TournamentFactory.create(now=now, game=game, **({name: True} if name else {}))
        for name in ("locked", "", "lobby", "scheduled")
    }
    for trait in ("hidden", "over"):
        TournamentFactory.create(now=now, game=game, **{trait: True})
    TournamentFactory.create(now=now, game=game, published=False)
    TournamentFactory.create(now=now)
    cancelled = TournamentFactory.create(now=now, game=game)
    cancelling.cancel(uid=cancelled.uid, now=now)

    response = get(player(game), "/tournaments/_active")

    assert response.status_code == 200
    assert uids(response) == [str(tournament.uid) for tournament in listed.values()]
    statuses = [shown["tournament_status"] for shown in response.json()]
    assert statuses == ["LOCKED", "STARTED", "LOBBY", "SCHEDULED"]


def test_active_is_ordered_by_end_then_uid(now):
    game = GameFactory.create()
    same_end = [TournamentFactory.create(now=now, game=game) for _ in range(3)]

    response = get(player(game), "/tournaments/_active")

    assert uids(response) == sorted(str(tournament.uid) for tournament in same_end)


def test_active_by_status(now):
    game = GameFactory.create()
    TournamentFactory.create(now=now, game=game)
    in_lobby = TournamentFactory.create(now=now, game=game, lobby=True)
    gamer = player(game)

    assert uids(get(gamer, "/tournaments/_active", status="LOBBY")) == [str(in_lobby.uid)]
    assert uids(get(gamer, "/tournaments/_active", status="COMPLETED")) == []


@pytest.mark.parametrize("status", ["lobby", "OPEN", "DONE"])
def test_active_by_an_unknown_status_is_refused(now, status):
    response = get(player(GameFactory.create()), "/tournaments/_active", status=status)

    assert response.status_code == 400
    refused = error_body(response)
    assert refused["error"] == "BAD_REQUEST"
    assert list(refused["details"]["fields"]) == ["status"]


def test_active_is_empty_where_nothing_goes_on(now):
    response = get(player(GameFactory.create()), "/tournaments/_active")

    assert (response.status_code, response.json()) == (200, [])


@pytest.mark.parametrize("which", ["unknown", "malformed", "hidden", "draft", "of another game"])
@pytest.mark.parametrize("read", ["one", "board"])
def test_an_unknown_tournament_is_refused(now, which, read):
    gamer = player(GameFactory.create())
    uid = {
        "unknown": lambda: uuid.uuid4(),
        "malformed": lambda: "no-uuid",
        "hidden": lambda: TournamentFactory.create(now=now, hidden=True, game=gamer.game).uid,
        "draft": lambda: TournamentFactory.create(now=now, published=False, game=gamer.game).uid,
        "of another game": lambda: TournamentFactory.create(now=now).uid,
    }[which]()
    path = "/tournaments" if read == "one" else "/leaderboards/_byTournament"

    response = get(gamer, f"{path}/{uid}")

    assert response.status_code == 404
    assert error_body(response) == {"error": "TOURNAMENT_NOT_FOUND", "details": {}}


def test_a_settled_tournament_shows_its_final_figures(now):
    tournament = TournamentFactory.create(now=now, over=True)
    gamer = seat(tournament, score=5).gamer
    for score in (4, 3, 0, None):
        seat(tournament, score=score)
    settling.settle(uid=tournament.uid, now=now)

    shown = get(gamer, f"/tournaments/{tournament.uid}").json()

    assert shown["tournament_status"] == "COMPLETED"
    assert (shown["price_pool"], shown["participants_count"]) == (42, 5)
    assert shown["total_players_rewarded"] == 2
    assert shown["updated_at"] == iso(now)


def test_a_cancelled_tournament_shows_no_pool_at_once(now):
    tournament = TournamentFactory.create(now=now)
    gamer = seat(tournament, score=5).gamer
    cancelling.cancel(uid=tournament.uid, now=now)

    shown = get(gamer, f"/tournaments/{tournament.uid}").json()

    assert shown["tournament_status"] == "CANCELLED"
    assert (shown["price_pool"], shown["total_players_rewarded"]) == (0, 0)
    assert (shown["participants_count"], shown["joined"]) == (1, True)


def test_session_lists_seats_newest_join_first(now):
    game = GameFactory.create()
    gamer = player(game)
    over = TournamentFactory.create(now=now, game=game, over=True)
    live = TournamentFactory.create(now=now, game=game)
    left = TournamentFactory.create(now=now, game=game)
    seat(live, gamer=gamer, joined_at=now - timedelta(minutes=1))
    seat(over, gamer=gamer)
    seat(left, gamer=gamer)
    GameClient(game).as_gamer(gamer).post(f"/tournaments/{left.uid}/_leave")

    response = get(gamer, "/tournaments/_session")

    assert response.status_code == 200
    assert response.json() == [str(live.uid), str(over.uid)]


def test_session_is_empty_before_the_first_join(now):
    response = get(player(GameFactory.create()), "/tournaments/_session")

    assert (response.status_code, response.json()) == (200, [])


@pytest.mark.parametrize("tournaments", [1, 3])
@pytest.mark.parametrize(
    ("path", "queries"), [("/tournaments/_active", 3), ("/tournaments/_session", 3)]
)
def test_lists_make_few_queries(now, django_assert_num_queries, tournaments, path, queries):
    game = GameFactory.create()
    gamer = player(game)
    for _ in range(tournaments):
        seat(TournamentFactory.create(now=now, game=game), gamer=gamer)
    client = GameClient(game).as_gamer(gamer)

    with django_assert_num_queries(queries):
        client.get(path)
