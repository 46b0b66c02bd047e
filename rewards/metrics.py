"""Figures for Prometheus of rewards that wait for the clock."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, Min
from prometheus_client.core import GaugeMetricFamily

from kgen.common.metrics import gauge, seconds
from rewards.models import BulkGrant, Reward


def collect(*, now: datetime) -> Iterator[GaugeMetricFamily]:
    """What is due, and since when."""
    expiring = Reward.objects.due_to_expire(now).aggregate(
        number=Count("pk"), oldest=Min("expires_at")
    )
    yield gauge("rewards_due", "Rewards that are to expire.", [((), expiring["number"])])
    yield gauge(
        "rewards_due_seconds",
        "How long the first of them has been due.",
        [((), seconds(now, expiring["oldest"]))],
    )
    files = BulkGrant.objects.filter(state=BulkGrant.State.CONFIRMED).aggregate(
        number=Count("pk"), oldest=Min("confirmed_at")
    )
    yield gauge("bulk_grants_due", "Files of rewards being granted.", [((), files["number"])])
    yield gauge(
        "bulk_grants_due_seconds",
        "How long ago the first of them was confirmed.",
        [((), seconds(now, files["oldest"]))],
    )
