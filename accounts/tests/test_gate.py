"""Who may come in, in which order it is found out, and what a key does (API contract, section 0).

The endpoints here are the smallest that a viewset can offer, so that only the gate is tested.
"""

from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django.urls import path
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import sessions
from accounts.api.views import GamerViewSet, GameViewSet
from accounts.models import Game, Gamer, Session
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import (
    GameFactory,
    GamerFactory,
    SessionFactory,
    secret_of,
    token_for,
)
from kgen.common.api.fields import QueryIntegerField, StrictIntegerField
from kgen.common.errors import Conflict, Unavailable
from kgen.common.models import KeptAnswer
from kgen.wsgi import PlainRequest, application

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class Refused(Conflict):
    code = "REFUSED"
    message = "Refused."


class NotSent(Unavailable):
    code = "NOT_SENT"
    message = "Not sent."


class BirthFields(serializers.Serializer[Any]):
    age = StrictIntegerField(max_value=100)


class PageFields(serializers.Serializer[Any]):
    limit = QueryIntegerField(min_value=1, max_value=10, default=5)


class Gamers(GamerViewSet):
    """Its effect is the level of the caller's gamer, raised by one."""

    bodiless_actions = frozenset({"poke"})
    counted_actions = frozenset({"poke"})
    event_actions = frozenset({"event"})

    def me(self, request: Request) -> Response:
        return Response([self.caller.game.name, self.caller.gamer.gamer_id, self.query(PageFields)])

    def born(self, request: Request) -> Response:
        age = self.parse(BirthFields)["age"]
        self._raise_level()
        if age == 99:
            with transaction.atomic():
                self._raise_level()
                raise Refused(details={"age": 99})
        if age == 98:
            raise ZeroDivisionError
        if age == 97:
            self.after_commit(self._fail)
        return Response({"level": self._level()}, status=201)

    def poke(self, request: Request) -> Response:
        self._raise_level()
        return Response({"level": self._level()})

    def event(self, request: Request) -> Response:
        return Response(True)

    def _raise_level(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE accounts_gamer SET level = coalesce(level, 0) + 1 WHERE id = %s",
                [self.caller.gamer.pk],
            )

    def _level(self) -> int | None:
        return Gamer.objects.get(pk=self.caller.gamer.pk).level

    def _fail(self) -> None:
        raise NotSent


class Games(GameViewSet):
    def mine(self, request: Request) -> Response:
        return Response(self.game.name)


urlpatterns = [
    path("api/v1/me", Gamers.as_view({"get": "me", "post": "born"})),
    path("api/v1/poke", Gamers.as_view({"post": "poke"})),
    path("api/v1/event", Gamers.as_view({"post": "event"})),
    path("api/v1/game", Games.as_view({"get": "mine"})),
]


@pytest.fixture
def gamer() -> Gamer:
    return GamerFactory(game__name="Carrom", gamer_id="g")


@pytest.fixture
def caller(gamer: Gamer) -> GameClient:
    return GameClient(gamer.game).as_gamer(gamer)


def as_served(caller: GameClient, body: bytes, **environ: Any) -> Any:
    """POST to /me through the request that the server makes; Django's test client has its own."""
    request = RequestFactory().post(
        "/api/v1/me",
        body,
        content_type="application/json",
        query_params={"token": caller.token},
        headers={
            "x-clientID": caller.game.client_id,
            "x-clientSecret": secret_of(caller.game),
        },
    )
    return application.get_response(PlainRequest({**request.environ, **environ}))


def level_of(gamer: Gamer) -> int | None:
    return Gamer.objects.get(pk=gamer.pk).level


# --- Client and token -------------------------------------------------------------------------


def test_gamer_is_known_by_client_headers_and_token(caller):
    answer = caller.get("/me")

    assert answer.status_code == 200
    assert answer.json() == ["Carrom", "g", {"limit": 5}]
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "no-store"


def test_game_is_known_by_client_headers_alone(gamer):
    assert GameClient(gamer.game).get("/game").json() == "Carrom"


