"""Whether somebody pumps SMS: limits that are nearly used up, and codes that nobody ever shows.

Staff can then pull the switch, which stops every send.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Max, Q, QuerySet

from accounts.models import Game, OtpRequest, OtpSwitch
from kgen.common.errors import Conflict

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


class AlreadySo(Conflict):
    code = "OTP_SWITCH_UNCHANGED"
    message = "One-time passwords are in that state already."


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a limit is used up."""

    of: str
    sent: int
    most: int

    @property
    def percent(self) -> int:
        return 100 * self.sent // max(self.most, 1)

    @property
    def is_alarming(self) -> bool:
        least: int = settings.OTP_ALARM_PERCENT
        return self.percent >= least


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of an hour's one-time passwords were shown to us, and so reached somebody."""

    of: str
    sent: int
    verified: int

    @property
    def percent(self) -> int:
        return 100 * self.verified // max(self.sent, 1)

    @property
    def is_alarming(self) -> bool:
        sample: int = settings.OTP_VERIFIED_SAMPLE
        least: int = settings.OTP_LEAST_VERIFIED_PERCENT
        return self.sent >= sample and self.percent < least


def uses(*, now: datetime) -> list[Use]:
    """The day's budgets, of all and of each game, and the prefixes that stand out."""
    day = _paid_for().filter(created_at__gt=now - _DAY)
    found = [Use("all games", day.count(), settings.OTP_DAILY_BUDGET)]
    names = dict(Game.objects.values_list("pk", "name"))
    by_game = day.values("game").annotate(sent=Count("pk")).order_by("-sent")
    found += [
        Use(names[row["game"]], row["sent"], settings.OTP_DAILY_BUDGET_PER_GAME) for row in by_game
    ]
    crowded = (
        _paid_for()
        .filter(created_at__gt=now - timedelta(minutes=10))
        .values("prefix_hash")
        .annotate(sent=Count("pk"), newest=Max("pk"))
    )
    most = settings.OTP_SENDS_PER_PREFIX_AND_10_MINUTES
    prefixes = [(row, Use("", row["sent"], most)) for row in crowded.order_by("-sent")[:50]]
    return found + [
        Use(_prefix_of(row["newest"]), use.sent, use.most)
        for row, use in prefixes
        if use.is_alarming
    ]


def rates(*, now: datetime) -> list[Rate]:
    """Of what was sent within an hour and can be shown no more: each country, and bad prefixes."""
    over = now - settings.OTP_LIFE
    hour = _paid_for().filter(created_at__gt=over - _HOUR, created_at__lte=over)
    sent, verified = Count("pk"), Count("pk", filter=Q(used_at__isnull=False))
    by_country = hour.values("country").annotate(sent=sent, verified=verified).order_by("-sent")
    by_prefix = (
        hour.values("prefix_hash")
        .annotate(newest=Max("pk"), sent=sent, verified=verified)
        .filter(sent__gte=settings.OTP_VERIFIED_SAMPLE)
        .order_by("-sent")
    )
    found = [Rate(row["country"] or "?", row["sent"], row["verified"]) for row in by_country]
    return found + [
        Rate(_prefix_of(row["newest"]), row["sent"], row["verified"])
        for row in by_prefix[:50]
        if Rate("", row["sent"], row["verified"]).is_alarming
    ]


def alarms(*, now: datetime) -> Iterator[str]:
    """What somebody should look at, a sentence each; none names a phone."""
    for use in uses(now=now):
        if use.is_alarming:
            yield f"One-time passwords of {use.of}: {use.sent} of {use.most} are used up."
    for rate in rates(now=now):
        if rate.is_alarming:
            yield (
                f"One-time passwords of {rate.of}: of {rate.sent} in an hour {rate.verified} were"
                " verified."
            )


def pull(*, reason: str, by: str, now: datetime) -> None:
    """Make and send none from now on; those sent before may be verified. Raises `AlreadySo`."""
    _turn(is_pulled=True, reason=reason, by=by, now=now)


def release(*, reason: str, by: str, now: datetime) -> None:
    """Send again. Raises `AlreadySo`."""
    _turn(is_pulled=False, reason=reason, by=by, now=now)


def _turn(*, is_pulled: bool, reason: str, by: str, now: datetime) -> None:
    changed = OtpSwitch.objects.exclude(is_pulled=is_pulled).update(
        is_pulled=is_pulled, reason=reason[:500], changed_by=by, changed_at=now
    )
    if not changed:
        raise AlreadySo


def _paid_for() -> QuerySet[OtpRequest]:
    return OtpRequest.objects.filter(undelivered_at=None, is_free=False)


def _prefix_of(request_id: int) -> str:
    """A prefix, of which only the hash is kept, by one of its phones: `+91987654xxxx`."""
    phone = OtpRequest.objects.get(pk=request_id).phone
    return f"{phone[:-4]}xxxx" if phone else "a prefix"
