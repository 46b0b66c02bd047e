"""Boards as server-sent events, from an asyncio process of their own (API contract, section 7).

However many watch a board, it is read once a second. Nobody is waited for: a watcher who reads
slowly misses the boards in between, and one who does not read at all is dropped.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from aiohttp import web
from django.conf import settings
from django.db import close_old_connections
from django.http import HttpRequest
from django.utils import timezone

from accounts import sessions
from accounts.clients import hash_of
from accounts.models import Gamer, Session
from kgen.common import logs
from kgen.common.api.exceptions import InvalidRequest, plain_response, refusal_response
from kgen.common.api.renderers import JsonRenderer
from kgen.common.errors import NotFound, Refusal, Unavailable
from kgen.common.identifiers import uuid7, uuid_of
from tournaments import leaderboard, listing, tickets
from tournaments.api.serializers import shown_board
from tournaments.lifecycle import TournamentNotFound
from tournaments.models import Tournament

logger = logging.getLogger(__name__)

# In the log alone: the watcher has gone away himself.
_LEFT: Final = 499

SHOWN: Final = 100
# Each has a connection to the database.
_THREADS: Final = 4
_TRY_AGAIN: Final = timedelta(seconds=5)
_OVER: Final = {Tournament.Status.COMPLETED, Tournament.Status.CANCELLED}

R = TypeVar("R")


@dataclass(eq=False)
class Watcher:
    # Of staff, who have a ticket, there is none.
    token_hash: str | None
    refusal: Refusal | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class Board:
    """What all watchers of a tournament see."""

    uid: UUID
    watchers: set[Watcher] = field(default_factory=set)
    shown: dict[str, object] | None = None
    frame: bytes = b""
    number: int = 0
    is_over: bool = False
    follower: asyncio.Task[None] | None = None


class Streams:
    def __init__(self) -> None:
        self.boards: dict[UUID, Board] = {}
        self._watching = 0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="reader")

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_in_the_contracts_words])
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/leaderboards/{uid}", self.watch)
        app.cleanup_ctx.append(self._looking_after_watchers)
        return app

    async def healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "watching": self._watching})

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Serve one watcher until the tournament, the token or the connection ends."""
        if self._watching >= settings.STREAM_MOST_WATCHERS:
            raise Unavailable(retry_after=_TRY_AGAIN)
        self._watching += 1
        try:
            shown = request.query.getall("token", [""])
            if len(shown) > 1:
                raise InvalidRequest({"token": "Give one token."})
            uid, token_hash = await self._in_thread(_admit, request.match_info["uid"], shown[0])
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream; charset=utf-8",
                    "X-Accel-Buffering": "no",  # nginx would wait for more
                    **_headers_of(request),
                }
            )
            await response.prepare(request)
            await self._serve(request, response, uid, Watcher(token_hash))
            return response
        finally:
            self._watching -= 1

    async def _serve(
        self, request: web.Request, response: web.StreamResponse, uid: UUID, watcher: Watcher
    ) -> None:
        ends_at = asyncio.get_running_loop().time() + settings.STREAM_TICKET_LIFE.total_seconds()
        board = self._join(uid, watcher)
        seen = 0
        try:
            while True:
                watcher.wake.clear()
                is_ticket_over = (
                    watcher.token_hash is None and asyncio.get_running_loop().time() >= ends_at
                )
                if is_ticket_over:
                    watcher.refusal = sessions.TokenExpired()
                if watcher.refusal is not None:
                    body = refusal_response(_asked_by(request), watcher.refusal).content
                    await _send(response, b"event: error\ndata: %b\n\n" % body)
                    return
                if board.number > seen:
                    seen = board.number
                    await _send(response, board.frame)
                if board.is_over:
                    await _send(response, b"event: end\ndata: {}\n\n")
                    return
                try:
                    async with asyncio.timeout(settings.STREAM_HEARTBEAT.total_seconds()):
                        await watcher.wake.wait()
                except TimeoutError:
                    await _send(response, b":\n\n")
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            board.watchers.discard(watcher)

    def _join(self, uid: UUID, watcher: Watcher) -> Board:
        board = self.boards.get(uid)
        if board is None:
            board = self.boards[uid] = Board(uid)
            board.follower = asyncio.create_task(self._follow(board))
        board.watchers.add(watcher)
        return board

    async def _follow(self, board: Board) -> None:
        """Read the board once a second for as long as somebody watches."""
        clock = asyncio.get_running_loop()
        try:
            # The first watcher joins in the same step that made this task.
            while board.watchers and not board.is_over:
                began = clock.time()
                try:
                    status, shown, frame = await self._in_thread(_standings, board.uid)
                except Exception:
                    logger.exception("The board of tournament %s cannot be read", board.uid)
                else:
                    board.is_over = status in _OVER
                    if shown != board.shown or board.is_over:
                        board.shown, board.frame = shown, frame
                        board.number += 1
                        for watcher in board.watchers:
                            watcher.wake.set()
                took = clock.time() - began
                await asyncio.sleep(max(0.0, settings.STREAM_INTERVAL.total_seconds() - took))
        finally:
            if self.boards.get(board.uid) is board:
                del self.boards[board.uid]

    async def _looking_after_watchers(self, app: web.Application) -> AsyncIterator[None]:
        looking = asyncio.create_task(self._look_after_watchers())
        yield
        looking.cancel()
        for board in list(self.boards.values()):
            if board.follower is not None:
                board.follower.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look_after_watchers(self) -> None:
        """Ask again for every token whether it still opens anything."""
        while True:
            await asyncio.sleep(settings.STREAM_CHECK_INTERVAL.total_seconds())
            by_token: dict[str, list[Watcher]] = {}
            for board in self.boards.values():
                for watcher in board.watchers:
                    if watcher.token_hash is not None:
                        by_token.setdefault(watcher.token_hash, []).append(watcher)
                    else:
                        watcher.wake.set()  # and finds whether its ticket has run out
            try:
                answers = await self._in_thread(_open_sessions, list(by_token))
            except Exception:
                logger.exception("The tokens of %d watchers cannot be checked", len(by_token))
                continue
            for token_hash, answer in answers.items():
                if isinstance(answer, Refusal):
                    for watcher in by_token[token_hash]:
                        watcher.refusal = answer
                        watcher.wake.set()

    async def _in_thread(self, call: Callable[..., R], *arguments: object) -> R:
        def called() -> R:
            close_old_connections()
            return call(*arguments)

        return await asyncio.get_running_loop().run_in_executor(self._threads, called)


