"""Token buckets in Valkey: all buckets of one request are asked and drawn from in one step."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from math import ceil
from threading import Lock
from typing import Final

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from kgen.common.errors import TooMany, Unavailable

logger = logging.getLogger(__name__)

# A limit that takes longer to ask than a request takes to serve is no help.
_PATIENCE_S: Final = 0.25
# After a failure nobody asks for so long: of a Valkey that hangs, requests would wait in turn.
_REST_S: Final = 1.0

# Each bucket is one number: the moment, in microseconds, when it is full again. A request moves it
# on by its share of a second, and is refused if that would be more than a second from now. Valkey's
# clock decides, so that all our processes agree.
_DRAW = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full, answer, allowed = {}, {}, 1
for i, key in ipairs(KEYS) do
  local cost = 1000000 / ARGV[i]
  full[i] = math.max(tonumber(redis.call('GET', key) or 0), now) + cost
  if full[i] - now > 1000000 + 0.001 then allowed = 0 end
end
for i, key in ipairs(KEYS) do
  local cost = 1000000 / ARGV[i]
  local wait = 0
  if allowed == 1 then
    redis.call('SET', key, string.format('%.0f', full[i]), 'PX', 2000)
  else
    wait = math.max(0, full[i] - now - 1000000)
    full[i] = full[i] - cost
  end
  local left = math.floor((1000000 - (full[i] - now)) / cost + 0.001)
  answer[#answer + 1] = math.max(0, left)
  answer[#answer + 1] = math.ceil(full[i] - now)
  answer[#answer + 1] = math.ceil(wait)
end
table.insert(answer, 1, allowed)
return answer
"""


class RateLimited(TooMany):
    code = "RATE_LIMITED"
    message = "Too many requests."


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many requests a second for one caller; as many may come at once."""

    name: str
    per_second: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit; written on every answer (contract 7)."""

    limit: int
    remaining: int
    reset: timedelta
    wait: timedelta = timedelta(0)

    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(ceil(self.reset.total_seconds())),
        }


def uncounted(limit: int = 100) -> Allowance:
    """For answers that no bucket was asked for: the caller is not known, or Valkey is away."""
    return Allowance(limit=limit, remaining=limit, reset=timedelta(0))


def draw(buckets: Sequence[Bucket], *, must_count: bool) -> tuple[bool, Allowance]:
    """Take one request from every bucket, or from none; say whether it may pass, and what is left
    of the bucket that is nearest to its end.

    Where Valkey does not answer the request passes uncounted, unless it `must_count`: then
    `Unavailable` is raised, since an uncounted guess at an OTP or at money is worse than a wait.
    """
    try:
        allowed, *numbers = connect().ask(
            keys=[f"rate:{bucket.name}" for bucket in buckets],
            args=[bucket.per_second for bucket in buckets],
        )
    except redis.RedisError:
        if must_count:
            raise Unavailable from None
        return True, uncounted(buckets[0].per_second)

    allowances = [
        Allowance(
            limit=bucket.per_second,
            remaining=numbers[3 * place],
            reset=timedelta(microseconds=numbers[3 * place + 1]),
            wait=timedelta(microseconds=numbers[3 * place + 2]),
        )
        for place, bucket in enumerate(buckets)
    ]
    return bool(allowed), max(allowances, key=lambda one: (one.wait, -one.remaining))


class Resting(redis.RedisError):
    """Valkey has failed a moment ago and is not asked just now."""


class Line:
    """The script above on this process's own connections; rests after a failure.

    After a rest one request asks, and the others go on without until that one has its answer.
    """

    def __init__(self, call: Callable[..., list[int]]) -> None:
        self._call = call
        self._lock = Lock()
        self._has_failed = False
        self._rests_until = 0.0

    def ask(self, *, keys: Sequence[str], args: Sequence[int]) -> list[int]:
        """The script's answer. Raises `redis.RedisError`, at once while the line rests."""
        if self._has_failed:
            with self._lock:
                if time.monotonic() < self._rests_until:
                    raise Resting
                self._rests_until = time.monotonic() + _REST_S
        try:
            answer = self._call(keys=keys, args=args)
        except redis.RedisError as error:
            with self._lock:
                if not self._has_failed:
                    logger.warning("Valkey does not answer (%s): nothing is counted", error)
                self._has_failed = True
                self._rests_until = time.monotonic() + _REST_S
            raise
        if self._has_failed:
            logger.warning("Valkey answers again: requests are counted")
            self._has_failed = False
        return answer


@cache
def connect() -> Line:
    """This process's line to Valkey."""
    valkey = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=_PATIENCE_S,
        socket_connect_timeout=_PATIENCE_S,
        retry=Retry(NoBackoff(), 0),  # a failure is met by going on without
    )
    return Line(valkey.register_script(_DRAW))
