"""Who calls: the client headers and the session token of the API contract, section 0."""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import clients, sessions
from accounts.models import Game, Gamer, GameSecret, Session
from kgen.common import logs
from kgen.common.api.exceptions import InvalidRequest
from kgen.common.client_address import client_address


@dataclass(frozen=True, slots=True)
class Caller:
    """A gamer in a session, speaking through the game's client: where every look-up starts."""

    game: Game
    gamer: Gamer
    session: Session


class GameAuthentication(BaseAuthentication):
    """The game alone: `request.auth` is the secret that was shown."""

    def authenticate(self, request: Request) -> tuple[Game, GameSecret]:
        secret = _secret_of(request)
        return secret.game, secret


class GamerAuthentication(BaseAuthentication):
    """The game and a gamer's token: `request.auth` is the `Caller`."""

    def authenticate(self, request: Request) -> tuple[Gamer, Caller]:
        game = _game_of(request)
        session = sessions.resume(game=game, token=token_of(request), now=timezone.now())
        logs.bind(gamer=str(session.gamer.uid))
        return session.gamer, Caller(game=game, gamer=session.gamer, session=session)


def _game_of(request: Request) -> Game:
    """The game of the secret, or where none is shown the one that takes calls of devices."""
    if _shown_secret(request):
        return _secret_of(request).game
    game = clients.of_device(client_id=_client_id(request))
    logs.bind(client=game.client_id)
    return game


def _secret_of(request: Request) -> GameSecret:
    now = timezone.now()
    secret = clients.authenticate(
        client_id=_client_id(request),
        client_secret=_shown_secret(request),
        address=client_address(request._request),
        now=now,
    )
    clients.note_use(secret=secret, now=now)
    logs.bind(client=secret.game.client_id)
    return secret


def _client_id(request: Request) -> str:
    headers = request.headers
    return headers.get("x-clientID") or headers.get("x-client-id") or ""


def _shown_secret(request: Request) -> str:
    headers = request.headers
    return headers.get("x-clientSecret") or headers.get("x-client-secret") or ""


def token_of(request: Request) -> str:
    """The token that the caller shows, of the query before the header; empty without any."""
    in_query = request.GET.getlist("token")
    if len(in_query) > 1:
        raise InvalidRequest({"token": "Give one token."})
    return (in_query and in_query[0]) or request.headers.get("user-jwt-token", "")


class _GameScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = GameAuthentication
    name = ["clientId", "clientSecret"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "apiKey", "in": "header", "name": "x-clientID"},
            {"type": "apiKey", "in": "header", "name": "x-clientSecret"},
        ]


class _GamerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = GamerAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "query", "name": "token"}

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[str]]:
        # One requirement of three parts: all are needed together.
        return {"clientId": [], "clientSecret": [], "token": []}
