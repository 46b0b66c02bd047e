"""How often a node has failed us, by how: counted in Valkey, since workers come and go.

The database would not do: what fails inside a transaction is rolled back with it.
"""

import logging
from functools import cache
from json import JSONDecodeError
from typing import Any, Final

import redis
import requests
from django.conf import settings

logger = logging.getLogger(__name__)

# Told as 0 until they happen. A node that answers with an error, or with what is no JSON, is
# `answer`; the others have not answered.
KINDS: Final = ("answer", "connection", "http_4xx", "http_429", "http_5xx", "timeout")

_KEY: Final = "node_errors"
_PATIENCE_S: Final = 0.25


def count(problem: Exception) -> None:
    """One more of its kind. Never raises: counting is worth no payout."""
    try:
        _valkey(settings.REDIS_URL).hincrby(_KEY, kind_of(problem), 1)
    except redis.RedisError:
        logger.warning("Valkey does not answer: a node's error is not counted")


def counts() -> dict[str, int] | None:
    """Since Valkey was last emptied; None while nobody knows."""
    try:
        found = _valkey(settings.REDIS_URL).hgetall(_KEY)
    except redis.RedisError:
        logger.warning("Valkey does not answer: the errors of nodes are not known")
        return None
    return {kind: int(found.get(kind.encode(), 0)) for kind in KINDS}


def kind_of(problem: Exception) -> str:
    if isinstance(problem, requests.HTTPError) and problem.response is not None:
        status = problem.response.status_code
        return "http_429" if status == 429 else "http_5xx" if status >= 500 else "http_4xx"
    if isinstance(problem, requests.Timeout | TimeoutError):
        return "timeout"
    if isinstance(problem, OSError) and not isinstance(problem, JSONDecodeError):
        return "connection"
    return "answer"


@cache
def _valkey(url: str) -> Any:
    return redis.Redis.from_url(url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S)