def test_other_spellings_of_the_headers_are_taken(gamer):
    token = token_for(SessionFactory(gamer=gamer))
    headers = {
        "x-client-id": gamer.game.client_id,
        "x-client-secret": secret_of(gamer.game),
        "user-jwt-token": token,
    }

    assert Client().get("/api/v1/me", headers=headers).status_code == 200


def test_token_of_the_query_wins_over_the_header(gamer, caller):
    good = token_for(SessionFactory(gamer=gamer))

    assert caller.get("/me", **{"user-jwt-token": "garbled"}).status_code == 200
    refused = caller.with_token("garbled").get("/me", **{"user-jwt-token": good})
    assert error_body(refused)["details"] == {"reason": "TOKEN_INVALID"}


def test_two_tokens_in_one_query_are_refused(caller):
    answer = caller.get("/me", {"token": [caller.token, caller.token]})

    assert answer.status_code == 400
    assert error_body(answer) == {
        "error": "BAD_REQUEST",
        "details": {"fields": {"token": "Give one token."}},
    }


def test_two_secrets_serve_at_a_time(gamer, caller):
    other = GameFactory()
    gamer.game.secrets.get().__class__.objects.filter(game=other).update(game=gamer.game)

    headers = {"x-clientSecret": secret_of(other)}
    assert caller.get("/me", **headers).status_code == 200
    assert caller.get("/me").status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        "garbled",
        "a" * 48,
        "\x00",
        "ü" * 48,
        sessions.new_token(),
        sessions.new_token()[:-1] + "=",
        sessions.new_token() + "\n",
    ],
    # Parallel runs must agree on the names, and three of the tokens are new ones each time.
    ids=["short", "checksum", "nul", "alphabet", "unknown", "padded", "line"],
)
def test_unknown_token_is_invalid(caller, token):
    answer = caller.with_token(token).get("/me")

    assert answer.status_code == 401
    assert error_body(answer) == {
        "error": "UN_AUTHORIZED",
        "details": {"reason": "TOKEN_INVALID"},
    }


def test_garbled_token_is_not_looked_up(caller, django_assert_num_queries):
    garbled = caller.with_token(caller.token[1:] + caller.token[0])

    with django_assert_num_queries(1):
        assert garbled.get("/me").status_code == 401


def test_other_reasons_of_a_refused_token(gamer):
    client = GameClient(gamer.game)
    running, elsewhere = SessionFactory(gamer=gamer), SessionFactory()
    tokens = {
        None: "TOKEN_MISSING",
        token_for(running, expired=True): "TOKEN_EXPIRED",
        token_for(SessionFactory(gamer=gamer, revoked=True)): "TOKEN_INVALID",
        token_for(elsewhere): "TOKEN_CLIENT_MISMATCH",
    }

    for token, reason in tokens.items():
        answer = GameClient(gamer.game, token=token).get("/me")
        assert answer.status_code == 401
        assert error_body(answer)["details"] == {"reason": reason}
    assert error_body(client.get("/me", {"token": ""}))["details"] == {"reason": "TOKEN_MISSING"}


def test_token_lives_a_day(gamer):
    token = token_for(SessionFactory(gamer=gamer))
    caller = GameClient(gamer.game, token=token)
    now = timezone.now()

    with time_machine.travel(now + timedelta(hours=23, minutes=59), tick=False):
        assert caller.get("/me").status_code == 200
    with time_machine.travel(now + timedelta(days=1, minutes=1), tick=False):
        assert error_body(caller.get("/me"))["details"] == {"reason": "TOKEN_EXPIRED"}


def test_expired_tokens_are_forgotten_after_a_week(gamer):
    session = SessionFactory(gamer=gamer)
    caller = GameClient(gamer.game, token=token_for(session, expired=True))

    assert sessions.forget_expired_tokens(now=timezone.now() + timedelta(days=6)) == 0
    assert sessions.forget_expired_tokens(now=timezone.now() + timedelta(days=8)) == 1

    assert error_body(caller.get("/me"))["details"] == {"reason": "TOKEN_INVALID"}
    assert Session.objects.get() == session


# --- Calls from a device, and from where a secret is good --------------------------------------


