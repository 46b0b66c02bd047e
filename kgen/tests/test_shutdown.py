"""The web server is told to end in the middle of its work."""

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest
from django.db import connection, transaction

from accounts.models import Gamer
from accounts.tests.factories import SessionFactory, secret_of, token_for
from kgen.local.processes import LOOPBACK, wait_until
from kgen.tests.servers import Web
from wallet.tests.factories import WalletFactory

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("committed_database")]

CLIENTS = 24


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    server = Web(tmp_path)
    yield server
    server.stop()


@dataclass
class Caller:
    """Asks for its balance again and again until the server is gone; keeps what it was answered."""

    web: Web
    gamer: Gamer
    token: str
    is_over: Event
    keeps_connection: bool
    answered: dict[str, int] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)

    def run(self) -> None:
        line: http.client.HTTPConnection | None = None
        while not self.is_over.is_set():
            request_id = str(uuid4())
            try:
                line = line or http.client.HTTPConnection(LOOPBACK, self.web.port, timeout=20)
                status, body = self.ask(line, "GET", "wallet/lazyChain/balance", request_id)
            except (OSError, http.client.HTTPException):
                # Refused, or closed before it was read: whether it was begun, the log will tell.
                self.torn.append(request_id)
                if line is not None:
                    line.close()
                line = None
                time.sleep(0.01)
                continue
            told = json.loads(body)  # whole, or this raises
            if "lazy_balance" not in told and told["error"] != "SERVICE_UNAVAILABLE":
                raise AssertionError((status, body))
            self.answered[request_id] = status
            if not self.keeps_connection:
                line.close()
                line = None
        if line is not None:
            line.close()

    def ask(
        self,
        line: http.client.HTTPConnection,
        method: str,
        path: str,
        request_id: str,
        body: bytes = b"",
    ) -> tuple[int, bytes]:
        headers = {
            "x-clientID": self.gamer.game.client_id,
            "x-clientSecret": secret_of(self.gamer.game),
            "X-Request-ID": request_id,
        }
        line.request(method, f"/api/v1/{path}?token={self.token}", body, headers)
        answer = line.getresponse()
        return answer.status, answer.read()


def caller_of(web: Web, gamer: Gamer, is_over: Event, *, keeps_connection: bool = True) -> Caller:
    token = token_for(SessionFactory.create(gamer=gamer))
    return Caller(web, gamer, token, is_over, keeps_connection)


def open_session(caller: Caller) -> tuple[int, bytes]:
    body = json.dumps({"gamer_id": caller.gamer.gamer_id}).encode()
    with closing(http.client.HTTPConnection(LOOPBACK, caller.web.port, timeout=20)) as line:
        return caller.ask(line, "POST", "session", "the-session", body)


def noted(web: Web) -> set[str]:
    """Ids of the requests that the server says it has answered."""
    lines = [json.loads(line) for line in web.log.read_text().splitlines() if line[:1] == "{"]
    return {
        line["request_id"]
        for line in lines
        if line.get("event") == "request" and line["path"].startswith("/api/v1/")
    }


def test_every_request_that_was_begun_gets_its_whole_answer(web):
    is_over = Event()
    with transaction.atomic():
        *gamers, waiting = (WalletFactory.create().gamer for _ in range(CLIENTS + 1))
    callers = [
        caller_of(web, gamer, is_over, keeps_connection=number % 2 == 0)
        for number, gamer in enumerate(gamers)
    ]
    web.start()
    assert web.process is not None

    with ThreadPoolExecutor(CLIENTS + 1) as threads:
        running = [threads.submit(caller.run) for caller in callers]
        try:
            wait_until(
                lambda: all(len(caller.answered) >= 3 for caller in callers),
                process=web.process,
                name="web",
                log=web.log,
            )
            with transaction.atomic():
                with connection.cursor() as cursor:
                    # A session that has to wait for another one: it is under way when the end comes.
                    cursor.execute(
                        "SELECT 1 FROM accounts_gamer WHERE id = %s FOR UPDATE", [waiting.pk]
                    )
                session = threads.submit(open_session, caller_of(web, waiting, is_over))
                time.sleep(0.5)
                # As a service manager does: to all of them. A worker may miss its parent's alone.
                os.killpg(web.process.pid, signal.SIGTERM)
                time.sleep(1)
                was_waiting = not session.done()
            status, body = session.result(timeout=20)
            ended = web.process.wait(20)
        finally:
            is_over.set()
        for one in running:
            one.result(timeout=20)

    answered = {request_id for caller in callers for request_id in caller.answered}
    assert was_waiting
    assert (status, json.loads(body)["gamer_id"]) == (200, waiting.gamer_id)
    assert ended == 0
    assert noted(web) - answered == {"the-session"}
