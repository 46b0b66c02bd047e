"""Every look-up starts from the caller: what belongs to others is absent, on every address we serve.

The table names each route of the API, so that a new one cannot be forgotten.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts import sessions
from accounts.api.authentication import GameAuthentication, GamerAuthentication
from accounts.models import Gamer
from accounts.tests.api import GameClient
from accounts.tests.factories import GamerFactory
from accounts.tests.outbox import sent_to
from kgen.common.api.views import ApiViewSet
from rewards.tests.factories import promotion
from tournaments.api import streaming
from tournaments.lifecycle import TournamentNotFound
from tournaments.tests.full_game import PHONE, FullGame, everything, full_game
from wallet import custody
from wallet.tests.factories import WalletFactory

pytestmark = pytest.mark.django_db

# Bodies that repeat it can be compared byte for byte.
ONE_ID: dict[str, Any] = {"X-Request-ID": "the-same-for-all"}

# Served without a caller of the API, and why.
OPEN = {
    "healthz": "says that the process is up",
    "readyz": "says what it lacks, by name alone",
    "admin/": "staff with a second factor; the console's own tests",
    "api/schema/": "the document is public, and holds no data",
    "api/docs/": "the page of the document",
}


@dataclass(frozen=True)
class Things:
    """What one can ask for by name: someone's, or nobody's."""

    tournaments: Sequence[str]
    address: str
    reward: str
    auth_code: str
    code: str = "000000"
    gamer_id: str = "nobody"
    game: str = "no-such-game"


NOBODYS = Things(
    tournaments=[str(uuid.uuid4())],
    address="0x" + "ab" * 20,
    reward=str(uuid.uuid4()),
    auth_code="525503817264019",
)

# One call for one thing, made by the first argument.
Ask = Callable[[GameClient, str], Any]


def _event(client: GameClient, **changed: Any) -> dict[str, Any]:
    body = {
        "timestamp": int(timezone.now().timestamp() * 1000),
        "metadata": {"playerId": "g-481", **changed.pop("metadata", {})},
        "payload": {"achievement": {"value": 1}},
    }
    return {**body, **changed}


def _score(client: GameClient, uid: str) -> dict[str, Any]:
    return _event(client, metadata={"tournamentId": uid}, payload={"score": {"value": 1}})


def _get(path: str) -> Ask:
    return lambda client, name: client.get(path.format(name), **ONE_ID)


def _post(path: str, body: Callable[[GameClient, str], Any]) -> Ask:
    return lambda client, name: client.post(path.format(name), body(client, name), **ONE_ID)


# By route: what of others it could be asked for, and how.
BY_TOURNAMENT: dict[str, list[Ask]] = {
    "POST eventing": [
        _post("/eventing", _score),
        _post(
            "/eventing",
            lambda client, uid: _event(client, payload={"tournamentJoined": {"value": [uid]}}),
        ),
    ],
    "POST eventing/_batch": [
        _post("/eventing/_batch", lambda client, uid: {"events": [_score(client, uid)]})
    ],
    "GET tournaments/<str:uid>": [_get("/tournaments/{}")],
    "POST tournaments/<str:uid>/_join": [
        _post("/tournaments/{}/_join", lambda client, uid: {"joiningStake": 10})
    ],
    "GET tournaments/<str:uid>/_result": [_get("/tournaments/{}/_result")],
    "POST tournaments/<str:uid>/_leave": [
        _post("/tournaments/{}/_leave", lambda client, uid: None)
    ],
    "GET leaderboards/_byTournament/<str:uid>": [
        _get("/leaderboards/_byTournament/{}"),
        _get("/leaderboards/_byTournament/{}?around=me"),
    ],
    "GET leaderboards/_byTournament/<str:uid>/_stream": [
        _get("/leaderboards/_byTournament/{}/_stream")
    ],
}
BY_NAME: dict[str, list[tuple[str, Ask]]] = {
    "POST eventing": [
        (
            "gamer_id",
            _post("/eventing", lambda client, name: _event(client, metadata={"playerId": name})),
        ),
        (
            "game",
            _post("/eventing", lambda client, name: _event(client, metadata={"gameId": name})),
        ),
    ],
    "GET wallet/lazyChain/transactions/<str:address>": [
        ("address", _get("/wallet/lazyChain/transactions/{}"))
    ],
    "POST rewards/_claim": [
        ("reward", _post("/rewards/_claim", lambda client, uid: {"reward_ids": [uid]}))
    ],
}
# Their caller is all that they are asked about.
OWN: dict[str, Ask] = {
    "POST session": _post("/session", lambda client, _: {"gamer_id": "g-481"}),
    "POST verification/otp/_request": _post("/verification/otp/_request", lambda client, _: PHONE),
    "GET wallet/lazyChain/balance": _get("/wallet/lazyChain/balance"),
    "POST wallet/_withdraw": _post("/wallet/_withdraw", lambda client, _: None),
    "GET rewards": _get("/rewards"),
    "GET tournaments/_active": _get("/tournaments/_active"),
    "GET tournaments/_session": _get("/tournaments/_session"),
    "GET statistics/_historic": _get("/statistics/_historic"),
}
# Has a test of its own below.
APART = {"POST verification/otp/_verify"}


def routes() -> list[tuple[str, Any]]:
    """Every address of `kgen.urls` and its view."""

    def under(prefix: str, resolver: Any) -> Iterator[tuple[str, Any]]:
        for pattern in resolver.url_patterns:
            route = f"{prefix}{pattern.pattern}"
            if isinstance(pattern, URLResolver):
                yield from under(route, pattern)
            elif isinstance(pattern, URLPattern):
                yield route, pattern.callback

    return list(under("", get_resolver()))


def api_actions() -> list[tuple[str, str, type[ApiViewSet]]]:
    """Method, route behind /api/v1/ and view of every operation."""
    return [
        (method.upper(), route.removeprefix("api/v1/"), view.cls)
        for route, view in routes()
        if route.startswith("api/v1/")
        for method in sorted(set(view.actions) - {"head"})
    ]


def rows_of(other: FullGame) -> dict[str, Any]:
    """What is another's to keep."""
    gamer = Gamer.objects.filter(pk=other.gamer.pk).values().get()
    wallet = type(other.wallet).objects.filter(pk=other.wallet.pk).values().get()
    reward = type(other.reward).objects.filter(pk=other.reward.pk).values().get()
    return {"gamer": gamer, "wallet": wallet, "reward": reward}


