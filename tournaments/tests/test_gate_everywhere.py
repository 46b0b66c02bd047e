"""What holds at every endpoint alike: revocation, the headers of an answer, and Valkey away."""

from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from accounts import clients, gamers, sessions
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory, GamerFactory, SessionFactory, secret_of, token_for
from tournaments.tests.factories import player

pytestmark = pytest.mark.django_db

UID = "7f9c2a34-1c58-4f0c-b1a1-6f0a5e0b9d11"
ADDRESS = "0x" + "0" * 40
BATCH, SESSION = ("POST", "/eventing/_batch"), ("POST", "/session")
# Refused while nobody counts: guesses at one-time passwords, and what moves money.
CLOSED = {
    ("POST", "/verification/otp/_request"),
    ("POST", "/verification/otp/_verify"),
    ("POST", "/rewards/_claim"),
    ("POST", "/wallet/_withdraw"),
    ("POST", f"/tournaments/{UID}/_join"),
}
OPEN = {
    SESSION,
    BATCH,
    ("POST", "/eventing"),
    ("GET", "/tournaments/_active"),
    ("GET", "/tournaments/_session"),
    ("GET", f"/tournaments/{UID}"),
    ("GET", f"/tournaments/{UID}/_result"),
    ("GET", f"/leaderboards/_byTournament/{UID}"),
    ("GET", f"/leaderboards/_byTournament/{UID}/_stream"),
    ("GET", "/wallet/lazyChain/balance"),
    ("GET", f"/wallet/lazyChain/transactions/{ADDRESS}"),
    ("GET", "/rewards"),
    ("GET", "/statistics/_historic"),
    ("POST", f"/tournaments/{UID}/_leave"),
}
ENDPOINTS = sorted(CLOSED | OPEN)
each_endpoint = pytest.mark.parametrize(("method", "path"), ENDPOINTS)
RATE_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


def call(caller: GameClient, method: str, path: str, **headers: Any) -> Any:
    if method == "GET":
        return caller.get(path, **headers)
    body = {"gamer_id": "g"} if path == "/session" else {}
    return caller.post(path, body, **headers)


@pytest.fixture
def caller() -> GameClient:
    gamer = player(GameFactory.create(), gamer_id="g")
    return GameClient(gamer.game).as_gamer(gamer)


def test_table_names_every_endpoint():
    root: Any = get_resolver()
    served = {
        (
            method.upper(),
            f"/{endpoint.pattern}".replace("<str:uid>", UID).replace("<str:address>", ADDRESS),
        )
        for prefix in root.url_patterns
        if str(prefix.pattern) == "api/v1/"
        for endpoint in prefix.url_patterns
        for method in endpoint.callback.actions
        if method != "head"
    }

    assert served == set(ENDPOINTS)


@each_endpoint
def test_revoked_session_opens_nothing_at_the_next_request(caller, method, path):
    gamer = caller.game.gamers.get()
    before = call(caller, method, path)
    sessions.revoke(gamer=gamer, now=timezone.now())

    answer = call(caller, method, path)

    assert before.status_code not in (401, 403)
    if (method, path) in (SESSION, BATCH):
        assert answer.status_code == before.status_code  # they need no token
    else:
        assert answer.status_code == 401
        assert error_body(answer)["details"] == {"reason": "TOKEN_INVALID"}


@each_endpoint
def test_disabled_client_is_refused_at_the_next_request(caller, method, path):
    before = call(caller, method, path)
    clients.disable_client(game=caller.game)

    answer = call(caller, method, path)

    assert before.status_code != 401
    assert answer.status_code == 401
    assert error_body(answer)["details"] == {"reason": "CLIENT_CREDENTIALS"}


