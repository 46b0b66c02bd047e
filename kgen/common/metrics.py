"""Figures for Prometheus: how an app gives its own, and those that are nobody's in particular.

Each app has a `metrics.collect`, named in the setting METRICS. What it tells is read anew for each
scrape, so a restart loses nothing. No label may come from what a caller says.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import redis
from django.conf import settings
from django.db import connection
from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily

from kgen.common.models import StaffAct

logger = logging.getLogger(__name__)

# Where tasks wait for a worker, and where those are that a worker has taken.
_QUEUE: Final = "celery"
_TAKEN: Final = "unacked"
_PATIENCE_S: Final = 0.5

# As the history of staff names them.
_SIGN_INS: Final = ("login", "login_failed", "locked_out")
_HOUR: Final = timedelta(hours=1)

Labels = tuple[str, ...]
# Values by their labels, which are none where there is but one value.
Values = Sequence[tuple[Labels, float]]


def collect(*, now: datetime) -> Iterator[GaugeMetricFamily]:
    """How staff sign in, and how many tasks wait; that is left out while Valkey does not answer."""
    yield from _sign_ins(now)
    yield from _tasks()


def _sign_ins(now: datetime) -> Iterator[GaugeMetricFamily]:
    lately = StaffAct.objects.filter(name__in=_SIGN_INS, at__gt=now - _HOUR)
    found = dict(lately.order_by().values_list("name").annotate(Count("pk")))
    yield gauge(
        "staff_sign_ins_last_hour",
        "How often staff, or others in their name, tried to sign in within the last hour.",
        [((outcome,), found.get(outcome, 0)) for outcome in _SIGN_INS],
        label="outcome",
    )


def _tasks() -> Iterator[GaugeMetricFamily]:
    try:
        valkey = _valkey(settings.REDIS_URL)
        waiting, taken = valkey.llen(_QUEUE), valkey.hlen(_TAKEN)
    except redis.RedisError:
        logger.warning("Valkey does not answer: nobody knows how many tasks wait")
        return
    yield gauge("tasks_waiting", "Tasks that no worker has taken yet.", [((), waiting)])
    yield gauge("tasks_taken", "Tasks that a worker has taken and not finished.", [((), taken)])


def gauge(name: str, text: str, values: Values, *, label: str = "") -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"kgen_{name}", text, labels=[label] if label else [])
    for labels, value in values:
        family.add_metric(labels, float(value))
    return family


def seconds(now: datetime, then: datetime | None) -> float:
    """How long ago it was; nothing for what has not been."""
    return max(0.0, (now - then).total_seconds()) if then else 0.0


def rows(question: str, **parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(question, parameters or None)
        found: list[Any] = cursor.fetchall()
    return found


@cache
def _valkey(url: str) -> Any:
    return redis.Redis.from_url(url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S)