def test_device_calls_with_a_token_alone_where_its_game_allows_it(gamer, caller):
    device = {"x-clientSecret": ""}
    before = caller.get("/me", **device)
    Game.objects.update(takes_device_calls=True)

    assert error_body(before)["details"] == {"reason": "CLIENT_CREDENTIALS"}
    assert caller.get("/me", **device).status_code == 200
    assert caller.post("/poke", **device).status_code == 200
    for wrong, reason in [
        ({"x-clientSecret": "wrong"}, "CLIENT_CREDENTIALS"),
        ({"x-clientSecret": "", "x-client-secret": "wrong"}, "CLIENT_CREDENTIALS"),
        ({"x-clientSecret": "", "x-clientID": ""}, "CLIENT_CREDENTIALS"),
        ({"x-clientSecret": "", "x-clientID": "\x00"}, "CLIENT_CREDENTIALS"),
        ({"x-clientSecret": "", "x-clientID": "unknown"}, "CLIENT_CREDENTIALS"),
    ]:
        answer = caller.get("/me", **wrong)
        assert (answer.status_code, error_body(answer)["details"]) == (401, {"reason": reason})


def test_device_without_a_good_token_comes_nowhere(gamer, caller):
    Game.objects.update(takes_device_calls=True)
    device = {"x-clientSecret": ""}
    elsewhere = token_for(SessionFactory(gamer__game__takes_device_calls=True))

    for token, reason in [
        ("", "TOKEN_MISSING"),
        ("garbled", "TOKEN_INVALID"),
        (elsewhere, "TOKEN_CLIENT_MISMATCH"),
        (token_for(SessionFactory(gamer=gamer), expired=True), "TOKEN_EXPIRED"),
    ]:
        answer = caller.with_token(token).get("/me", **device)
        assert (answer.status_code, error_body(answer)["details"]) == (401, {"reason": reason})
    assert caller.get("/game", **device).status_code == 401
    Game.objects.update(is_active=False)
    assert error_body(caller.get("/me", **device))["details"] == {"reason": "CLIENT_CREDENTIALS"}


def test_device_takes_two_queries_too(caller, django_assert_num_queries):
    Game.objects.update(takes_device_calls=True)

    with django_assert_num_queries(2):
        caller.get("/me", **{"x-clientSecret": ""})


