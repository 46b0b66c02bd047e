"""Figures for Prometheus of one-time passwords and sessions, of all games together.

Neither a game's nor a country's name is a label: both would tell who plays where.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Count, Q
from prometheus_client.core import GaugeMetricFamily

from accounts import otp_watch
from accounts.models import OtpRequest, OtpSwitch, Session
from kgen.common.metrics import gauge

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


def collect(*, now: datetime) -> Iterator[GaugeMetricFamily]:
    """What was sent and proven in the last hour, and what is left of the day's budget."""
    lately = OtpRequest.objects.filter(created_at__gt=now - _HOUR).aggregate(
        sent=Count("pk", filter=Q(undelivered_at=None)),
        refused=Count("pk", filter=Q(undelivered_at__isnull=False)),
        verified=Count("pk", filter=Q(used_at__isnull=False)),
        guessed_out=Count("pk", filter=Q(attempts__gte=settings.OTP_TRIES, used_at=None)),
    )
    yield gauge(
        "otp_last_hour",
        "One-time passwords made in the last hour, by what became of them.",
        [((outcome,), number) for outcome, number in sorted(lately.items())],
        label="outcome",
    )
    spent = OtpRequest.objects.filter(
        created_at__gt=now - _DAY, undelivered_at=None, is_free=False
    ).count()
    yield gauge(
        "otp_budget_left",
        "One-time passwords that may still be sent today.",
        [((), max(0, settings.OTP_DAILY_BUDGET - spent))],
    )
    uses, rates = otp_watch.uses(now=now), otp_watch.rates(now=now)
    alarming = sum(use.is_alarming for use in uses) + sum(rate.is_alarming for rate in rates)
    yield gauge(
        "otp_alarms", "Limits nearly used up, and shares verified too low.", [((), alarming)]
    )
    stopped = OtpSwitch.objects.filter(is_pulled=True).exists()
    yield gauge("otp_stopped", "1 while no one-time passwords are sent.", [((), stopped)])
    opened = Session.objects.filter(started_at__gt=now - _HOUR).count()
    yield gauge("sessions_last_hour", "Sessions opened in the last hour.", [((), opened)])
