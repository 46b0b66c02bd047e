"""Boards in play as this process saw them a moment ago: at most 0.2 s, a hard bound (contract 3.6).

A snapshot is the whole board in order, kept in memory and moved on by what has moved since: each
seat notes the transaction that moved it last (`ranking` says how). So a process asks PostgreSQL for
a board a few times a second, however many callers there are, and rank, page and places around a
caller are all of one moment. What may not be old is read from PostgreSQL itself.
"""

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection
from sortedcontainers import SortedList

from tournaments import ranking
from tournaments.models import Tournament
from tournaments.order import seat_of
from tournaments.ranking import Window

# Nobody has asked for a board: its memory is given back.
_LIFE: Final = timedelta(minutes=1)
# Of two clocks, or of two threads that read one: what looks a little newer than now is.
_AHEAD: Final = timedelta(seconds=5)


def read(
    *,
    tournament: Tournament,
    gamer_pk: int,
    limit: int,
    offset: int,
    around: bool,
    now: datetime,
) -> tuple[Window, datetime] | None:
    """The asked part of the board and the moment it is of; None where the truth has to be read.

    That is so for a board that is not in play, one with more seats than are kept, one that is being
    read for the first time, and inside of a transaction of the caller's.
    """
    oldest = settings.BOARD_SNAPSHOT_AGE
    if not oldest or connection.in_atomic_block:
        return None
    if tournament.phase != Tournament.Phase.PUBLISHED:
        return None
    snapshot = _kept.of(tournament, now=now)
    if not snapshot.is_fresh(now=now, oldest=oldest):
        return None
    return snapshot.window(gamer_pk=gamer_pk, limit=limit, offset=offset, around=around)


def forget() -> None:
    """Give back the memory of every snapshot."""
    _kept.clear()


class Snapshot:
    """One board. Its seats are read and moved under one lock; PostgreSQL is asked under another."""

    def __init__(self, tournament_pk: int) -> None:
        self.tournament_pk = tournament_pk
        self.asked_at: datetime | None = None
        self._as_of: datetime | None = None
        self._too_big_at: datetime | None = None
        self._upto = self._server = ""
        self._order: Any = SortedList()
        self._members: dict[int, tuple[int, bytes]] = {}
        self._held: set[int] = set()
        self._seats = Lock()
        self._asking = Lock()

    def __len__(self) -> int:
        return len(self._members)

    def is_fresh(self, *, now: datetime, oldest: timedelta) -> bool:
        """Bring it up to date if need be, by one caller at a time.

        From half of its life on the first who comes does so while the others go on with what there
        is; once it is over they wait.
        """
        age = self._age(now)
        if age is not None and age <= oldest / 2:
            return True
        is_over = age is None or age > oldest
        # The first time takes long on a big board: who comes meanwhile reads the truth.
        if not self._asking.acquire(blocking=is_over and self._as_of is not None):
            return not is_over
        try:
            age = self._age(now)
            if age is None or age > oldest / 2:
                self._ask(now)
            age = self._age(now)
            return age is not None and age <= oldest
        finally:
            self._asking.release()

    def window(
        self, *, gamer_pk: int, limit: int, offset: int, around: bool
    ) -> tuple[Window, datetime] | None:
        with self._seats:
            as_of, total, stakes = self._as_of, len(self._order), len(self._held)
            _, own = self._members.get(gamer_pk, (None, None))
            place = None if own is None else self._order.index(own)
            if around:
                offset = max(0, min((place or 0) - limit // 2, total - limit))
            skipped = min(offset, total)
            page = self._order[skipped : skipped + limit]
        if as_of is None:  # it has grown too big a moment ago
            return None
        window = Window(
            total=total,
            stakes=stakes,
            skipped=skipped,
            seats=[seat_of(member) for member in page],
            own_place=place,
            own_seat=None if own is None else seat_of(own),
        )
        return window, as_of

    def _age(self, now: datetime) -> timedelta | None:
        """None for what was never read, or by a clock that has been put back since."""
        if self._as_of is None or self._as_of - now > _AHEAD:
            return None
        return max(now - self._as_of, timedelta(0))

    def _ask(self, now: datetime) -> None:
        if self._too_big_at is not None and now - self._too_big_at < _LIFE:
            return
        if self._as_of is not None:
            moves = ranking.moved_since(self.tournament_pk, int(self._upto))
            # After a restart the server may stand at an earlier moment than this.
            if moves.server == self._server and not moves.are_too_many:
                with self._seats:
                    self._move(moves.rows)
                    self._upto, self._as_of = moves.upto, now
                return
        self._begin_anew(now)

    def _begin_anew(self, now: datetime) -> None:
        most = settings.BOARD_SNAPSHOT_SEATS
        found = ranking.all_seats(self.tournament_pk, most=most)
        if len(found.rows) > most:
            self._too_big_at, self._as_of = now, None
            found.rows.clear()
        members = {gamer: (seat, bytes(member)) for gamer, seat, _, member in found.rows if member}
        order = SortedList(member for _, member in members.values())
        with self._seats:
            self._held = {seat for _, seat, is_held, _ in found.rows if is_held}
            self._members, self._order = members, order
            self._upto, self._server = found.upto, found.server
            self._as_of = None if self._too_big_at == now else now

    def _move(self, rows: Iterable[tuple[int, int, bool, Any]]) -> None:
        moved = list(rows)
        for gamer, seat, is_held, member in moved:
            (self._held.add if is_held else self._held.discard)(seat)
            old = self._members.get(gamer)
            # Who has come back sits on another seat, and stays.
            if old is not None and not member and old[0] == seat:
                self._order.remove(old[1])
                del self._members[gamer]
        for gamer, seat, _, member in moved:
            if not member:
                continue
            old = self._members.get(gamer)
            if old is not None:
                self._order.remove(old[1])
            self._members[gamer] = seat, bytes(member)
            self._order.add(self._members[gamer][1])


class _Kept:
    """The snapshots of this process, the one that was asked for last at the end."""

    def __init__(self) -> None:
        self._snapshots: OrderedDict[UUID, Snapshot] = OrderedDict()
        self._lock = Lock()

    def of(self, tournament: Tournament, *, now: datetime) -> Snapshot:
        with self._lock:
            snapshot = self._snapshots.get(tournament.uid)
            if snapshot is None:
                snapshot = self._snapshots[tournament.uid] = Snapshot(tournament.pk)
                self._make_room(now)
            snapshot.asked_at = now
            self._snapshots.move_to_end(tournament.uid)
        return snapshot

    def clear(self) -> None:
        with self._lock:
            self._snapshots.clear()

    def _make_room(self, now: datetime) -> None:
        """Drop what nobody asks for any more, and the longest not asked for where all are many."""
        seats = sum(map(len, self._snapshots.values()))
        for uid, snapshot in list(self._snapshots.items())[:-1]:
            is_idle = snapshot.asked_at is None or now - snapshot.asked_at > _LIFE
            if is_idle or seats > settings.BOARD_SNAPSHOT_SEATS:
                seats -= len(snapshot)
                del self._snapshots[uid]


_kept: Final = _Kept()
