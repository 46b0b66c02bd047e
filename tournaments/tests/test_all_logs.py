"""Every address of a running platform is asked, well and badly; then its logs are read.

The processes are those of `make run`, started by the same code. What was said in secret is looked
for in all that they have written, and every line has to be one of JSON.
"""

import json
import os
import re
import secrets
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import psycopg2
import pytest
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.db import connection
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from django_otp.oath import totp

from accounts import clients
from accounts.tests.outbox import sent_to
from accounts.tests.staff import staff_user
from kgen.celery import app as celery_app
from kgen.common import logs
from kgen.common.admin import SUPPORT
from kgen.common.database_roles import owner_settings
from kgen.common.models import Authenticator
from kgen.local import processes, supervisor
from kgen.local.processes import free_port, wait_until
from tournaments.tests.factories import TournamentFactory

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("committed_database")]

REQUEST_ID = "0193c1d2-7c1e-7c55-9a3e-5f0d6b2f1a77"
SOMETHING = "7f9c2a34-1c58-4f0c-b1a1-6f0a5e0b9d11"
PROGRAMS = {"web", "worker", "beat", "stream", "signer", "metrics"}


@dataclass
class Said:
    """What must not be found again, by what it is."""

    email: str = "swift.of.the.north@example.com"
    other_email: str = "rook+test@example.co.uk"
    profile_phone: str = "+919812345670"
    national: str = "9876543210"
    phone: str = "+919876543210"
    password: str = "an-unlikely-Passphrase-77"
    wrong_password: str = "a-guess-at-the-Password-1"
    wrong_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    stray_token: str = field(default_factory=lambda: secrets.token_urlsafe(36))
    more: list[str] = field(default_factory=list)

    def all(self) -> list[str]:
        return [*(value for value in vars(self).values() if isinstance(value, str)), *self.more]


class Platform:
    """Web, worker, beat, metrics, stream and signer of `make run` on the test's own servers."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.outbox = folder / "sms.jsonl"
        self.maker = supervisor.Supervisor(host=processes.LOOPBACK, port=free_port())
        self.maker.given = {**os.environ, "SMS_OUTBOX": str(self.outbox)}
        self.maker.runtime = {"DATABASE_URL": _database_url(), "REDIS_URL": settings.REDIS_URL}
        stream = free_port()
        self.maker.runtime["STREAM_URL"] = f"http://{processes.LOOPBACK}:{stream}"
        signer = self.maker._begin_signer()
        assert signer is not None
        worker = self.maker._begin_celery("worker", "ready.", "--concurrency=1")
        beat = self.maker._begin_celery(
            "beat", "Starting", "--pidfile=", f"--schedule={folder / 'beat'}"
        )
        self.metrics = self.maker._begin_metrics()
        started = [self.maker._begin_web(), worker, beat, signer, self.maker._begin_stream(stream)]
        for child in (*started, self.metrics):
            wait_until(
                child.service.is_ready,
                process=child.process,
                name=child.service.name,
                log=child.log,
                seconds=60,
            )
        self.web = httpx.Client(base_url=self.maker.base_url, timeout=20)
        self.stream = httpx.Client(base_url=self.maker.runtime["STREAM_URL"], timeout=20)

    def figures(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.metrics.service.port}/metrics", timeout=20).text

    def whisper(self, line: bytes) -> None:
        """Say something to the signer."""
        with socket.socket(socket.AF_UNIX) as line_to_signer:
            line_to_signer.connect(self.maker.runtime["SIGNER_SOCKET"])
            line_to_signer.sendall(line + b"\n")
            line_to_signer.recv(65536)

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text()

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Each has to be JSON, and says when it was and who wrote it."""
        lines = []
        for line in self.log(name).splitlines():
            if name == "worker" and line in ("", "worker: Warm shutdown (MainProcess)"):
                continue  # Celery's signal handler may only write, not log
            assert line.startswith('{"timestamp": '), (name, line)
            lines.append(json.loads(line))
        return lines

    def stop(self) -> None:
        self.web.close()
        self.stream.close()
        for child in self.maker.children:
            child.process.send_signal(signal.SIGTERM)
        for child in self.maker.children:
            child.stop(5)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setattr(supervisor, "LOCAL", tmp_path)
    monkeypatch.setattr(supervisor, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(supervisor, "COUNTS", tmp_path / "counts")
    monkeypatch.setattr(supervisor, "RUNNING", tmp_path / "services.json")
    (tmp_path / "logs").mkdir()
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "kgen.settings")
    monkeypatch.setenv("KCASH_ADDRESS", "0x" + "0a" * 20)
    monkeypatch.setenv("SETTLEMENT_ADDRESS", "0x" + "0b" * 20)
    platform = Platform(tmp_path)
    try:
        yield platform
    finally:
        platform.stop()


