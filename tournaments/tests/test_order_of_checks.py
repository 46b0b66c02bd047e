"""In which order a call is checked (API contract, section 0): of two failures the earlier answers.

Each kind of call has its list of failures in the contract's order; for each two neighbours a request
is made that fails both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson
import pytest
import redis
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts import sessions
from accounts.api.views import client_bucket
from accounts.models import Game, Gamer
from accounts.tests.factories import GameFactory, SessionFactory, secret_of, token_for
from kgen.common.identifiers import uuid7
from tournaments import joining
from tournaments.models import Tournament
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.test_eventing import score_event
from tournaments.tests.world import world
from wallet import custody, freezing

pytestmark = pytest.mark.django_db

CLIENT = Client(raise_request_exception=False)


@dataclass
class Call:
    """A call that would be answered well, until failures are put into it."""

    game: Game
    gamer: Gamer
    tournament: Tournament
    method: str
    path: str
    body: Any = None
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    padding: int = 0

    def send(self) -> Any:
        raw = b"" if self.body is None else orjson.dumps(self.body)
        return CLIENT.generic(
            self.method,
            f"/api/v1{self.path}",
            raw + b" " * self.padding,
            content_type=self.content_type,
            query_params=self.query,
            headers=self.headers,
        )


Failure = Callable[[Call], None]


def no_route(call: Call) -> None:
    call.path += "/nothing"


def wrong_method(call: Call) -> None:
    call.method = "PUT"


def too_large(call: Call) -> None:
    call.padding = 2**20 + 1


def wrong_secret(call: Call) -> None:
    call.headers["x-clientSecret"] = "wrong"


def disabled_client(call: Call) -> None:
    Game.objects.filter(pk=call.game.pk).update(is_active=False)


def revoked_token(call: Call) -> None:
    sessions.revoke(gamer=call.gamer, now=timezone.now())


def two_tokens(call: Call) -> None:
    call.query["token"] = [call.query["token"]] * 2


def blocked(call: Call) -> None:
    Gamer.objects.filter(pk=call.gamer.pk).update(is_blocked=True)


def frozen(call: Call) -> None:
    wallet = custody.wallet_of(call.gamer)
    freezing.freeze(wallet=wallet, until=None, reason="asked", by="sam", now=timezone.now())


def too_many(call: Call) -> None:
    # As if the last second's requests, and those of the next hour, had been made already.
    with redis.Redis.from_url(settings.REDIS_URL) as valkey:
        full = int(valkey.time()[0]) * 1_000_000 + 3_600_000_000
        valkey.set(f"rate:{client_bucket(call.game).name}", full, px=60_000)


def bad_key(call: Call) -> None:
    call.headers["Idempotency-Key"] = "k" * 65


def wrong_type(call: Call) -> None:
    call.content_type = "text/xml"


def bad_body(call: Call) -> None:
    call.body = {"joiningStake": "ten", "events": [], "timestamp": "x", "gamer_id": []}


def bad_query(call: Call) -> None:
    call.query["limit"] = "0"


def other_player(call: Call) -> None:
    call.body["metadata"]["playerId"] = "somebody"


def unknown_tournament(call: Call) -> None:
    unknown = str(uuid7())
    call.path = call.path.replace(str(call.tournament.uid), unknown)
    if isinstance(call.body, dict) and "metadata" in call.body:
        call.body["metadata"]["tournamentId"] = unknown


def over(call: Call) -> None:
    """Nobody joins, or scores, before the lobby opens."""
    later = TournamentFactory.create(game=call.game, scheduled=True)
    call.path = call.path.replace(str(call.tournament.uid), str(later.uid))


def wrong_stake(call: Call) -> None:
    call.body = {"joiningStake": 11}


def no_money(call: Call) -> None:
    call.gamer = player(call.game, bonus=5)
    call.query["token"] = token_for(SessionFactory.create(gamer=call.gamer))


ANSWERS: dict[Failure, tuple[int, str, str | None]] = {
    no_route: (404, "NOT_FOUND", None),
    wrong_method: (405, "METHOD_NOT_ALLOWED", None),
    too_large: (413, "PAYLOAD_TOO_LARGE", None),
    wrong_secret: (401, "UN_AUTHORIZED", "CLIENT_CREDENTIALS"),
    disabled_client: (401, "UN_AUTHORIZED", "CLIENT_CREDENTIALS"),
    revoked_token: (401, "UN_AUTHORIZED", "TOKEN_INVALID"),
    two_tokens: (400, "BAD_REQUEST", None),
    blocked: (403, "GAMER_BLOCKED", "ACCOUNT"),
    frozen: (403, "GAMER_BLOCKED", "WALLET_FROZEN"),
    too_many: (429, "RATE_LIMITED", None),
    bad_key: (400, "BAD_REQUEST", None),
    wrong_type: (415, "UNSUPPORTED_MEDIA_TYPE", None),
    bad_body: (400, "BAD_REQUEST", None),
    bad_query: (400, "BAD_REQUEST", None),
    other_player: (403, "PLAYER_MISMATCH", None),
    unknown_tournament: (404, "TOURNAMENT_NOT_FOUND", None),
    over: (400, "TOURNAMENT_IS_NOT_LIVE", None),
    wrong_stake: (400, "TOURNAMENT_INVALID_JOINING_STAKE", None),
    no_money: (400, "INSUFFICIENT_BALANCE", None),
}
# What a 400 complains of, where the code alone does not tell.
FIELDS = {two_tokens: "token", bad_key: "Idempotency-Key", bad_query: "limit"}

FIRST = [no_route, wrong_method, too_large, wrong_secret]
TOKEN = [revoked_token, blocked, too_many]

ORDERS: dict[str, list[list[Failure]]] = {
    "board": [
        [*FIRST, *TOKEN, bad_query, unknown_tournament],
        [disabled_client, revoked_token],
        [disabled_client, two_tokens, blocked],
    ],
    "join": [
        [*FIRST, *TOKEN, bad_key, wrong_type, bad_body, unknown_tournament],
        [disabled_client, two_tokens, blocked],
        [bad_body, over, wrong_stake],
        [unknown_tournament, wrong_stake, no_money],
    ],
    "score": [
        [*FIRST, *TOKEN, bad_key, wrong_type, bad_body],
        [wrong_type, other_player, unknown_tournament],
    ],
    "withdrawal": [[*FIRST, revoked_token, blocked, frozen, too_many, bad_key]],
    "session": [[*FIRST, too_many, wrong_type, bad_body], [wrong_type, blocked, bad_key]],
    "batch": [[*FIRST, too_many, bad_key, wrong_type, bad_body]],
}
PAIRS = [
    pytest.param(kind, earlier, later, id=f"{kind}-{earlier.__name__}-{later.__name__}")
    for kind, orders in ORDERS.items()
    for order in orders
    for earlier, later in pairwise(order)
]


def good(kind: str) -> Call:
    game = GameFactory.create()
    tournament = TournamentFactory.create(game=game)
    gamer = player(game)
    now = timezone.now()
    paths = {
        "board": ("GET", f"/leaderboards/_byTournament/{tournament.uid}"),
        "join": ("POST", f"/tournaments/{tournament.uid}/_join"),
        "score": ("POST", "/eventing"),
        "withdrawal": ("POST", "/wallet/_withdraw"),
        "session": ("POST", "/session"),
        "batch": ("POST", "/eventing/_batch"),
    }
    bodies: dict[str, Any] = {
        "join": {"joiningStake": 10},
        "session": {"gamer_id": gamer.gamer_id},
    }
    if kind in ("score", "batch"):
        sent = score_event(seat(tournament, gamer=gamer), 5, at=now)
        bodies = {"score": sent, "batch": {"events": [sent]}}
    method, path = paths[kind]
    call = Call(game, gamer, tournament, method, path, bodies.get(kind))
    call.headers = {"x-clientID": game.client_id, "x-clientSecret": secret_of(game)}
    if kind not in ("session", "batch"):
        call.query = {"token": token_for(SessionFactory.create(gamer=gamer))}
    return call


@pytest.mark.parametrize("kind", ORDERS)
def test_call_without_a_failure_is_answered_well(kind):
    answer = good(kind).send()

    # Nothing is earned yet, which is found out after everything else.
    expected = (400, "MIN_WITHDRAW_BALANCE_NOT_MET") if kind == "withdrawal" else (200, None)
    told = answer.json()
    assert (answer.status_code, told.get("error") if isinstance(told, dict) else None) == expected


@pytest.mark.parametrize(("kind", "earlier", "later"), PAIRS)
def test_of_two_failures_the_earlier_answers(kind, earlier, later):
    call = good(kind)
    later(call)
    earlier(call)
    before = world()

    answer = call.send()

    told = answer.json()
    status, code, reason = ANSWERS[earlier]
    assert (answer.status_code, told["error"]) == (status, code)
    assert told["details"].get("reason") == reason
    if earlier in FIELDS:
        assert list(told["details"]["fields"]) == [FIELDS[earlier]]
    assert world() == before


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        pytest.param(kind, order[-1], id=f"{kind}-{order[-1].__name__}")
        for kind, orders in ORDERS.items()
        for order in orders
    ],
)
def test_last_failure_of_an_order_is_one(kind, last):
    """Each other one has answered before its neighbour."""
    call = good(kind)
    last(call)

    answer = call.send()

    status, code, _ = ANSWERS[last]
    assert (answer.status_code, answer.json()["error"]) == (status, code)


def test_equal_event_is_answered_before_what_has_become_of_its_tournament():
    call = good("score")
    call.send()
    joining.leave(gamer=call.gamer, tournament_uid=call.tournament.uid, now=timezone.now())
    before = world()

    again = call.send()
    call.body["payload"]["score"]["value"] = 6
    another = call.send()
    other_player(call)
    foreign = call.send()

    assert (again.status_code, again.json()) == (200, True)
    assert another.json()["error"] == "TOURNAMENT_PARTICIPATION_NOT_FOUND"
    assert foreign.json()["error"] == "PLAYER_MISMATCH"
    assert world() == before
