"""How the tests of every app call the API: as a game's server does."""

from typing import Any, Self

import orjson
from django.test import Client

from accounts.models import Game, Gamer
from accounts.tests.factories import SessionFactory, secret_of, token_for

# One for all, since each would load the middleware again. It keeps nothing: we set no cookies.
_CLIENT = Client(raise_request_exception=False)


class GameClient:
    """Calls with a game's client headers; `as_gamer` adds a gamer's token.

    `GameClient(game).as_gamer(gamer).post("/tournaments/…/_join", {"joiningStake": 10})`
    """

    def __init__(self, game: Game, *, token: str | None = None) -> None:
        self.game = game
        self.token = token

    def as_gamer(self, gamer: Gamer) -> Self:
        """A client like this one that carries a token of a new session of `gamer`."""
        return self.with_token(token_for(SessionFactory.create(gamer=gamer)))

    def with_token(self, token: str) -> Self:
        return type(self)(self.game, token=token)

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> Any:
        return self._call("GET", path, b"", query, headers)

    def post(
        self,
        path: str,
        body: object = None,
        *,
        query: dict[str, Any] | None = None,
        key: str | None = None,
        **headers: str,
    ) -> Any:
        """Post `body` as JSON, or as it is where it is bytes; `key` is the Idempotency-Key."""
        if key is not None:
            headers["Idempotency-Key"] = key
        raw = body if isinstance(body, bytes) else orjson.dumps(body) if body is not None else b""
        return self._call("POST", path, raw, query, headers)

    def _call(
        self,
        method: str,
        path: str,
        body: bytes,
        query: dict[str, Any] | None,
        headers: dict[str, str],
    ) -> Any:
        parameters = {**({"token": self.token} if self.token else {}), **(query or {})}
        return _CLIENT.generic(
            method,
            f"/api/v1{path}",
            body,
            content_type="application/json",
            query_params=parameters,
            headers={
                "x-clientID": self.game.client_id,
                "x-clientSecret": secret_of(self.game),
                **headers,
            },
        )


def error_body(response: Any) -> dict[str, Any]:
    """The error body without what may change: the sentence, and the id, which equals the header's."""
    body: dict[str, Any] = response.json()
    assert body.pop("request_id") == response["X-Request-ID"]
    assert body.pop("message")
    assert body.pop("statusCode") == response.status_code
    return body
