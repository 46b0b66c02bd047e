"""What the platform's lines look like, and what they can never be made to say."""

import io
import json
import logging
import logging.config
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import path

from kgen import celery as kgen_celery
from kgen.common import logs, scrubbing
from kgen.common.api import traffic
from kgen.common.api.middleware import RequestIdMiddleware
from kgen.local.processes import PROJECT

REQUEST_ID = "0193c1d2-7c1e-7c55-9a3e-5f0d6b2f1a77"


def new_token() -> str:
    return secrets.token_urlsafe(36)


class Written:
    """All lines that were logged meanwhile, as they would be written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        handler = logs.Lines(self.stream)
        handler.setFormatter(logs.formatter())
        self.handler = handler

    def text(self) -> str:
        return self.stream.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def written(monkeypatch) -> Iterator[Written]:
    monkeypatch.setenv("LOG_FORMAT", "json")
    written = Written()
    logging.getLogger().addHandler(written.handler)
    yield written
    logging.getLogger().removeHandler(written.handler)
    logs.end()


def test_a_line_says_when_what_who_and_of_which_request(written):
    logs.begin(request_id=REQUEST_ID)
    logs.bind(client="kgen_1")
    logging.getLogger("wallet.limits").warning("Wallet %s waits", 7, extra=logs.fields(amount=3))

    (line,) = written.lines()

    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "wallet.limits",
        "event": "Wallet 7 waits",
        "request_id": REQUEST_ID,
        "client": "kgen_1",
        "amount": 3,
    }


@pytest.mark.parametrize(
    "attack",
    [
        "a\nb",
        "a\r\nb",
        "\x1b[2J\x1b[31m",
        "a\u2028b",
        "a\x85b",
        "a\x0bb",
        '"}\n{"event": "forged"}',
    ],
)
def test_nothing_that_is_logged_makes_a_second_line(written, attack):
    logging.getLogger("x").warning("%s", attack, extra=logs.fields(path=attack))

    (line,) = written.lines()

    assert line["event"] == line["path"] == attack
    assert len(written.text().splitlines()) == 1
    assert written.text().isascii()
    assert "\x1b" not in written.text()


def test_a_terminal_is_not_commanded_either(monkeypatch):
    monkeypatch.setenv("LOG_FORMAT", "text")
    written = Written()
    record = logging.makeLogRecord({"msg": "a\x1b[2J\nforged", "levelname": "INFO", "name": "x"})

    written.handler.emit(record)

    assert "a\\x1b[2J\\nforged" in written.text()
    assert len(written.text().splitlines()) == 1


def test_a_trace_has_no_values_and_a_scrubbed_message(written):
    token, hidden = new_token(), "a-value-of-a-variable"

    try:
        raise ValueError(f"{hidden[:0]}token={token}, +919876543210")
    except ValueError:
        logging.getLogger("x").exception("It failed")

    (line,) = written.lines()
    assert line["exception"].splitlines()[-1] == "ValueError: token=[hidden], [hidden]"
    assert token not in written.text()
    assert "hidden = " not in written.text()


def test_what_cannot_be_formatted_is_not_printed_in_the_raw(written, capsys):
    token = new_token()

    logging.Handler.handle(
        written.handler, logging.makeLogRecord({"msg": "%d", "args": (token,), "name": "x"})
    )

    (line,) = written.lines()
    assert (line["event"], line["lost_of"]) == ("A line was lost: TypeError", "x")
    assert token not in capsys.readouterr().err


def test_fields_with_telling_names_are_hidden(written):
    logging.getLogger("x").warning("m", extra=logs.fields(otp="1", profile={"email": "x"}))

    (line,) = written.lines()
    assert (line["otp"], line["profile"]) == (scrubbing.HIDDEN, {"email": scrubbing.HIDDEN})


# --- Requests -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_request_is_one_line_without_its_query(written):
    token = new_token()

    answer = Client().get(
        f"/api/v1/rewards?token={token}&phone=9876543210", headers={"X-Request-ID": REQUEST_ID}
    )

    (line,) = (line for line in written.lines() if line["logger"] == traffic.__name__)
    line.pop("timestamp")
    assert line.pop("milliseconds") > 0
    assert line == {
        "level": "info",
        "logger": "kgen.common.api.traffic",
        "event": "request",
        "request_id": REQUEST_ID,
        "method": "GET",
        "route": "api/v1/rewards",
        "path": "/api/v1/rewards",
        "status": 401,
        "bytes": len(answer.content),
        "address": "127.0.0.1",
    }
    assert token not in written.text()


@pytest.mark.parametrize("forged", ["%0Aforged", "%0D%0Aforged", "%1B%5B2J", "%E2%80%A8forged"])
def test_no_path_forges_a_line(written, forged):
    Client().get(f"/api/v1/wallet/{forged}")

    (line,) = (line for line in written.lines() if line["logger"] == traffic.__name__)
    assert line["route"] == traffic.UNKNOWN
    assert written.text().isascii()


def test_a_token_in_a_path_is_hidden(written):
    token = new_token()

    Client().get(f"/api/v1/{token}")

    assert token not in written.text()
    assert written.lines()[-1]["path"] == "/api/v1/[hidden]"


def test_health_is_asked_too_often_to_be_told(written):
    Client().get("/healthz")

    assert written.text() == ""


def test_what_a_request_was_is_forgotten_with_it(written):
    RequestIdMiddleware(lambda request: HttpResponse())(RequestFactory().get("/"))

    assert logs.request_id() is None


def _raise_with_secrets(request):
    raise RuntimeError(request.META["HTTP_X_SECRET"])


urlpatterns = [path("api/broken", _raise_with_secrets)]


@pytest.mark.urls(__name__)
def test_a_fault_tells_no_secret(written):
    token = new_token()
    said = f"token {token} of swift@example.com, {token}"

    answer = Client(raise_request_exception=False).get(
        f"/api/broken?token={token}", headers={"X-Secret": said, "X-Request-ID": REQUEST_ID}
    )

    assert answer.status_code == 500
    fault, access = written.lines()
    assert fault["request_id"] == access["request_id"] == REQUEST_ID
    assert "RuntimeError: token [hidden] of [hidden], [hidden]" in fault["exception"]
    assert access["route"] == "api/broken"
    assert token not in written.text()
    assert "swift@example.com" not in written.text()


# --- Tasks ----------------------------------------------------------------------------------------


class _Task:
    """As Celery hands it to its signals."""

    name = "wallet.tasks.settle_tick"

    def __init__(self, **headers: str) -> None:
        self.request = type("Request", (dict,), {"is_eager": False})(headers)


def test_a_task_that_a_request_asks_for_carries_its_id(written):
    headers: dict[str, Any] = {}
    logs.begin(request_id=REQUEST_ID)
    kgen_celery.send_request_id(headers=headers)
    logs.end()

    kgen_celery.know_request_id(task_id="task-1", task=_Task(**headers))
    logging.getLogger("x").warning("within")
    kgen_celery.forget_request_id(task=_Task())
    logging.getLogger("x").warning("after")

    within, after = written.lines()
    assert (within["request_id"], within["task"]) == (REQUEST_ID, "wallet.tasks.settle_tick")
    assert "request_id" not in after


def test_a_task_of_the_clock_has_an_id_of_its_own(written):
    headers: dict[str, Any] = {}
    kgen_celery.send_request_id(headers=headers)

    kgen_celery.know_request_id(task_id="task-1", task=_Task(**headers))
    logging.getLogger("x").warning("within")

    assert headers == {}
    assert written.lines()[0]["request_id"] == "task-1"


# --- What nobody logs -----------------------------------------------------------------------------

PROGRAM = """
import logging.config, sys, threading, warnings
from kgen.common import logs
logging.config.dictConfig(logs.config(level="INFO"))
logs.take_over()
warnings.warn("phone +919876543210")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start(); thread.join()
class Late:
    def __del__(self): raise ValueError("late")
Late()
raise ValueError("token=abc and more")
"""


def test_warnings_and_uncaught_errors_are_lines_too():
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM], cwd=PROJECT, capture_output=True, text=True
    )

    assert done.stdout == ""
    warning, thread, late, uncaught = [json.loads(line) for line in done.stderr.splitlines()]
    assert (warning["logger"], "phone [hidden]" in warning["event"]) == ("py.warnings", True)
    assert thread["exception"].splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert late["exception"].splitlines()[-1] == "ValueError: late"
    assert uncaught["level"] == "critical"
    assert uncaught["exception"].splitlines()[-1] == "ValueError: token=[hidden] and more"