def test_secret_is_good_from_its_networks_alone_and_a_device_calls_from_anywhere(
    gamer, caller, settings
):
    settings.TRUSTED_PROXIES = 1
    Game.objects.update(allowed_networks="203.0.113.0/24", takes_device_calls=True)

    def status(**headers: str) -> int:
        answer: int = caller.get("/me", **headers).status_code
        return answer

    assert status(**{"X-Forwarded-For": "203.0.113.9"}) == 200
    assert status(**{"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}) == 401
    assert status(**{"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}) == 200
    assert status() == 401
    assert status(**{"X-Forwarded-For": "198.51.100.1", "x-clientSecret": ""}) == 200
    settings.TRUSTED_PROXIES = 0
    assert status(**{"X-Forwarded-For": "203.0.113.9"}) == 401


def test_secret_in_use_is_noted_whatever_it_is_used_for(gamer, caller):
    secrets = gamer.game.secrets
    for address in ("/me", "/game"):
        secrets.update(last_used_at=None)

        assert caller.get(address).status_code == 200

        assert secrets.get().last_used_at is not None


@pytest.mark.parametrize("change", ["disable", "revoke", "block"])
def test_change_of_mind_binds_at_the_next_request(gamer, caller, change):
    assert caller.get("/me").status_code == 200

    match change:
        case "disable":
            Game.objects.update(is_active=False)
        case "revoke":
            assert sessions.revoke(gamer=gamer, now=timezone.now()) == 1
        case "block":
            Gamer.objects.update(is_blocked=True)

    refused = {
        "disable": (401, {"reason": "CLIENT_CREDENTIALS"}),
        "revoke": (401, {"reason": "TOKEN_INVALID"}),
        "block": (403, {"reason": "ACCOUNT"}),
    }
    for answer in (caller.get("/me"), caller.post("/poke")):
        assert (answer.status_code, error_body(answer)["details"]) == refused[change]


def test_reading_takes_two_queries(caller, django_assert_num_queries):
    with django_assert_num_queries(2):
        caller.get("/me")


# --- Order of checks --------------------------------------------------------------------------


def test_first_failure_answers(gamer, settings):
    """One request that is wrong in every way, mended one step at a time."""
    blocked = GamerFactory(game=gamer.game, blocked=True)
    wrong: dict[str, Any] = {
        "path": "/api/v1/nothing",
        "method": "PUT",
        "body": b"{" + b" " * 65536,
        "headers": {"x-clientID": "unknown", "Idempotency-Key": "ü", "Content-Type": "text/xml"},
        "token": "garbled",
    }

    def answer() -> str:
        response = Client().generic(
            wrong["method"],
            wrong["path"],
            wrong["body"],
            content_type=wrong["headers"].pop("Content-Type", "text/xml"),
            query_params={"token": wrong["token"]},
            headers=wrong["headers"],
        )
        return f"{response.status_code} {response.json().get('error', '')}"

    assert answer() == "404 NOT_FOUND"
    wrong["path"] = "/api/v1/me"
    assert answer() == "405 METHOD_NOT_ALLOWED"
    wrong["method"] = "POST"
    assert answer() == "413 PAYLOAD_TOO_LARGE"
    wrong["body"] = b"{"
    assert answer() == "401 UN_AUTHORIZED"
    wrong["headers"]["x-clientID"] = gamer.game.client_id
    wrong["headers"]["x-clientSecret"] = secret_of(gamer.game)
    assert answer() == "401 UN_AUTHORIZED"
    wrong["token"] = [token_for(SessionFactory(gamer=gamer))] * 2
    assert answer() == "400 BAD_REQUEST"
    wrong["token"] = token_for(SessionFactory(gamer=blocked))
    assert answer() == "403 GAMER_BLOCKED"
    wrong["token"] = token_for(SessionFactory(gamer=gamer))
    Game.objects.update(rate_limit=1)
    assert "429 RATE_LIMITED" in [answer() for _ in range(10)]
    Game.objects.update(rate_limit=1_000_000)
    assert answer() == "400 BAD_REQUEST"
    wrong["headers"]["Idempotency-Key"] = "k"
    assert answer() == "415 UNSUPPORTED_MEDIA_TYPE"
    wrong["headers"]["Content-Type"] = "application/json"
    assert answer() == "400 BAD_REQUEST"
    wrong["headers"]["Content-Type"] = "application/json"
    wrong["body"] = b'{"age": 1}'
    assert answer() == "201 "


# --- Input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"age": 2147483648}', {"age": "Ensure this value is less than or equal to 100."}),
        (
            b'{"age": 9223372036854775808}',
            {"age": "Ensure this value is less than or equal to 100."},
        ),
        (
            b'{"age": ' + b"9" * 400 + b"}",
            {"age": "Ensure this value is less than or equal to 100."},
        ),
        (b'{"age": 1, "x": "a\\u0000"}', {"body": "a text holds a NUL character"}),
        (b'{"age": 1, "a\\u0000": 1}', {"body": "a text holds a NUL character"}),
        (b'{"age": 1, "x": "\\ud800"}', {"body": "a text holds half a surrogate pair"}),
        (b'{"age": ' + b"[" * 30_000, {"body": "nested deeper than 32"}),
        (b'{"age":' * 8_000, {"body": "nested deeper than 32"}),
        (b'{"age": "12"}', {"age": "A valid integer is required."}),
        (b'{"age": 1.0}', {"age": "A valid integer is required."}),
        (b'{"age": true}', {"age": "A valid integer is required."}),
        ('{"age": "\u0661\u0662"}'.encode(), {"age": "A valid integer is required."}),
        (b'{"age": 1, "age": 1}', {"body": "a key is given twice"}),
        (b'{"age": NaN}', {"body": "NaN is not a number"}),
        (b'{"age": 1e400}', {"body": "a number is too large"}),
        (b"\xff", {"body": "not UTF-8"}),
        (b"[1]", {"body": "Give a JSON object."}),
        (b"1", {"body": "Give a JSON object."}),
        (b"null", {"body": "Give a JSON object."}),
        (b"", {"age": "This field is required."}),
        (b"   ", {"body": "not JSON"}),
    ],
)
def test_hostile_body_is_400(caller, gamer, body, fields):
    answer = caller.post("/me", body)

    assert answer.status_code == 400
    assert error_body(answer) == {"error": "BAD_REQUEST", "details": {"fields": fields}}
    assert level_of(gamer) is None


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("", 201),
        ("application/json", 201),
        ("Application/JSON; charset=UTF-8", 201),
        ('application/json; charset="utf-8"', 201),
        ("application/json; charset=latin-1", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/plain", 415),
        ("application/xml", 415),
    ],
)
def test_body_is_json_in_utf8_or_415(caller, content_type, status):
    answer = caller.post("/me", b'{"age": 1}', **{"Content-Type": content_type})

    assert answer.status_code == status
    if status == 415:
        assert error_body(answer) == {"error": "UNSUPPORTED_MEDIA_TYPE", "details": {}}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=bz2_codec",
        "application/json; charset=rot13",
        "application/json; charset*=nonsense''utf-8",
        "application/json; charset=nonsense",
        "; charset=utf-8",
    ],
)
def test_codec_of_the_callers_choice_is_415(caller, content_type):
    answer = as_served(caller, b'{"age": 1}', CONTENT_TYPE=content_type)

    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"age": 1}', 201), (b'{"age": 101}', 400), (b" " * 65_537, 413), (b"x" * 2**21, 413)],
)
def test_body_in_chunks_is_a_body(caller, body, status):
    chunked = {
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
    }

    answer = as_served(caller, b"", **chunked)

    assert answer.status_code == status