@pytest.fixture
def own(settings, tmp_path) -> FullGame:
    settings.STREAM_URL = "http://stream.example"
    settings.SMS_OUTBOX = tmp_path / "sms.jsonl"
    return full_game(now=timezone.now(), linked=False)


@pytest.fixture
def foreign() -> FullGame:
    """Another game, whose gamer has the same id."""
    return full_game(now=timezone.now(), linked=False)


def theirs(other: FullGame) -> dict[str, str]:
    return {
        "address": other.wallet.address,
        "reward": str(other.reward.uid),
        "gamer_id": other.gamer.gamer_id,
        "game": other.game.game_uid,
    }


def test_every_route_has_its_place_in_the_table():
    asked = {f"{method} {route}" for method, route, _ in api_actions()}

    assert asked == {*BY_TOURNAMENT, *BY_NAME, *OWN} | APART
    assert {*BY_TOURNAMENT, *BY_NAME}.isdisjoint(OWN)


def test_every_address_knows_its_caller_or_says_why_not():
    open_to_all = {
        route
        for route, view in routes()
        if getattr(view, "cls", None) is None or not issubclass(view.cls, ApiViewSet)
    }

    assert {next((o for o in OPEN if route.startswith(o)), route) for route in open_to_all} == set(
        OPEN
    )
    for method, route, view in api_actions():
        by_game = route in ("session", "eventing/_batch")
        known: list[Any] = [GameAuthentication] if by_game else [GamerAuthentication]
        assert view.authentication_classes == known, (method, route)


def test_tournament_of_another_game_is_absent(own, foreign):
    there = [foreign.open, foreign.joined, foreign.settled, foreign.hidden, own.hidden]
    before = everything()

    for route, asks in BY_TOURNAMENT.items():
        client = own.server if route == "POST eventing/_batch" else own.client
        for ask in asks:
            nobodys = ask(client, NOBODYS.tournaments[0])
            found = [ask(client, str(tournament.uid)) for tournament in there]

            if client is own.server:  # each event of a batch is answered alone
                assert nobodys.status_code == 200
                errors = [one["error"] for one in nobodys.json()["rejected"]]
                assert errors == ["TOURNAMENT_NOT_FOUND"]
            else:
                refusal = nobodys.status_code, nobodys.json()["error"]
                assert refusal == (404, "TOURNAMENT_NOT_FOUND"), route
            assert {a.status_code for a in found} == {nobodys.status_code}, route
            assert {answer.content for answer in found} == {nobodys.content}, route
    assert everything() == before