def test_nothing_that_was_said_in_secret_is_written_down(platform: Platform) -> None:
    said = Said()
    game = clients.create_game(name="Game of logs", now=timezone.now())
    headers = {"x-clientID": game.game.client_id, "x-clientSecret": game.secret}
    tournament = TournamentFactory.create(now=timezone.now(), game=game.game)
    staff = _staff(said.password)
    web = platform.web

    # A session with an e-mail and a phone; one call of each kind that is refused.
    profile = {"gamer_id": "swift", "email": said.email, "phonenumber": said.profile_phone}
    session = web.post("/api/v1/session", json=profile, headers=headers).json()
    token = session["token"]
    said.more += [game.secret, token]
    wrong = {**headers, "x-clientSecret": said.wrong_secret}
    addresses = {"tournament_uid": tournament.uid, "wallet_address": session["wallet_address"]}

    asked = set()
    for method, route in api_routes():
        path = re.sub(r"<\w+:(\w+)>|<(\w+)>", lambda part: _part(part, addresses), f"/{route}")
        query = {"token": token, "around": "me"}
        bodies: list[Any] = [None]
        if method == "POST":
            bodies = [{}, {**profile, "otp": said.national, "token": said.stray_token}, [token]]
        for body in bodies:
            for sent, shown in (
                (headers, query),
                (wrong, query),
                ({**headers, "user-jwt-token": said.stray_token}, {}),
                ({**headers, "X-Request-ID": said.stray_token.replace("_", "-")}, query),
                (headers, {"token": said.stray_token, "email": said.email}),
            ):
                web.request(method, path, params=shown, json=body, headers=sent)
        asked.add((method, route))
    assert asked == set(api_routes())

    # A phone is proven, wrongly and rightly.
    typed = {"phone_number": said.national, "countryCode": "+91"}
    proof = f"/api/v1/verification/otp/_verify?token={token}"
    asked_for = web.post(
        f"/api/v1/verification/otp/_request?token={token}", json=typed, headers=headers
    )
    assert asked_for.status_code == 200, asked_for.text
    auth_code = asked_for.json()["authCode"]
    ((_, code),) = sent_to(platform.outbox)
    codes = [code, auth_code]
    for otp in ("000000", code):
        answer = web.post(proof, json={**typed, "authCode": auth_code, "otp": otp}, headers=headers)
    assert answer.status_code == 200, answer.text

    # Odd paths, which are the caller's to choose.
    for path in (f"/api/v1/{said.stray_token}", f"/nowhere/{said.email}", f"/x%0A{said.national}"):
        web.get(f"{path}?{urlencode({'token': token, 'phone': said.phone})}")

    # The console: a wrong password, a wrong code, both right; then searches by phone and e-mail.
    used = _log_in(platform, staff, said)
    codes.append(used)
    for page in console_pages():
        web.get(page, params={"q": said.other_email})
        web.get(page, params={"q": said.phone})

    # Faults whose messages are full of it, in a request and in a task.
    hidden = f"token {token} of {said.other_email}, {said.phone}, secret={game.secret}"
    _break_table("accounts_session", "INSERT", hidden)
    _break_table("accounts_sessiontoken", "DELETE", hidden)
    broken = web.post(
        "/api/v1/session",
        json={"gamer_id": "rook", "email": said.other_email},
        headers={**headers, "X-Request-ID": REQUEST_ID},
    )
    assert broken.status_code == 500
    assert broken.json()["request_id"] == REQUEST_ID
    _ask_worker("accounts.tasks.forget_expired_tokens", note=hidden)

    # A watcher's address has the token; the signer is told what is not its business.
    board = f"/leaderboards/{tournament.uid}"
    platform.stream.get(f"{board}?token={said.stray_token}")
    with platform.stream.stream("GET", f"{board}?token={token}") as standings:
        assert standings.status_code in (200, 404)
    platform.whisper(json.dumps({"verb": "sign_payout", "token": token, "to": said.phone}).encode())
    figures = platform.figures()

    wait_until(
        lambda: REQUEST_ID in platform.log("worker"),
        process=platform.maker.children[1].process,
        name="worker",
        log=platform.logs / "worker.log",
    )
    platform.stop()
    assert {file.stem for file in platform.logs.glob("*.log")} == PROGRAMS
    lines = {name: platform.lines(name) for name in PROGRAMS}
    for name in PROGRAMS:
        assert all(line["timestamp"] and line["logger"] for line in lines[name]), name
        written = platform.log(name)
        assert [secret for secret in said.all() if secret in written] == [], name
        plain = json.dumps([{**line, "timestamp": ""} for line in lines[name]])
        for one_time in codes:
            assert not re.search(rf"(?<![0-9a-f]){one_time}(?![0-9a-f])", plain), name
    assert [secret for secret in [*said.all(), *codes, "swift"] if secret in figures] == []
    assert 'kgen_requests_total{method="POST",route="api/v1/session",status="500"} 1.0' in figures

    # And yet one finds the way from the answer to the fault, and from the request to its task.
    fault, access = (line for line in lines["web"] if line.get("request_id") == REQUEST_ID)
    assert "token [hidden] of [hidden], [hidden], secret=[hidden]" in fault["exception"]
    assert (access["route"], access["status"]) == ("api/v1/session", 500)
    assert access["client"] == game.game.client_id
    failed = [line for line in lines["worker"] if line.get("request_id") == REQUEST_ID]
    assert any("[hidden]" in line.get("exception", "") for line in failed)
    assert {line["route"] for line in lines["web"] if "route" in line} >= {
        route for _, route in api_routes()
    }


