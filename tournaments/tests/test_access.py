"""Who may call what: the same for every endpoint of play."""

import pytest
from django.test import Client

from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory, GamerFactory
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.test_eventing import event
from tournaments.tests.world import world

pytestmark = pytest.mark.django_db

UID = "7f9c2a34-1c58-4f0c-b1a1-6f0a5e0b9d11"
ENDPOINTS = [
    ("POST", "/eventing"),
    ("GET", "/tournaments/_active"),
    ("GET", "/tournaments/_session"),
    ("GET", f"/tournaments/{UID}"),
    ("POST", f"/tournaments/{UID}/_join"),
    ("POST", f"/tournaments/{UID}/_leave"),
    ("GET", f"/leaderboards/_byTournament/{UID}"),
    ("GET", f"/leaderboards/_byTournament/{UID}/_stream"),
    ("GET", "/statistics/_historic"),
    ("GET", "/rewards"),
    ("POST", "/rewards/_claim"),
]

each_endpoint = pytest.mark.parametrize(("method", "path"), ENDPOINTS)


def call(client, method, path):
    return client.get(path) if method == "GET" else client.post(path, {})


def refused(response, reason):
    body = error_body(response)
    return response.status_code, body["error"], body["details"].get("reason") == reason


@each_endpoint
def test_without_client_headers_nobody_is_served(method, path):
    response = Client().generic(method, f"/api/v1{path}", b"{}", content_type="application/json")

    assert refused(response, "CLIENT_CREDENTIALS") == (401, "UN_AUTHORIZED", True)


@each_endpoint
def test_without_a_token_nobody_is_served(method, path):
    client = GameClient(GameFactory.create())

    response = call(client, method, path)

    assert refused(response, "TOKEN_MISSING") == (401, "UN_AUTHORIZED", True)


@each_endpoint
def test_a_token_of_another_game_is_refused(method, path):
    stranger = GameClient(GameFactory.create()).as_gamer(GamerFactory.create())

    response = call(stranger, method, path)

    assert refused(response, "TOKEN_CLIENT_MISMATCH") == (401, "UN_AUTHORIZED", True)


@each_endpoint
def test_a_blocked_gamer_is_refused(method, path):
    gamer = GamerFactory.create(blocked=True)

    response = call(GameClient(gamer.game).as_gamer(gamer), method, path)

    assert refused(response, "ACCOUNT") == (403, "GAMER_BLOCKED", True)


@each_endpoint
def test_the_other_verb_is_refused(method, path):
    gamer = player(GameFactory.create())
    other = "POST" if method == "GET" else "GET"

    response = call(GameClient(gamer.game).as_gamer(gamer), other, path)

    assert response.status_code == 405
    assert error_body(response) == {"error": "METHOD_NOT_ALLOWED", "details": {}}


def test_events_of_one_gamer_are_limited(now):
    tournament = TournamentFactory.create(now=now, game=GameFactory.create(gamer_event_rate=1))
    gamer = seat(tournament).gamer
    client = GameClient(gamer.game).as_gamer(gamer)
    first, second = (
        event(gamer, {"score": {"value": value}}, at=now, tournament=tournament) for value in (1, 2)
    )
    client.post("/eventing", first)
    before = world()

    response = client.post("/eventing", second)

    assert response.status_code == 429
    assert error_body(response) == {"error": "RATE_LIMITED", "details": {}}
    assert response["Retry-After"] == "1"
    assert world() == before
