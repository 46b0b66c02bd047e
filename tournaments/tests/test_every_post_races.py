"""Fifty equal calls at once, and a process that dies before it has answered: one effect."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.utils import timezone

from accounts.models import Gamer
from accounts.tests.api import error_body
from accounts.tests.factories import secret_of
from accounts.tests.threads import all_at_once
from kgen.common.models import KeptAnswer
from kgen.local.processes import PROJECT
from tournaments.tests.full_game import FullGame, full_game
from tournaments.tests.posts import POSTS, Post
from wallet.models import KgenWallet, WalletTransaction

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("committed_database")]

CALLS = 50

# The application in a process of its own, which is killed when it has committed and before a byte
# of the answer is out.
DIES_BEFORE_IT_ANSWERS = """
import os, signal, sys
from django.test import RequestFactory
from kgen.wsgi import PlainRequest, application

token, client_id, secret, path = sys.argv[1:]
request = RequestFactory(SERVER_NAME="localhost").post(
    "/api/v1" + path,
    sys.stdin.buffer.read(),
    content_type="application/json",
    query_params={"token": token} if token else {},
    headers={"x-clientID": client_id, "x-clientSecret": secret, "Idempotency-Key": "k"},
)
answer = application.get_response(PlainRequest(request.environ))
assert answer.status_code in (200, 201), answer.content
os.kill(os.getpid(), signal.SIGKILL)
"""

# What each may do once.
EFFECTS: dict[str, Callable[[FullGame], Any]] = {
    "session": lambda house: Gamer.objects.filter(gamer_id="new").count(),
    "tournaments/<str:uid>/_join": lambda house: _transactions(house, "JOIN"),
    "eventing": lambda house: _transactions(house, "JOIN"),
    "rewards/_claim": lambda house: _transactions(house, "REWARD_CLAIM") / 2,  # all there are
    "verification/otp/_verify": lambda house: KgenWallet.objects.count(),
    "wallet/_withdraw": lambda house: _transactions(house, "WITHDRAW"),
}


def _transactions(house: FullGame, kind: str) -> int:
    return WalletTransaction.objects.filter(wallet=house.wallet, type=kind).count()


@pytest.fixture
def house(settings, tmp_path) -> FullGame:
    settings.SMS_OUTBOX = tmp_path / "sms.jsonl"
    return full_game(now=timezone.now(), linked=False)


def prepared(house: FullGame, route: str) -> Post:
    """The call, once those that have to come before it have been made."""
    for name, make in POSTS.items():
        post = make(house)
        if name == route:
            return post
        assert post.send(house).status_code in (200, 201)
    raise AssertionError(route)


@pytest.mark.parametrize("route", EFFECTS)
def test_fifty_equal_calls_have_one_effect(house, route):
    post = prepared(house, route)
    before = EFFECTS[route](house)

    answers = all_at_once([lambda: post.send(house, key="k")] * CALLS)

    assert EFFECTS[route](house) == before + 1
    good = [answer for answer in answers if answer.status_code in (200, 201)]
    first = [answer for answer in good if "Idempotent-Replayed" not in answer]
    assert len(first) == 1
    assert KeptAnswer.objects.filter(status=first[0].status_code).count() == 1
    others = [answer for answer in answers if answer not in good]
    assert {error_body(answer)["error"] for answer in others} <= {"REQUEST_IN_PROGRESS"}
    assert {answer["Retry-After"] for answer in others} <= {"1"}
    if route != "session":
        assert {answer.content for answer in good} == {first[0].content}


@pytest.mark.parametrize("route", ["tournaments/<str:uid>/_join", "wallet/_withdraw"])
def test_killed_before_it_answers_it_is_done_and_the_answer_is_given_again(house, route):
    post = prepared(house, route)
    before = EFFECTS[route](house)
    login = connection.settings_dict
    database = (
        f"postgres://{quote(login['USER'])}:{quote(login['PASSWORD'])}"
        f"@{login['HOST']}:{login['PORT']}/{login['NAME']}"
    )

    died = subprocess.run(  # noqa: S603 - this Python, and a program of our own
        [
            *(sys.executable, "-c", DIES_BEFORE_IT_ANSWERS, post.client(house).token or ""),
            *(house.game.client_id, secret_of(house.game), post.path),
        ],
        input=post.body,
        capture_output=True,
        cwd=PROJECT,
        check=False,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "kgen.settings_test",
            "DATABASE_URL": database,
            "REDIS_URL": django_settings.REDIS_URL,
        },
    )

    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert EFFECTS[route](house) == before + 1
    again = post.send(house, key="k")
    assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
    assert again.content == bytes(KeptAnswer.objects.get().body)
    assert EFFECTS[route](house) == before + 1
    if route == "wallet/_withdraw":
        assert orjson.loads(again.content)["earnedBalance"] == 142
