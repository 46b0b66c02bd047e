"""Tournaments that come again: each date of a series is made ahead of time, and made once.

A series' row is locked while its dates are made, and the database takes one tournament for each
date of a series and no second one.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import transaction

from kgen.common.errors import Conflict, Invalid, Refusal
from tournaments import lifecycle, prizes, recurrence
from tournaments.models import Series, Tournament
from tournaments.recurrence import Recurrence

logger = logging.getLogger(__name__)

# As many made tournaments wait for their start, whatever the horizon is.
MOST_AHEAD: Final = 20
LONGEST_TITLE: Final = 200
# Whatever else changes, these say on which dates it takes place.
WHEN: Final = ("rule", "time_zone", "first_date", "start_time")
PLACEHOLDERS: Final = ("{date}", "{time}", "{number}")


class BadTitle(Invalid):
    code = "SERIES_TITLE_REFUSED"
    message = "A title may hold {date}, {time} and {number}, and no other braces."


class AlreadyStopped(Conflict):
    code = "SERIES_ALREADY_STOPPED"
    message = "The series has been stopped before."


class AlreadyRunning(Conflict):
    code = "SERIES_ALREADY_RUNNING"
    message = "The series is running."


def recurrence_of(series: Series) -> Recurrence:
    return Recurrence(rule=series.rule, first=series.first_at, zone=series.zone)


def next_dates(series: Series, *, now: datetime, most: int = 5) -> list[datetime]:
    """The dates to be made next. Raises recurrence.BadRule."""
    return list(islice(_coming(series, now=now), most))


@transaction.atomic
def create(*, now: datetime, **fields: Any) -> Series:
    """Set a series up; its tournaments are made from the next sweep on.

    Refuses with recurrence.BadRule, BadTitle, RiseOfLowScores and
    PrizeTableWrong.
    """
    series = Series(**fields, created_at=now, updated_at=now)
    _look_ahead(series, now=now)
    series.save(force_insert=True)
    return series


@transaction.atomic
def change(*, pk: int, fields: Mapping[str, Any], now: datetime) -> Series:
    """Change what is yet to be made; tournaments made already stay as they are.

    Another rule holds from the day after the newest one made. Refuses as `create` does.
    """
    series = Series.objects.select_for_update(of=("self",)).get(pk=pk)
    series.made_through = made_through_under(series, fields)
    for name, value in fields.items():
        setattr(series, name, value)
    _look_ahead(series, now=now)
    series.updated_at = now
    series.save()
    return series


def made_through_under(series: Series, fields: Mapping[str, Any]) -> datetime | None:
    """Up to when nothing more is made once these fields are set.

    A day with a tournament by the old rule gets none by the new one, where eight o'clock becomes
    nine.
    """
    is_same = all(getattr(series, name) == fields.get(name, getattr(series, name)) for name in WHEN)
    if series.made_through is None or is_same:
        return series.made_through
    last_day = series.made_through.astimezone(series.zone).date()
    return datetime.combine(last_day, time.max, tzinfo=series.zone).astimezone(UTC)


@transaction.atomic
def stop(*, pk: int, now: datetime) -> Series:
    """Make no more; what is made already stays. Refuses with AlreadyStopped."""
    series = Series.objects.select_for_update(of=("self",)).get(pk=pk)
    if not series.is_active:
        raise AlreadyStopped

    series.is_active = False
    series.updated_at = now
    series.save()
    return series


@transaction.atomic
def resume(*, pk: int, now: datetime) -> Series:
    """Go on with the next date from now on. Refuses with AlreadyRunning."""
    series = Series.objects.select_for_update(of=("self",)).get(pk=pk)
    if series.is_active:
        raise AlreadyRunning

    series.is_active = True
    series.next_at = next(_coming(series, now=now), None)
    series.updated_at = now
    series.save()
    return series


def carry_on(*, pk: int, now: datetime) -> list[Tournament]:
    """Make what is due and publish what is to be published; returns what was made.

    What stands in the way is kept on the series for staff, and tried again by the next sweep.
    """
    try:
        made = make_due(pk=pk, now=now)
        problem = _publish_waiting(pk=pk, now=now)
    except Exception as error:
        if not isinstance(error, Refusal):
            logger.exception("series %s: could not carry on", pk)
        made, problem = [], f"{type(error).__name__}: {error}"
    Series.objects.filter(pk=pk).exclude(problem=problem[:1000]).update(problem=problem[:1000])
    return made


@transaction.atomic
def make_due(*, pk: int, now: datetime) -> list[Tournament]:
    """Draft a tournament for each date within the horizon, in order, each date once.

    Dates that are past, because nobody made them in time, are left out.
    """
    series = Series.objects.select_for_update(of=("self",)).get(pk=pk)
    if not series.is_active:
        return []

    ahead = (
        series.tournaments.filter(starts_at__gt=now)
        .exclude(phase=Tournament.Phase.CANCELLED)
        .count()
    )
    made: list[Tournament] = []
    series.next_at = None
    for starts_at in _coming(series, now=now):
        if starts_at > series.makes_until(now) or ahead + len(made) >= MOST_AHEAD:
            series.next_at = starts_at
            break
        series.made_count += 1
        made.append(_draft(series, starts_at=starts_at, now=now))
    if made:
        series.made_through = made[-1].made_for
    series.save(update_fields=["next_at", "made_count", "made_through"])
    return made


def _draft(series: Series, *, starts_at: datetime, now: datetime) -> Tournament:
    draft = lifecycle.create_like(
        series,
        game=series.game,
        title=title_of(series, starts_at=starts_at, number=series.made_count),
        schedule=schedule_of(series, starts_at=starts_at),
        now=now,
    )
    draft.series = series
    draft.made_for = starts_at
    draft.publishes_itself = series.publishes
    draft.save(update_fields=["series", "made_for", "publishes_itself"])
    return draft


def title_of(series: Series, *, starts_at: datetime, number: int) -> str:
    """The title with its placeholders filled in, in local time. Refuses with BadTitle."""
    if re.search(r"[{}]", re.sub("|".join(map(re.escape, PLACEHOLDERS)), "", series.title)):
        raise BadTitle
    local = starts_at.astimezone(series.zone)
    values = (f"{local:%Y-%m-%d}", f"{local:%H:%M}", str(number))
    title = series.title
    for placeholder, value in zip(PLACEHOLDERS, values, strict=True):
        title = title.replace(placeholder, value)
    if len(title) > LONGEST_TITLE:
        raise BadTitle("With everything filled in, the title is longer than 200 characters.")
    return title


def schedule_of(series: Series, *, starts_at: datetime) -> lifecycle.Schedule:
    """The times of one date; its length is real time, whatever the clocks do meanwhile."""
    ends_at = starts_at + timedelta(minutes=series.length_minutes)
    return lifecycle.Schedule(
        schedules_at=starts_at - timedelta(minutes=series.shown_minutes),
        lobby_at=starts_at - timedelta(minutes=series.lobby_minutes),
        starts_at=starts_at,
        locks_at=ends_at - timedelta(minutes=series.lock_minutes),
        ends_at=ends_at,
        grace=series.grace,
    )


def zone_named(name: str) -> ZoneInfo | None:
    """The time zone of an IANA name, if there is one."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # the first where no such file is found
        return None


