"""Figures for Prometheus of tournaments that wait for the clock."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, F, Min
from django.db.models.fields import DateTimeField
from django.db.models.functions import Cast
from prometheus_client.core import GaugeMetricFamily

from kgen.common.metrics import gauge, seconds
from tournaments.models import Setback, Tournament


def collect(*, now: datetime) -> Iterator[GaugeMetricFamily]:
    """What is due and since when, what stands in the way, and what goes on."""
    tournaments = Tournament.objects
    closes_at = Cast(F("ends_at") + F("grace"), output_field=DateTimeField())
    due = {
        "cancel": tournaments.short_of_entrants(now).aggregate(n=Count("pk"), at=Min("locks_at")),
        "settle": tournaments.due_to_settle(now).aggregate(n=Count("pk"), at=Min(closes_at)),
        "refund": tournaments.owing_refunds().aggregate(n=Count("pk"), at=Min("cancelled_at")),
    }
    yield gauge(
        "tournaments_due",
        "Tournaments that wait to be closed.",
        [((step,), found["n"]) for step, found in due.items()],
        label="step",
    )
    yield gauge(
        "tournaments_due_seconds",
        "How long the first of them has been due.",
        [((step,), seconds(now, found["at"])) for step, found in due.items()],
        label="step",
    )
    setbacks = Setback.objects.aggregate(n=Count("pk"), since=Min("since"))
    yield gauge("setbacks", "Tournaments whose closing has failed.", [((), setbacks["n"])])
    yield gauge(
        "setback_seconds",
        "Since when the first of them fails.",
        [((), seconds(now, setbacks["since"]))],
    )
    active = tournaments.active_at(now).count()
    yield gauge("tournaments_active", "Tournaments that gamers can see going on.", [((), active)])
