"""Bytes that no honest client sends, to the web server of `make run` itself."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.db import transaction

from accounts.models import Gamer
from accounts.tests.factories import SessionFactory, secret_of, token_for
from kgen.local.processes import LOOPBACK
from kgen.tests.servers import Web
from wallet.tests.factories import WalletFactory

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("committed_database")]

KIB = 1024
# Refused by the server before any of our code: it closes, or answers without a body.
CLOSED = 0


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    server = Web(tmp_path)
    server.start()
    yield server
    server.stop()


def answer_to(web: Web, request: bytes, *, is_cut: bool) -> tuple[int, bytes]:
    """Status and body of the one answer; `CLOSED` where the server hangs up without any."""
    with closing(socket.create_connection((LOOPBACK, web.port), timeout=20)) as line:
        line.sendall(request)
        if is_cut:
            line.shutdown(socket.SHUT_WR)
        said = b""
        try:
            while part := line.recv(64 * KIB):
                said += part
        except ConnectionResetError:
            pass
    if not said:
        return CLOSED, b""
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def test_every_answer_is_a_refusal_in_our_words_or_the_servers_own_and_none_a_fault(web):
    with transaction.atomic():
        gamer: Gamer = WalletFactory.create(earned=100).gamer
    token = token_for(SessionFactory.create(gamer=gamer)).encode()
    known = (
        f"x-clientID: {gamer.game.client_id}\r\nx-clientSecret: {secret_of(gamer.game)}\r\n"
        f"Host: {LOOPBACK}\r\nConnection: close\r\n"
    ).encode()

    def post(path: bytes, headers: bytes, body: bytes = b"") -> bytes:
        return b"POST /api/v1/%b?token=%b HTTP/1.1\r\n%b%b\r\n%b" % (
            path, token, known, headers, body,
        )  # fmt: skip

    def get(path: bytes, headers: bytes = b"") -> bytes:
        return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (path, known, headers)

    def chunks(body: bytes, size: int = 16 * KIB) -> bytes:
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    chunked = b"Transfer-Encoding: chunked\r\n"
    balance = b"/api/v1/wallet/lazyChain/balance?token=%b" % token
    asked = {
        # A body in chunks is a body, of the same size at most.
        "chunks": (post(b"rewards/_claim", chunked, chunks(b'{"reward_ids":["x"]}')), 404),
        "chunks of 64 KiB": (post(b"rewards/_claim", chunked, chunks(b" " * 64 * KIB)), 400),
        "chunks beyond": (post(b"rewards/_claim", chunked, chunks(b" " * (64 * KIB + 1))), 413),
        "chunks far beyond": (post(b"rewards/_claim", chunked, chunks(b" " * 1500 * KIB)), 413),
        "chunks and a length": (
            post(
                b"rewards/_claim", b"Content-Length: 2\r\n" + chunked, chunks(b'{"reward_ids":1}')
            ),
            400,
        ),
        "chunk of no size": (post(b"rewards/_claim", chunked, b"zz\r\n{}\r\n0\r\n\r\n"), 400),
        "chunks cut off": (post(b"rewards/_claim", chunked, b'20\r\n{"reward_ids":'), 400),
        "other coding": (post(b"rewards/_claim", b"Transfer-Encoding: gzip\r\n", b"{}"), CLOSED),
        "two lengths": (
            post(b"rewards/_claim", b"Content-Length: 2\r\nContent-Length: 3\r\n", b"{}"),
            CLOSED,
        ),
        "length below 0": (post(b"rewards/_claim", b"Content-Length: -2\r\n", b"{}"), CLOSED),
        "length cut off": (post(b"rewards/_claim", b"Content-Length: 20\r\n", b"{}"), 400),
        # Paths and queries.
        "NUL in the path": (get(b"/api/v1/a\x00b"), CLOSED),
        "NUL, written": (get(b"/api/v1/a%00b"), 404),
        "no UTF-8 in the path": (get(b"/api/v1/%ff%c3"), 404),
        "no UTF-8, bare": (get(b"/api/v1/\xff"), CLOSED),
        "NUL for a token": (get(b"/api/v1/wallet/lazyChain/balance?token=%00"), 401),
        "no UTF-8 for a token": (get(b"/api/v1/wallet/lazyChain/balance?token=%ff"), 401),
        "long query": (get(b"/api/v1/rewards?token=" + b"x" * 8_000), 401),
        # Headers.
        "latin": (get(balance, b"X-Request-ID: \xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\r\n"), 200),
        "NUL in a header": (get(balance, b"X-Thing: a\x00b\r\n"), CLOSED),
        "line feed in a header": (get(balance, b"X-Thing: a\nX-Evil: 1\r\n"), 200),
        "header without a colon": (get(balance, b"X-Thing\r\n"), CLOSED),
        "long header": (get(balance, b"X-Thing: " + b"x" * 15 * KIB + b"\r\n"), 200),
        "foreign host": (get(balance).replace(LOOPBACK.encode(), b"evil.example"), 400),
        "host that is none": (get(balance).replace(LOOPBACK.encode(), b"a b\\"), 400),
        "unknown method": (get(balance).replace(b"GET", b"FETCH", 1), 405),
        "no HTTP": (b"\x16\x03\x01\x02\x00", CLOSED),
    }

    found = {
        name: answer_to(web, request, is_cut=name.endswith("cut off"))
        for name, (request, _) in asked.items()
    }

    told = {name: (status, body[:200]) for name, (status, body) in found.items()}
    for status, body in found.values():
        if status >= 400 and body:
            assert json.loads(body)["statusCode"] == status, told
    statuses = {name: status if body else CLOSED for name, (status, body) in found.items()}
    assert statuses == {name: wanted for name, (_, wanted) in asked.items()}
    assert not [name for name, (status, _) in found.items() if status >= 500]
    assert web.is_ready()
