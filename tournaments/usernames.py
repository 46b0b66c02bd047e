"""What the gamers of a page are called. A page of a big board costs more in names than in places."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

# A board may be this old (contract 3.6), and so may a name on it.
_OLDEST: Final = timedelta(seconds=0.2)
_MOST_KEPT: Final = 10_000

# Several times as fast as a list of placeholders.
_READ: Final = "SELECT id, nullif(username, '') FROM accounts_gamer WHERE id = ANY(%s)"

_kept: dict[int, tuple[datetime, str | None]] = {}


def read(gamer_pks: Sequence[int], *, now: datetime) -> dict[int, str | None]:
    """The username of each gamer, None without one; those read a moment ago are not asked for."""
    found = {}
    for gamer_pk in gamer_pks:
        read_at, name = _kept.get(gamer_pk, (None, None))
        if read_at is not None and timedelta(0) <= now - read_at <= _OLDEST:
            found[gamer_pk] = name
    missing = [gamer_pk for gamer_pk in gamer_pks if gamer_pk not in found]
    if missing:
        with connection.cursor() as cursor:
            cursor.execute(_READ, [missing])
            fresh: dict[int, str | None] = dict(cursor.fetchall())
        if len(_kept) + len(fresh) > _MOST_KEPT:
            _kept.clear()
        _kept.update((gamer_pk, (now, name)) for gamer_pk, name in fresh.items())
        found |= fresh
    return found


def forget() -> None:
    """Ask for every name again."""
    _kept.clear()