def serve(*, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. aiohttp's own log would have the address with its token."""
    logs.take_over()
    web.run_app(
        Streams().application(),
        host=host,
        port=port,
        access_log=None,
        print=None,
        handler_cancellation=True,
        shutdown_timeout=0.5,
    )


# --- In a thread ---------------------------------------------------------------------------------


def _admit(uid_text: str, token: str) -> tuple[UUID, str | None]:
    """Which board it is, and the hash of the token; none of a ticket."""
    now, uid = timezone.now(), uuid_of(uid_text)
    if tickets.is_ticket(token):
        if uid is None:
            raise sessions.TokenInvalid
        tickets.check(token, uid=uid)
        return uid, None
    if not token:
        raise sessions.TokenMissing
    if not sessions.is_well_formed(token):
        raise sessions.TokenInvalid
    token_hash = hash_of(token)
    session = sessions.resume_all(token_hashes=[token_hash], now=now)[token_hash]
    if isinstance(session, Refusal):
        raise session
    if uid is None:
        raise TournamentNotFound
    return listing.visible(gamer=session.gamer, uid=uid, now=now).uid, token_hash


def _open_sessions(token_hashes: list[str]) -> dict[str, Session | Refusal]:
    return {**sessions.resume_all(token_hashes=token_hashes, now=timezone.now())}


def _standings(uid: UUID) -> tuple[Tournament.Status, dict[str, object], bytes]:
    """How it stands, what is compared, and the event that shows it."""
    # Nobody's own place: the board as a spectator sees it.
    board = leaderboard.read(
        tournament=Tournament.objects.get(uid=uid),
        gamer=Gamer(),
        limit=SHOWN,
        offset=0,
        now=timezone.now(),
    )
    body = shown_board(board)
    frame = b"event: standings\ndata: %b\n\n" % JsonRenderer().render(body)
    return board.status, {**body, "as_of": None}, frame


# --- HTTP ----------------------------------------------------------------------------------------


async def _send(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(settings.STREAM_PATIENCE.total_seconds()):
        await response.write(data)


@web.middleware
async def _in_the_contracts_words(
    request: web.Request, handler: Callable[[web.Request], Any]
) -> web.StreamResponse:
    logs.begin(request_id=_id_of(request))
    began = time.perf_counter()
    try:
        response: web.StreamResponse = await handler(request)
        _tell(request, response.status, began)
        return response
    except asyncio.CancelledError:
        _tell(request, _LEFT, began)
        raise
    except Refusal as refusal:
        answer = refusal_response(_asked_by(request), refusal)
    except web.HTTPNotFound:
        answer = refusal_response(_asked_by(request), NotFound())
    except web.HTTPException as error:
        answer = plain_response(_asked_by(request), error.status)
    except Exception:
        logger.exception("A bug, or the database is away")
        answer = plain_response(_asked_by(request), 503)
    _tell(request, answer.status_code, began)
    return web.Response(
        body=answer.content,
        status=answer.status_code,
        headers={**dict(answer.items()), **_headers_of(request)},
    )


def _tell(request: web.Request, status: int, began: float) -> None:
    """One line a request, as the web has them; of a watcher, when he leaves. Never the query."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    level = logging.DEBUG if route == "/healthz" else logging.INFO
    milliseconds = round((time.perf_counter() - began) * 1000, 1)
    told = logs.fields(method=request.method, route=route, status=status, milliseconds=milliseconds)
    logger.log(level, "request", extra=told)


def _asked_by(request: web.Request) -> HttpRequest:
    """What the error body wants to know of a request: its id."""
    asked = HttpRequest()
    asked.request_id = _id_of(request)  # type: ignore[attr-defined]  # a plain attribute of ours
    return asked


def _headers_of(request: web.Request) -> dict[str, str]:
    return {
        "Cache-Control": "no-store",
        "X-Request-ID": _id_of(request),
        # A page of the console, or a game in a browser, has another origin. Nothing is sent along
        # by a browser itself that would open anything here.
        "Access-Control-Allow-Origin": "*",
    }


def _id_of(request: web.Request) -> str:
    if "id" not in request:
        request["id"] = str(uuid7())
    known: str = request["id"]
    return known
