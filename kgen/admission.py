"""How many requests one process works on at a time, and what becomes of those beyond.

A server has many threads, so that a slow sender or a wait keeps nobody else out; the work itself is
done in a few slots, each with a connection to the database of its own. Who finds no slot waits a
moment, and who finds too many waiting is answered 503 at once: work that is begun is finished, at
any load (API contract, section 0).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Condition
from time import monotonic
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from kgen.common.api import rate_limits, traffic
from kgen.common.api.exceptions import refusal_response
from kgen.common.api.middleware import request_id_of
from kgen.common.errors import Unavailable

_TRY_AGAIN = timedelta(seconds=1)


class Full(Exception):
    """No slot came free in time, or too many wait for one."""


class Slots:
    """`at_once` requests are worked on; `waiting` more wait for at most `patience`."""

    def __init__(self, *, at_once: int, waiting: int, patience: timedelta) -> None:
        self._patience = patience.total_seconds()
        self._most_waiting = waiting
        self._waiting = 0
        self._unopened = at_once
        self._free: list[BaseDatabaseWrapper] = []
        self._changed = Condition()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot, and its connection as this thread's own. Raises `Full`."""
        connection = self._take()
        connections[DEFAULT_DB_ALIAS] = connection
        try:
            yield
        finally:
            del connections[DEFAULT_DB_ALIAS]
            with self._changed:
                self._free.append(connection)  # the last used is the next: few stay open at rest
                self._changed.notify()

    def _take(self) -> BaseDatabaseWrapper:
        with self._changed:
            # Who came before is served before, also while one of them is still waking up.
            if self._waiting or not (self._free or self._unopened):
                self._wait()
            if self._free:
                return self._free.pop()
            self._unopened -= 1
        connection = connections.create_connection(DEFAULT_DB_ALIAS)
        connection.inc_thread_sharing()  # of one thread at a time, but not always of the same one
        return connection

    def _wait(self) -> None:
        if self._waiting >= self._most_waiting:
            raise Full
        until = monotonic() + self._patience
        self._waiting += 1
        try:
            while not self._free:
                left = until - monotonic()
                if left <= 0:
                    raise Full
                self._changed.wait(left)
        finally:
            self._waiting -= 1


class OnConnectionsOfItsOwn:
    """A body that is made while it is sent, outside of any slot; its connections close with it."""

    def __init__(self, body: HttpResponseBase) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            connections.close_all()


def turned_away(environ: dict[str, Any]) -> HttpResponse:
    """The contract's 503 for a request of which nothing was read but its headers."""
    request = HttpRequest()
    request_id = request_id_of(environ.get("HTTP_X_REQUEST_ID", ""))
    request.request_id = request_id  # type: ignore[attr-defined]  # a plain attribute of ours
    response = refusal_response(request, Unavailable(retry_after=_TRY_AGAIN))
    response["X-Request-ID"] = request_id
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response["Referrer-Policy"] = "no-referrer"
    for name, value in rate_limits.uncounted().headers().items():
        response[name] = value
    method = environ["REQUEST_METHOD"]
    known = method if method in traffic.METHODS else traffic.UNKNOWN
    traffic.REQUESTS.labels(traffic.UNKNOWN, known, response.status_code).inc()
    return response