def api_routes() -> list[tuple[str, str]]:
    """Method and route of everything under /api/v1/, as the URL map has it."""
    root: Any = get_resolver()
    return [
        (method.upper(), f"{prefix.pattern}{endpoint.pattern}")
        for prefix in root.url_patterns
        if str(prefix.pattern) == "api/v1/"
        for endpoint in prefix.url_patterns
        for method in endpoint.callback.actions
        if method != "head"
    ]


def console_pages() -> list[str]:
    """The lists of the console."""
    root: Any = get_resolver()
    (console,) = (one for one in root.url_patterns if str(one.pattern) == "admin/")
    return [
        f"/admin/{model.pattern}"
        for model in console.url_patterns
        if isinstance(model, URLResolver)
        and any(
            isinstance(one, URLPattern) and str(one.pattern) == "" for one in model.url_patterns
        )
    ]


def _part(match: re.Match[str], known: dict[str, Any]) -> str:
    return str(known.get(match[1] or match[2], known["tournament_uid"]))


def _database_url() -> str:
    login = connection.settings_dict
    return (
        f"postgres://{quote(login['USER'])}:{quote(login['PASSWORD'])}"
        f"@{login['HOST']}:{login['PORT']}/{login['NAME']}"
    )


def _staff(password: str) -> User:
    user = staff_user(SUPPORT, username="sam")
    # The tests' own hasher is not one of the platform's.
    user.password = PBKDF2PasswordHasher().encode(password, "salt", iterations=1000)
    user.save(update_fields=["password"])
    return user


def _log_in(platform: Platform, user: User, said: Said) -> str:
    """Try with a wrong password and a wrong code, then come in; the code that was used."""
    page = platform.web.get("/admin/login/").text
    match = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert match is not None
    seed = Authenticator.objects.get(user=user).key
    code = f"{totp(bytes.fromhex(seed)):06d}"
    for password, typed in (
        (said.wrong_password, code),
        (said.password, "000000"),
        (said.password, code),
    ):
        answer = platform.web.post(
            "/admin/login/?next=/admin/",
            data={
                "username": user.username,
                "password": password,
                "otp_token": typed,
                "csrfmiddlewaretoken": match[1],
            },
            headers={"Referer": platform.maker.base_url},
        )
    assert answer.status_code == 302, answer.text
    said.more.append(seed)
    return code


def _break_table(table: str, when: str, message: str) -> None:
    """From now on the database refuses, with a message of ours."""
    owner = owner_settings(connection.settings_dict)
    as_owner = psycopg2.connect(
        user=owner["USER"],
        password=owner["PASSWORD"],
        host=owner["HOST"],
        port=owner["PORT"],
        dbname=connection.settings_dict["NAME"],
    )
    with as_owner, as_owner.cursor() as cursor:
        cursor.execute(
            f"CREATE FUNCTION break_{table}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$BEGIN RAISE EXCEPTION '%', {_quoted(message)}; END$$;"
            f" CREATE TRIGGER broken BEFORE {when} ON {table} FOR EACH STATEMENT"
            f" EXECUTE FUNCTION break_{table}()"
        )
    as_owner.close()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _ask_worker(task: str, **arguments: str) -> None:
    """As a request asks for a task, over the real broker."""
    logs.begin(request_id=REQUEST_ID)
    try:
        with (
            celery_app.connection_for_write(settings.REDIS_URL) as broker,
            pytest.warns(UserWarning, match="task_always_eager"),  # the tests' own setting
        ):
            celery_app.send_task(task, kwargs=arguments, connection=broker)
    finally:
        logs.end()