def test_body_too_large_is_read_away(caller):
    body = BytesIO(b"x" * 200_000)

    answer = as_served(caller, b"", **{"CONTENT_LENGTH": "200000", "wsgi.input": body})

    assert answer.status_code == 413
    assert body.read() == b""


def test_body_that_is_ignored_may_be_anything(caller):
    answer = caller.post("/poke", b"\xff{", **{"Content-Type": "text/xml"})

    assert answer.json() == {"level": 1}


@pytest.mark.parametrize("limit", ["0", "11", "1.0", "+5", " 5", "\u0665", "", "5x", "9" * 400])
def test_number_in_the_query_is_ascii_digits_within_range(caller, limit):
    answer = caller.get("/me", {"limit": limit})

    assert answer.status_code == 400
    assert list(error_body(answer)["details"]["fields"]) == ["limit"]


def test_query_of_too_many_parameters_is_400(caller):
    answer = caller.get("/me", {f"p{number}": "" for number in range(2000)})

    assert answer.status_code == 400
    assert error_body(answer) == {"error": "BAD_REQUEST", "details": {}}


def test_bug_is_500_and_tells_nothing(caller, gamer, caplog):
    answer = caller.post("/me", {"age": 98})

    assert answer.status_code == 500
    assert error_body(answer) == {"error": "INTERNAL_ERROR", "details": {}}
    assert "ZeroDivisionError" in caplog.text
    assert answer["X-Request-ID"] in caplog.text
    assert caller.token not in caplog.text


# --- Idempotency-Key --------------------------------------------------------------------------


def test_first_answer_is_given_again(caller, gamer):
    first = caller.post("/me", {"age": 1}, key="k")
    again = caller.post("/me", {"age": 1}, key="k")

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content == b'{"level":1}'
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert again["Content-Type"] == "application/json"
    assert again["RateLimit-Limit"] == "1000000"
    assert level_of(gamer) == 1


def test_key_with_another_body_is_refused(caller, gamer):
    caller.post("/me", b'{"age": 1}', key="k")

    answer = caller.post("/me", b'{"age":  1}', key="k")

    assert answer.status_code == 409
    assert error_body(answer) == {"error": "IDEMPOTENCY_KEY_REUSED", "details": {}}
    assert level_of(gamer) == 1


def test_body_that_is_ignored_is_not_compared(caller, gamer):
    caller.post("/poke", b"one", key="k")

    assert caller.post("/poke", b"another", key="k")["Idempotent-Replayed"] == "true"
    assert level_of(gamer) == 1


