"""What becomes of requests while Valkey hangs, is gone, and is back."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings

from kgen.common.api import rate_limits
from kgen.common.api.rate_limits import Bucket, Line, Resting, draw
from kgen.common.errors import Unavailable

BUCKETS = [Bucket(name="client:test", per_second=50)]


class Hanging:
    """Accepts every connection and never says a word."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"

    def calls(self) -> int:
        """How many connections were made since the last look."""
        self._listening.setblocking(False)
        made = 0
        while True:
            try:
                self._listening.accept()[0].close()
            except BlockingIOError:
                return made
            made += 1

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def hanging(settings: Any) -> Iterator[Hanging]:
    server = Hanging()
    settings.REDIS_URL = server.url
    rate_limits.connect.cache_clear()
    yield server
    rate_limits.connect.cache_clear()
    server.close()


def test_valkey_that_hangs_delays_one_request_and_not_the_next_ones(hanging):
    began = time.monotonic()
    first = draw(BUCKETS, must_count=False)
    waited = time.monotonic() - began
    others = [draw(BUCKETS, must_count=False) for _ in range(100)]
    took = time.monotonic() - began - waited

    assert [first, *others] == [(True, rate_limits.uncounted(50))] * 101
    assert 0.2 < waited < 0.6
    assert took < 0.1
    assert hanging.calls() == 1


def test_what_must_count_is_refused_at_once_while_valkey_hangs(hanging):
    with pytest.raises(Unavailable):
        draw(BUCKETS, must_count=True)
    began = time.monotonic()

    for _ in range(100):
        with pytest.raises(Unavailable):
            draw(BUCKETS, must_count=True)

    assert time.monotonic() - began < 0.1
    assert hanging.calls() == 1


def test_after_the_rest_one_of_many_threads_asks(hanging, monkeypatch):
    monkeypatch.setattr(rate_limits, "_REST_S", 0.3)
    draw(BUCKETS, must_count=False)
    hanging.calls()

    time.sleep(0.35)
    with ThreadPoolExecutor(16) as threads:
        began = time.monotonic()
        took = list(threads.map(lambda _: _timed(began), range(64)))

    assert hanging.calls() == 1
    assert sorted(took)[-2] < 0.2 < 0.25 <= max(took) < 0.6


def _timed(began: float) -> float:
    draw(BUCKETS, must_count=False)
    return time.monotonic() - began


def test_requests_are_counted_again_once_valkey_answers(monkeypatch, caplog):
    monkeypatch.setattr(rate_limits, "_REST_S", 0.05)
    real = rate_limits.connect()
    state = {"fails": True}

    def call(*, keys: list[str], args: list[int]) -> list[int]:
        if state["fails"]:
            raise redis.TimeoutError("no answer")
        return real.ask(keys=keys, args=args)

    line = Line(call)

    with pytest.raises(redis.TimeoutError):
        line.ask(keys=["rate:x"], args=[50])
    state["fails"] = False
    with pytest.raises(Resting):
        line.ask(keys=["rate:x"], args=[50])
    time.sleep(0.06)
    answers = [line.ask(keys=["rate:x"], args=[50]) for _ in range(3)]

    assert [answer[:2] for answer in answers] == [[1, 49], [1, 48], [1, 47]]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_valkey_that_was_flushed_learns_the_script_again():
    """As one that was started again: it has forgotten the script and every bucket."""
    draw(BUCKETS, must_count=True)
    with redis.Redis.from_url(django_settings.REDIS_URL) as valkey:
        valkey.script_flush()
        valkey.client_kill_filter(skipme=True)

    allowed, allowance = draw(BUCKETS, must_count=True)

    assert (allowed, allowance.limit) == (True, 50)


def test_parallel_draws_never_pass_more_than_the_limit():
    bucket = [Bucket(name="client:parallel", per_second=5)]

    with ThreadPoolExecutor(16) as threads:
        began = time.monotonic()
        passed = sum(
            allowed
            for allowed, _ in threads.map(lambda _: draw(bucket, must_count=True), range(64))
        )
        seconds = time.monotonic() - began

    assert 5 <= passed <= 5 + 5 * seconds + 1
