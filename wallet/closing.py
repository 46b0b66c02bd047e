"""Closing the books of a day: a digest of its transfers, and what each unkept balance is.

Whoever rewrites history and its digests as the database's owner cannot rewrite the digests that were
told to the outside: the log has each, and `manage.py ledger_days` prints them to be kept elsewhere.
"""

import logging
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import Min
from django.db.transaction import atomic

from wallet.models import DayDigest, Transfer

logger = logging.getLogger(__name__)

# What began before midnight is long committed, or given up, by then.
LATE: Final = timedelta(hours=1)


def close_days(*, now: datetime) -> list[date]:
    """Close every day that is over and not closed yet, in order; says which."""
    closed: list[date] = []
    day = _first_open_day()
    while day is not None and day < (now - LATE).date():
        if _close(day):
            closed.append(day)
        day += timedelta(days=1)
    return closed


def lines() -> list[str]:
    """`day row_count sha256` of each closed day, oldest first: what to keep outside."""
    return [str(digest) for digest in DayDigest.objects.order_by("day")]


def differences(kept: Iterable[str]) -> list[str]:
    """Those of the lines kept outside that the ledger does not say (any more)."""
    known = set(lines())
    return [line for line in map(str.strip, kept) if line and line not in known]


def _first_open_day() -> date | None:
    last = DayDigest.objects.order_by("-day").first()
    if last is not None:
        return last.day + timedelta(days=1)
    # Once in a ledger's life; a posting id's month has the day in it, so the oldest partition is read.
    oldest: datetime | None = Transfer.objects.aggregate(oldest=Min("created_at"))["oldest"]
    return None if oldest is None else oldest.date()


def _close(day: date) -> bool:
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT ledger.close_day(%s)", [day])
        is_new: bool = cursor.fetchone()[0]
    if is_new:
        logger.info("Closed the ledger's day: %s", DayDigest.objects.get(day=day))
    return is_new
