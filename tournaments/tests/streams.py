"""A stream's process of the test's own, and watchers who read it line by line."""

import http.client
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from django.conf import settings
from django.db import connection

from kgen.local.processes import LOOPBACK, PROJECT, end_group, free_port, start, stop, wait_until


class Stream:
    """`manage.py serve_stream` on the test's own database."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / "stream.log"
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._watchers: list[Watcher] = []

    def start(self, **changed: str) -> None:
        login = connection.settings_dict
        database = (
            f"postgres://{quote(login['USER'])}:{quote(login['PASSWORD'])}"
            f"@{login['HOST']}:{login['PORT']}/{login['NAME']}"
        )
        self.process = start(
            [sys.executable, PROJECT / "manage.py", "serve_stream", "--port", str(self.port)],
            log=self.log,
            environment={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "kgen.settings_test",
                "DATABASE_URL": database,
                "REDIS_URL": settings.REDIS_URL,
                "STREAM_INTERVAL_SECONDS": "0.05",
                "STREAM_HEARTBEAT_SECONDS": "0.2",
                "STREAM_CHECK_SECONDS": "0.1",
                **changed,
            },
        )
        wait_until(self.is_ready, process=self.process, name="stream", log=self.log)

    def is_ready(self) -> bool:
        try:
            self.watching()
        except OSError:
            return False
        return True

    def watching(self) -> int:
        """How many watch."""
        with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:  # noqa: S310 - ours
            return int(orjson.loads(answer.read())["watching"])

    def watch(self, tournament: Any, token: str) -> "Watcher":
        uid = getattr(tournament, "uid", tournament)
        watcher = Watcher(self.port, f"/leaderboards/{uid}?token={quote(token)}")
        self._watchers.append(watcher)
        return watcher

    def stop(self) -> None:
        for watcher in self._watchers:
            watcher.close()
        if self.process is not None:
            stop(self.process, signal.SIGTERM, seconds=5)
            end_group(self.process)


class Watcher:
    def __init__(self, port: int, path: str) -> None:
        self.connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
        self.connection.request("GET", path)
        self.answer = self.connection.getresponse()
        self.heartbeats = 0

    @property
    def status(self) -> int:
        return self.answer.status

    def error(self) -> dict[str, Any]:
        """The error body, without what may change."""
        body: dict[str, Any] = orjson.loads(self.answer.read())
        assert body.pop("request_id") == self.answer.getheader("X-Request-ID")
        assert body.pop("message")
        assert body.pop("statusCode") == self.status
        return body

    def event(self) -> tuple[str, Any] | None:
        """The next event; None when the stream has ended."""
        name, data = "", None
        while line := self.answer.readline():
            match line.rstrip(b"\n").split(b": ", 1):
                case [b":"]:
                    self.heartbeats += 1
                case [b"event", given]:
                    name = given.decode()
                case [b"data", given]:
                    data = orjson.loads(given)
                case [b""] if data is not None:
                    return name, data
        return None

    def standings(self) -> list[tuple[str, int, int]]:
        """Of the next event, which has to be the board: who, rank and score."""
        event = self.event()
        assert event is not None
        name, board = event
        assert name == "standings"
        return [(row["user_id"], row["rank"], row["score"]) for row in board["leaderboard"]]

    def close(self) -> None:
        self.answer.close()
        self.connection.close()