def test_key_belongs_to_client_gamer_and_path(caller, gamer):
    neighbour = GameClient(gamer.game).as_gamer(GamerFactory(game=gamer.game))
    stranger = GamerFactory(gamer_id="g")
    caller.post("/me", {"age": 1}, key="k")

    assert "Idempotent-Replayed" not in caller.post("/poke", key="k")
    assert "Idempotent-Replayed" not in neighbour.post("/me", {"age": 1}, key="k")
    elsewhere = GameClient(stranger.game).as_gamer(stranger)
    assert "Idempotent-Replayed" not in elsewhere.post("/me", {"age": 1}, key="k")


def test_key_means_nothing_to_a_read(caller):
    assert caller.get("/me", **{"Idempotency-Key": "k"}).status_code == 200
    assert not KeptAnswer.objects.exists()


def test_answer_is_kept_a_day(caller, gamer):
    caller.post("/poke", key="k")

    KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24))
    caller.post("/poke", key="k")

    assert level_of(gamer) == 2
    assert caller.post("/poke", key="k")["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("key", ["", "k" * 65, "ü", "a\tb", "a\x7f"])
def test_key_is_printable_ascii(caller, gamer, key):
    answer = caller.post("/poke", key=key)

    assert answer.status_code == 400
    assert list(error_body(answer)["details"]["fields"]) == ["Idempotency-Key"]
    assert level_of(gamer) is None


@pytest.mark.parametrize("key", [" ", "k" * 64, '"quoted" ~!'])
def test_any_printable_key_is_taken(caller, key):
    assert caller.post("/poke", key=key).status_code == 200


def test_refusal_is_not_kept_and_undoes_no_more_than_it_did_itself(caller, gamer):
    for level in (1, 2):
        answer = caller.post("/me", {"age": 99}, key="k")
        assert answer.status_code == 409
        assert error_body(answer) == {"error": "REFUSED", "details": {"age": 99}}
        # What was done before the refused step stays, what that step did does not.
        assert level_of(gamer) == level
    assert not KeptAnswer.objects.exists()


def test_bug_undoes_everything_and_keeps_nothing(caller, gamer):
    answer = caller.post("/me", {"age": 98}, key="k")

    assert answer.status_code == 500
    assert level_of(gamer) is None
    assert not KeptAnswer.objects.exists()


def test_refused_hook_is_the_answer_and_frees_the_key(caller, gamer):
    answer = caller.post("/me", {"age": 97}, key="k")

    assert answer.status_code == 503
    assert error_body(answer) == {"error": "NOT_SENT", "details": {}}
    assert level_of(gamer) == 1
    assert not KeptAnswer.objects.exists()


# --- Rate limits ------------------------------------------------------------------------------


def test_limit_of_the_client_is_told_and_kept(gamer, caller):
    Game.objects.update(rate_limit=2)

    answers = [caller.get("/me") for _ in range(20)]

    passed = [answer for answer in answers if answer.status_code == 200]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert passed[0]["RateLimit-Limit"] == refused["RateLimit-Limit"] == "2"
    assert passed[0]["RateLimit-Remaining"] == "1"
    assert passed[0]["RateLimit-Reset"] == "1"
    assert refused["RateLimit-Remaining"] == "0"
    assert refused["Retry-After"] == "1"
    assert error_body(refused) == {"error": "RATE_LIMITED", "details": {}}


def test_limit_of_events_is_each_gamers_own(gamer, caller):
    Game.objects.update(gamer_event_rate=1)
    neighbour = GameClient(gamer.game).as_gamer(GamerFactory(game=gamer.game))

    assert 429 in [caller.post("/event").status_code for _ in range(20)]

    assert neighbour.post("/event").status_code == 200
    assert caller.post("/poke").status_code == 200


def test_while_nobody_counts_most_calls_pass_and_some_do_not(caller, gamer, valkey_away):
    passed = caller.get("/me")
    refused = caller.post("/poke")

    assert passed.status_code == 200
    assert passed["RateLimit-Limit"] == "1000000"
    assert refused.status_code == 503
    assert error_body(refused) == {"error": "SERVICE_UNAVAILABLE", "details": {}}
    assert refused["Retry-After"] == "1"
    assert level_of(gamer) is None