def test_what_is_another_games_is_absent(own, foreign):
    GamerFactory.create(game=foreign.game, gamer_id="h-1")

    _names_are_absent(own, {**theirs(foreign), "gamer_id": "h-1"})


def test_what_is_another_gamers_is_absent(own, foreign):
    """Of the same game."""
    with transaction.atomic():
        neighbour = GamerFactory.create(game=own.game, gamer_id="h-1")
        WalletFactory.create(gamer=neighbour, earned=100)
    reward = promotion(neighbour, 25, now=timezone.now(), reference="theirs")

    _names_are_absent(
        own,
        {
            "address": custody.wallet_of(neighbour).address,
            "reward": str(reward.uid),
            "gamer_id": neighbour.gamer_id,
            "game": foreign.game.game_uid,
        },
    )


def _names_are_absent(own: FullGame, named: dict[str, str]) -> None:
    before = everything()

    for route, asks in BY_NAME.items():
        for name, ask in asks:
            nobodys, found = (ask(own.client, x) for x in (getattr(NOBODYS, name), named[name]))

            assert nobodys.status_code in (403, 404), route
            assert (found.status_code, found.content) == (nobodys.status_code, nobodys.content)
    assert everything() == before


def test_answer_is_about_the_caller_alone(own, foreign):
    kept = rows_of(foreign)
    hidden_from_us = [
        foreign.wallet.address,
        str(foreign.reward.uid),
        foreign.game.game_uid,
        str(foreign.gamer.uid),
        *(str(one.uid) for one in (foreign.open, foreign.joined, foreign.settled)),
    ]

    for route, ask in OWN.items():
        answer = ask(own.server if route == "POST session" else own.client, "")

        assert answer.status_code in (200, 409), route
        assert [name for name in hidden_from_us if name in answer.content.decode()] == [], route
    assert rows_of(foreign) == kept


def test_token_of_another_game_opens_nothing(own, foreign):
    client = own.server.with_token(foreign.client.token)
    before = everything()

    for method, route, _ in api_actions():
        if route in ("session", "eventing/_batch"):  # no token is asked for
            continue
        call = client.get if method == "GET" else client.post
        answer = call(f"/{route}".replace("<str:uid>", str(foreign.joined.uid)))

        assert answer.status_code == 401, route
        assert answer.json()["details"] == {"reason": "TOKEN_CLIENT_MISMATCH"}
    assert everything() == before


@pytest.mark.parametrize("whose", ["another game's", "another gamer's"])
def test_otp_of_another_is_absent(own, foreign, whose, settings):
    other = foreign.client
    if whose == "another gamer's":
        with transaction.atomic():
            neighbour = GamerFactory.create(game=own.game)
            WalletFactory.create(gamer=neighbour)
        other = own.server.as_gamer(neighbour)
    auth_code = other.post("/verification/otp/_request", PHONE).json()["authCode"]
    [(_, code)] = sent_to(settings.SMS_OUTBOX)
    before = everything()

    nobodys, found = (
        own.client.post(
            "/verification/otp/_verify",
            {**PHONE, "authCode": shown, "otp": code},
            **ONE_ID,
        )
        for shown in (NOBODYS.auth_code, auth_code)
    )

    assert (nobodys.status_code, nobodys.json()["error"]) == (404, "OTP_NOT_FOUND")
    assert (found.status_code, found.content) == (404, nobodys.content)
    assert everything() == before


def test_stream_serves_two_addresses_and_no_foreign_board(own, foreign):
    """The process of `serve_stream` has a URL map of its own."""
    router = streaming.Streams().application().router
    served = {resource.canonical for resource in router.resources()}

    assert served == {"/healthz", "/leaderboards/{uid}"}
    for uid in (str(foreign.open.uid), str(own.hidden.uid), *NOBODYS.tournaments, "x"):
        with pytest.raises(TournamentNotFound):
            streaming._admit(uid, own.client.token or "")
    with pytest.raises(sessions.TokenMissing):
        streaming._admit(str(own.open.uid), "")