def _coming(series: Series, *, now: datetime) -> Iterator[datetime]:
    after = max(now, series.made_through) if series.made_through else now
    return recurrence_of(series).starts(after=after)


def refuse_wrong(series: Series, *, now: datetime) -> None:
    """Refuses with recurrence.BadRule, BadTitle, RiseOfLowScores and PrizeTableWrong."""
    recurrence.refuse_absurd(
        recurrence_of(series), now=now, horizon=timedelta(days=series.horizon_days)
    )
    title_of(series, starts_at=now, number=10**9)
    if series.minute_ceiling is not None and series.sort == Series.Sort.LOW:
        raise lifecycle.RiseOfLowScores
    terms = lifecycle.terms_of_format(series, rake_percent=series.game.rake_percent)
    prizes.refuse_unpayable(terms)


def _look_ahead(series: Series, *, now: datetime) -> None:
    refuse_wrong(series, now=now)
    series.next_at = next(_coming(series, now=now), None)


def _publish_waiting(*, pk: int, now: datetime) -> str:
    """Publish the drafts that are to publish themselves; returns what kept the first one back."""
    waiting = Tournament.objects.filter(
        series_id=pk,
        publishes_itself=True,
        phase=Tournament.Phase.PREPARATION,
        locks_at__gt=now,
    )
    for draft in waiting.order_by("starts_at"):
        try:
            lifecycle.publish(uid=draft.uid, now=now)
        except lifecycle.AlreadyPublished:
            continue  # By somebody else, a moment ago: what was wanted.
        except Refusal as refusal:
            return f"{draft} is a draft still: {refusal}"
    return ""
