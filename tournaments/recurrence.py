"""When a series takes place: RFC 5545 rules in the local time of a zone, as instants.

20:00 stays 20:00 by the wall clock, summer and winter. A time that the clock jumps over is taken
as far behind the jump as it would have been behind its start (02:30 becomes 03:30); of a time that
the clock shows twice the first one is taken. Whatever would then fall on, or before, a start
already given is left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from typing import Final
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from kgen.common.errors import Invalid

LONGEST_RULE: Final = 500
LEAST_PAUSE: Final = timedelta(minutes=15)
MOST_IN_HORIZON: Final = 100

_PARTS: Final = {
    "FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYMONTH", "BYWEEKNO", "BYYEARDAY",
    "BYMONTHDAY", "BYDAY", "BYHOUR", "BYMINUTE", "BYSETPOS",
}  # fmt: skip
_FREQUENCIES: Final = {"YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"}
_MOST: Final = {"INTERVAL": 1_440, "COUNT": 10_000}
_UNTIL: Final = re.compile(r"(\d{8})(?:T(\d{6})(Z?))?", re.ASCII)

# The calendar repeats every 400 years, weekdays too. A rule that never comes true is searched up to
# the last year of all: so close to it, that takes a moment and not minutes.
_SHIFT_YEARS: Final = 19 * 400


class BadRule(Invalid):
    code = "RECURRENCE_RULE_REFUSED"
    message = "This is no rule that can be followed."


@dataclass(frozen=True)
class Recurrence:
    """A rule whose first date and time of day are local to the zone."""

    rule: str
    first: datetime
    zone: ZoneInfo

    def starts(self, *, after: datetime) -> Iterator[datetime]:
        """Every start later than `after`, in order. Raises BadRule."""
        parts = _parse(self.rule)
        until = _until(parts.pop("UNTIL", None), zone=self.zone)
        # Well before, so that no change of the clock can hide one.
        near = after.astimezone(self.zone).replace(tzinfo=None) - timedelta(days=2)
        latest = after
        for local in _local_times(parts, first=self.first):
            if until is not None and local > until:
                return
            if local < near:
                continue
            start = local.replace(tzinfo=self.zone).astimezone(UTC)
            if start > latest:
                latest = start
                yield start


def refuse_absurd(recurrence: Recurrence, *, now: datetime, horizon: timedelta) -> None:
    """Refuses with BadRule what never takes place, too often, or too much at once."""
    coming = list(islice(recurrence.starts(after=now), 2 * MOST_IN_HORIZON))
    if not coming:
        raise BadRule("By this rule nothing takes place any more.")
    if any(later - earlier < LEAST_PAUSE for earlier, later in pairwise(coming)):
        raise BadRule("Two of its starts are less than 15 minutes apart.")
    if sum(start <= now + horizon for start in coming) > MOST_IN_HORIZON:
        raise BadRule(f"More than {MOST_IN_HORIZON} would be made ahead: look fewer days ahead.")


def _parse(rule: str) -> dict[str, str]:
    text = rule.strip().upper().removeprefix("RRULE:")
    if not text or len(rule) > LONGEST_RULE or not re.fullmatch(r"[A-Z0-9=;,+-]+", text, re.ASCII):
        raise BadRule("A rule looks like FREQ=WEEKLY;BYDAY=MO,FR; it has 500 characters at most.")
    parts: dict[str, str] = {}
    for part in text.removesuffix(";").split(";"):
        name, _, value = part.partition("=")
        if name not in _PARTS or name in parts or not value:
            raise BadRule(f"{part[:40]} is not understood, or stands there twice.")
        parts[name] = value

    if parts.get("FREQ") not in _FREQUENCIES:
        raise BadRule("FREQ is one of YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY and MINUTELY.")
    for name, most in _MOST.items():
        value = parts.get(name, "1")
        if not re.fullmatch(r"\d{1,5}", value, re.ASCII) or not 1 <= int(value) <= most:
            raise BadRule(f"{name} is a number from 1 to {most}.")
    if "COUNT" in parts and "UNTIL" in parts:
        raise BadRule("A rule ends by COUNT or by UNTIL, not by both.")
    if parts["FREQ"] == "MINUTELY" and int(parts.get("INTERVAL", "1")) < 15:
        raise BadRule("Every 15 minutes at most: INTERVAL is 15 or more.")
    if parts["FREQ"] in {"HOURLY", "MINUTELY"} and "BYSETPOS" in parts:
        raise BadRule("BYSETPOS goes with days and longer alone.")
    return parts


def _until(text: str | None, *, zone: ZoneInfo) -> datetime | None:
    """The last local moment that is still in; a bare date means the whole of that day."""
    if text is None:
        return None
    found = _UNTIL.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        day, clock, utc = found.groups()
        if clock is None:
            return datetime.combine(datetime.strptime(day, "%Y%m%d"), time.max)  # noqa: DTZ007 - local
        moment = datetime.strptime(day + clock, "%Y%m%d%H%M%S")  # noqa: DTZ007 - made aware below
        if utc:
            return moment.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise BadRule("UNTIL is a day like 20271231, or a time like 20271231T200000.") from None
    return moment


def _local_times(parts: dict[str, str], *, first: datetime) -> Iterator[datetime]:
    text = ";".join(f"{name}={value}" for name, value in parts.items())
    try:
        for local in rrulestr(text, dtstart=first.replace(year=first.year + _SHIFT_YEARS)):
            yield local.replace(year=local.year - _SHIFT_YEARS)
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise BadRule from error