@each_endpoint
def test_blocked_gamer_is_refused_at_the_next_request(caller, method, path):
    before = call(caller, method, path)
    gamers.block(gamer=caller.game.gamers.get())

    answer = call(caller, method, path)

    assert before.status_code != 403
    if (method, path) == BATCH:
        assert answer.status_code == before.status_code  # it is about no one gamer
    else:
        assert answer.status_code == 403
        assert error_body(answer) == {"error": "GAMER_BLOCKED", "details": {"reason": "ACCOUNT"}}


def test_session_of_a_blocked_gamer_is_refused_with_a_key_too():
    gamer = GamerFactory.create(blocked=True)

    answer = GameClient(gamer.game).post("/session", {"gamer_id": gamer.gamer_id}, key="k")

    assert error_body(answer) == {"error": "GAMER_BLOCKED", "details": {"reason": "ACCOUNT"}}


@each_endpoint
def test_device_calls_what_needs_a_token_and_nothing_else(method, path):
    gamer = player(GameFactory.create(takes_device_calls=True), gamer_id="g")
    device = GameClient(gamer.game).as_gamer(gamer)

    answer = call(device, method, path, **{"x-clientSecret": ""})

    assert (answer.status_code == 401) == ((method, path) in (SESSION, BATCH))


@each_endpoint
def test_wrong_secret_is_refused_where_a_device_may_call(method, path):
    gamer = player(GameFactory.create(takes_device_calls=True), gamer_id="g")
    device = GameClient(gamer.game).as_gamer(gamer)

    answer = call(device, method, path, **{"x-clientSecret": "wrong"})

    assert answer.status_code == 401


@each_endpoint
def test_without_valkey_reads_pass_and_money_does_not(caller, valkey_away, method, path):
    answer = call(caller, method, path)

    if (method, path) in CLOSED:
        assert answer.status_code == 503
        assert error_body(answer) == {"error": "SERVICE_UNAVAILABLE", "details": {}}
        assert answer["Retry-After"] == "1"
    else:
        assert answer.status_code < 500


@each_endpoint
def test_limit_is_on_every_answer_whatever_it_is(caller, method, path):
    served = call(caller, method, path)
    stranger = Client().generic(method, f"/api/v1{path}")
    other_verb = Client().generic("PUT", f"/api/v1{path}")
    large = Client().generic(method, f"/api/v1{path}", b" " * (2**20 + 1))
    nowhere = Client().generic(method, f"/api/v1{path}/nothing")

    assert [answer.status_code for answer in (stranger, other_verb, large, nowhere)] == [
        401,
        405,
        413,
        404,
    ]
    assert served["RateLimit-Limit"] == "1000000"
    for answer in (served, stranger, other_verb, large, nowhere):
        assert all(answer[name].isdecimal() for name in RATE_HEADERS)
        assert answer["Cache-Control"] == "no-store"
        assert answer["Referrer-Policy"] == "no-referrer"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in answer
        assert "Server" not in answer


def test_limit_is_on_the_answer_of_a_bug_too(caller, monkeypatch):
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tournaments.listing.joined_uids", broken)

    answer = caller.get("/tournaments/_session")

    assert answer.status_code == 500
    assert answer["RateLimit-Limit"] == "1000000"


def test_limit_of_a_client_binds_at_the_next_request(caller):
    before = caller.get("/tournaments/_session")
    caller.game.rate_limit = 1
    caller.game.save()

    answers = [caller.get("/tournaments/_session") for _ in range(10)]

    assert (before.status_code, before["RateLimit-Limit"]) == (200, "1000000")
    assert {answer["RateLimit-Limit"] for answer in answers} == {"1"}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer["Retry-After"]) >= 1 for answer in refused)


def test_tokens_of_two_games_do_not_open_each_other():
    mine, other = player(GameFactory.create()), player(GameFactory.create())
    token = token_for(SessionFactory.create(gamer=other))

    answer = Client().get(
        "/api/v1/rewards",
        {"token": token},
        headers={"x-clientID": mine.game.client_id, "x-clientSecret": secret_of(mine.game)},
    )

    assert error_body(answer)["details"] == {"reason": "TOKEN_CLIENT_MISMATCH"}
