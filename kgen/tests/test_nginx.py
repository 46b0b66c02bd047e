"""The configuration in `deploy/`, with Debian's nginx in front of the server of `make run`."""

import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Game
from accounts.tests.factories import GameFactory, secret_of
from kgen.local.processes import LOOPBACK, free_port
from kgen.tests.nginx import Nginx, NoNginx, binary
from kgen.tests.servers import Web

pytestmark = pytest.mark.slow

# As behind a proxy; the health of the server itself is asked for by its address.
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "kgen.settings",
    "TRUSTED_PROXIES": "1",
    "SERVED_OVER_TLS": "on",
    "ALLOWED_HOSTS": "localhost,127.0.0.1",
}
OURS = re.compile(r"[A-Za-z0-9-]{8,64}")


@pytest.fixture(scope="module", autouse=True)
def _nginx_is_here() -> None:
    try:
        binary()
    except NoNginx as why:
        pytest.skip(f"NOT TESTED: deploy/nginx/kgen.conf. {why}")


class Front:
    """nginx, and whatever it stands in front of."""

    def __init__(self, folder: Path, *, web_port: int, stream_port: int) -> None:
        self.nginx = Nginx(folder, web_port=web_port, stream_port=stream_port)

    def line(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(LOOPBACK, self.nginx.port, timeout=20, context=context)

    def ask(
        self, method: str, address: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        with closing(self.line()) as line:
            line.request(method, address, body, {"Host": "localhost", **(headers or {})})
            answer = line.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def refused(self, answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
        """Status and code of an error that has the contract's shape."""
        status, headers, raw = answer
        assert headers["content-type"] == "application/json"
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["ratelimit-limit"] == "100"
        body = json.loads(raw)
        assert set(body) == {"statusCode", "error", "message", "details", "request_id"}
        assert (body["statusCode"], body["details"]) == (status, {})
        assert body["request_id"] == headers["x-request-id"]
        assert OURS.fullmatch(body["request_id"])
        return status, body["error"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def web(folder: Path, committed_database: None) -> Iterator[Web]:
    server = Web(folder)
    try:
        yield server
    finally:
        server.stop()


def test_callers_cannot_look_like_others_nor_come_from_elsewhere(web, folder):
    game = GameFactory.create()
    web.start("--workers=1", **PRODUCTION)
    front = Front(folder, web_port=web.port, stream_port=free_port())
    front.nginx.start()
    shown = {"x-clientID": game.client_id, "x-clientSecret": secret_of(game)}
    body = b'{"gamer_id": ""}'  # refused, once the client is let in

    def status(headers: dict[str, str]) -> int:
        return front.ask("POST", "/api/v1/session", body, headers)[0]

    try:
        assert status(shown) == 400
        assert status({"x_clientID": game.client_id, "x_clientSecret": secret_of(game)}) == 401
        assert status({**shown, "x_clientID": "another", "x_client_secret": "another"}) == 400

        Game.objects.update(allowed_networks="203.0.113.0/24")
        assert status(shown) == 401
        assert status({**shown, "X-Forwarded-For": "203.0.113.9"}) == 401
        assert status({**shown, "X_Forwarded_For": "203.0.113.9"}) == 401
        assert status({**shown, "Forwarded": "for=203.0.113.9"}) == 401
        Game.objects.update(allowed_networks="127.0.0.0/8")
        assert status(shown) == 400
        assert status({**shown, "X-Forwarded-For": "203.0.113.9"}) == 400

        # What nginx says of the scheme counts, and not what the caller says.
        answer, headers, _ = front.ask(
            "GET", "/admin/login/", headers={"X-Forwarded-Proto": "http"}
        )
        assert answer == 200
        assert "max-age=31536000" in headers["strict-transport-security"]
        assert headers["server"] == "nginx"
    finally:
        front.nginx.stop()


def test_what_nginx_refuses_is_in_the_contracts_words(web, folder):
    web.start("--workers=1", "--blocking-threads=1", **PRODUCTION)
    front = Front(folder, web_port=web.port, stream_port=free_port())
    front.nginx.start()
    session = "/api/v1/session"
    try:
        mebibyte = b"x" * 2**20
        # Up to the limit it is the platform that refuses: the route's own limit, with an id of ours.
        assert front.refused(front.ask("POST", session, mebibyte)) == (413, "PAYLOAD_TOO_LARGE")
        assert front.refused(front.ask("POST", session, mebibyte + b"x")) == (
            413,
            "PAYLOAD_TOO_LARGE",
        )
        own_id = {"X-Request-ID": "my-own-id-1"}
        status, headers, _ = front.ask("POST", session, mebibyte + b"x", own_id)
        assert (status, headers["x-request-id"]) == (413, "my-own-id-1")
        unfit = {"X-Request-ID": 'a"b,c'}
        assert front.refused(front.ask("POST", session, mebibyte + b"x", unfit))[0] == 413

        long = {f"x-{number}": "x" * 7000 for number in range(3)}
        assert front.refused(front.ask("GET", session, headers=long)) == (431, "BAD_REQUEST")
        assert front.refused(front.ask("GET", session, headers={"x-one": "x" * 9000})) == (
            431,
            "BAD_REQUEST",
        )
        assert front.refused(front.ask("GET", f"{session}?x={'x' * 9000}")) == (414, "BAD_REQUEST")
        assert front.refused(front.ask("GET", "/api/v1/nothing"))[1] == "NOT_FOUND"

        with closing(http.client.HTTPConnection(LOOPBACK, front.nginx.plain_port)) as plain:
            plain.request("GET", session, headers={"Host": "localhost"})
            assert plain.getresponse().status == 404
        with closing(http.client.HTTPConnection(LOOPBACK, front.nginx.plain_port)) as plain:
            plain.request("GET", "/admin/", headers={"Host": "localhost"})
            assert plain.getresponse().getheader("Location") == "https://localhost/admin/"

        assert front.ask("GET", "/metrics")[0] == 404
        _slow_senders_keep_nobody_out(front)

        web.stop()
        away = front.ask("GET", f"{session}?token=secret-token")
        assert front.refused(away) == (502, "SERVICE_UNAVAILABLE")
        assert away[1]["retry-after"] == "1"
        assert front.refused(front.ask("GET", "/stream/leaderboards/x?token=secret-token")) == (
            502,
            "SERVICE_UNAVAILABLE",
        )
    finally:
        front.nginx.stop()

    logs = "".join(file.read_text() for file in folder.glob("*.log"))
    assert '"GET /api/v1/session" 502' in logs
    assert "secret-token" not in logs


def _slow_senders_keep_nobody_out(front: Front) -> None:
    """The server has one thread: whoever holds it would keep everybody out."""
    is_over = threading.Event()

    def send_slowly() -> None:
        with closing(front.line()) as line:
            line.connect()
            assert isinstance(line.sock, socket.socket)
            line.sock.sendall(
                b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
            )
            while not is_over.wait(0.2):
                line.sock.sendall(b"x")

    slow = [threading.Thread(target=send_slowly) for _ in range(8)]
    for thread in slow:
        thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    answers = [front.ask("GET", "/healthz")[0] for _ in range(5)]
    took = time.monotonic() - began
    is_over.set()
    for thread in slow:
        thread.join()

    assert answers == [200] * 5
    assert took < 5


class _Events(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"data: {self.path}\n\n".encode())
        self.wfile.flush()
        self.server.is_read.wait(10)  # type: ignore[attr-defined]  # set below

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


def test_events_pass_as_they_come(folder):
    upstream = HTTPServer((LOOPBACK, 0), _Events)
    upstream.is_read = threading.Event()  # type: ignore[attr-defined]  # for the handler
    serving = threading.Thread(target=upstream.serve_forever)
    serving.start()
    front = Front(folder, web_port=free_port(), stream_port=upstream.server_port)
    try:
        front.nginx.start()
        with closing(front.line()) as line:
            line.request("GET", "/stream/leaderboards/x?token=t", headers={"Host": "localhost"})
            first = line.getresponse().readline()
            upstream.is_read.set()  # type: ignore[attr-defined]  # as above
    finally:
        front.nginx.stop()
        upstream.shutdown()
        serving.join()
        upstream.server_close()

    assert first == b"data: /leaderboards/x?token=t\n"
