"""Every POST of the API as a call that works once, for tests of what holds for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.utils import timezone

from accounts.tests.api import GameClient
from accounts.tests.outbox import sent_to
from tournaments.tests.full_game import PHONE, FullGame


@dataclass(frozen=True)
class Post:
    """`body` makes the body at the moment of the call; `other` is one that differs in a byte."""

    path: str
    body: bytes
    is_bodiless: bool = False
    by_server: bool = False

    @property
    def other(self) -> bytes:
        return self.body + b" "

    def send(self, house: FullGame, body: bytes | None = None, **more: Any) -> Any:
        sent = self.body if body is None else body
        return self.client(house).post(self.path, sent, **more)

    def client(self, house: FullGame) -> GameClient:
        return house.server if self.by_server else house.client

    def owner(self, house: FullGame) -> tuple[str, str]:
        """Client and gamer whose key it is."""
        gamer = "" if self.by_server else str(house.gamer.uid)
        return str(house.game.uid), "new" if self.path == "/session" else gamer


def _event(house: FullGame, payload: dict[str, Any], **metadata: str) -> dict[str, Any]:
    return {
        "timestamp": int(timezone.now().timestamp() * 1000),
        "metadata": {"playerId": house.gamer.gamer_id, **metadata},
        "payload": payload,
    }


def _proof(house: FullGame) -> dict[str, Any]:
    auth_code = house.client.post("/verification/otp/_request", PHONE).json()["authCode"]
    _, code = sent_to(Path(settings.SMS_OUTBOX))[-1]
    return {**PHONE, "authCode": auth_code, "otp": code}


def _score(house: FullGame) -> dict[str, Any]:
    return _event(house, {"score": {"value": 3}}, tournamentId=str(house.joined.uid))


# By route; each works once where those above it have been made.
POSTS: dict[str, Callable[[FullGame], Post]] = {
    "session": lambda house: Post("/session", orjson.dumps({"gamer_id": "new"}), by_server=True),
    "tournaments/<str:uid>/_leave": lambda house: Post(
        f"/tournaments/{house.joined.uid}/_leave", b"", is_bodiless=True
    ),
    "tournaments/<str:uid>/_join": lambda house: Post(
        f"/tournaments/{house.joined.uid}/_join", orjson.dumps({"joiningStake": 10})
    ),
    "eventing": lambda house: Post(
        "/eventing",
        orjson.dumps(_event(house, {"tournamentJoined": {"value": [str(house.open.uid)]}})),
    ),
    "eventing/_batch": lambda house: Post(
        "/eventing/_batch", orjson.dumps({"events": [_score(house)]}), by_server=True
    ),
    "rewards/_claim": lambda house: Post("/rewards/_claim", b"{}"),
    "verification/otp/_request": lambda house: Post(
        "/verification/otp/_request",
        orjson.dumps({**PHONE, "phone_number": "2025550144"}),
    ),
    "verification/otp/_verify": lambda house: Post(
        "/verification/otp/_verify", orjson.dumps(_proof(house))
    ),
    "wallet/_withdraw": lambda house: Post("/wallet/_withdraw", b"", is_bodiless=True),
}
