"""Who stands where; reads only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import connection

from accounts.models import Gamer
from tournaments import lifecycle, prizes, ranking, snapshots, usernames
from tournaments.joining import NotJoined
from tournaments.models import Tournament
from tournaments.order import ORDER as ORDER
from tournaments.order import PLACE

MOST_WINNERS: Final = 1000

# One statement, so that the page, the total and the caller's own rank are of one moment.
_BOARD = f"""
WITH board AS NOT MATERIALIZED (
    SELECT * FROM tournaments_participation AS seat
    WHERE seat.tournament_id = %(tournament)s AND seat.left_at IS NULL
), own AS (
    SELECT mine.score, mine.prize, 1 + ahead.seats AS rank
    FROM (SELECT seat.*, {PLACE} FROM board AS seat WHERE seat.gamer_id = %(gamer)s) AS mine
    CROSS JOIN LATERAL (
        SELECT count(*) AS seats FROM board AS seat
        WHERE ({ORDER}) < (mine.place_1, mine.place_2, mine.place_3, mine.place_4)
    ) AS ahead
), figures AS (
    SELECT
        (SELECT count(*) FROM board) AS total,
        (
            SELECT count(*) FROM tournaments_participation
            WHERE tournament_id = %(tournament)s AND refund_posting_id IS NULL
        ) AS stakes
), shown AS (
    SELECT
        CASE WHEN %(around)s
        THEN greatest(0, least(own.rank - 1 - %(limit)s / 2, figures.total - %(limit)s))
        ELSE %(offset)s END AS skipped
    FROM figures LEFT JOIN own ON TRUE
), page AS (
    SELECT
        (SELECT skipped FROM shown) + row_number() OVER (ORDER BY {ORDER}) AS rank,
        seat.tiebreak, seat.score, seat.gamer_id
    FROM (
        SELECT * FROM board AS seat
        ORDER BY {ORDER} LIMIT %(limit)s OFFSET (SELECT skipped FROM shown)
    ) AS seat
)
SELECT
    figures.total, figures.stakes, own.rank, own.score, own.prize,
    page.rank, page.tiebreak, page.score, nullif(gamer.username, '')
FROM figures
LEFT JOIN own ON TRUE
LEFT JOIN page ON TRUE
LEFT JOIN accounts_gamer AS gamer ON gamer.id = page.gamer_id
ORDER BY page.rank
"""  # noqa: S608 - only constants are set in

_ENTRIES: Final = f"""
SELECT seat.id, seat.gamer_id, seat.tiebreak, seat.joined_at,
    seat.score, seat.reached_at, seat.applied_hash
FROM tournaments_participation AS seat
WHERE seat.tournament_id = %s AND seat.left_at IS NULL
ORDER BY {ORDER}
"""  # noqa: S608 - only a constant is set in


class Standing(NamedTuple):
    gamer_id: str
    username: str | None
    rank: int
    score: int


@dataclass(frozen=True)
class Own:
    """Where the caller stands."""

    rank: int
    score: int
    prize: int


@dataclass(frozen=True)
class Winner:
    gamer_id: str
    rank: int
    score: int
    prize: int


@dataclass(frozen=True)
class Leaderboard:
    status: Tournament.Status
    standings: list[Standing]
    winners: list[Winner]
    total: int
    price_pool: int
    own: Own | None
    as_of: datetime


@dataclass(frozen=True)
class Entry:
    """A seat as the settlement sees it; what the score rests on is None without one."""

    seat_id: int
    gamer_pk: int
    gamer_id: str
    joined_at: datetime
    score: int | None
    reached_at: datetime | None
    applied_hash: bytes | None


def entries(tournament: Tournament) -> list[Entry]:
    """Everybody who is in, in rank order."""
    with connection.cursor() as cursor:
        cursor.execute(_ENTRIES, [tournament.pk])
        return [
            Entry(seat, gamer, gamer_id, joined_at, score, reached_at, applied and bytes(applied))
            for seat, gamer, gamer_id, joined_at, score, reached_at, applied in cursor.fetchall()
        ]


def earns(score: int | None, *, sort: str) -> bool:
    """Whether a score may win. Those who earn stand before all others (contract, section 1)."""
    if score is None:
        return False
    return score > 0 or sort == Tournament.Sort.LOW


def read(
    *,
    tournament: Tournament,
    gamer: Gamer,
    limit: int,
    offset: int,
    now: datetime,
    fresh: bool = True,
) -> Leaderboard:
    """The board from `offset` on, as it is at this moment, or if not `fresh` as it was at most
    0.2 s ago; `as_of` says when (contract 3.6)."""
    asked = _Asked(limit=limit, offset=offset, around=False, fresh=fresh)
    return _read(tournament, gamer=gamer, asked=asked, now=now)


def read_around(
    *, tournament: Tournament, gamer: Gamer, limit: int, now: datetime, fresh: bool = True
) -> Leaderboard:
    """The part of the board around the gamer, always full. Refuses with NotJoined (contract 7)."""
    asked = _Asked(limit=limit, offset=0, around=True, fresh=fresh)
    board = _read(tournament, gamer=gamer, asked=asked, now=now)
    if board.own is None:
        raise NotJoined
    return board


def price_pool(tournament: Tournament, *, stakes: int) -> int:
    """The net pool, the sponsor's part too: of the `stakes` now held, or as it was settled."""
    if tournament.phase == Tournament.Phase.CANCELLED:
        return 0
    if tournament.settled_pool is not None:
        return tournament.settled_pool
    terms = lifecycle.terms_of(tournament)
    return prizes.pool_of_stakes(stakes * tournament.entry_fee, terms)


@dataclass(frozen=True)
class _Asked:
    """Which part of a board: from `offset` on, or around the caller."""

    limit: int
    offset: int
    around: bool
    fresh: bool

    @property
    def part(self) -> dict[str, Any]:
        return {"limit": self.limit, "offset": self.offset, "around": self.around}


def _read(tournament: Tournament, *, gamer: Gamer, asked: _Asked, now: datetime) -> Leaderboard:
    as_of, window = now, None
    if not asked.fresh:
        kept = snapshots.read(tournament=tournament, gamer_pk=gamer.pk, now=now, **asked.part)
        window, as_of = kept or (None, now)
    if window is None:
        window = ranking.read(tournament=tournament, gamer_pk=gamer.pk, **asked.part)
    if window is not None:
        counted = _shown(window, tournament=tournament, gamer=gamer, now=now)
    else:
        counted = _count(tournament, gamer=gamer, **asked.part)
        if counted.total >= settings.RANKED_FROM_SEATS:
            ranking.want(tournament)
    return Leaderboard(
        status=tournament.status_at(now),
        standings=counted.standings,
        winners=_winners(tournament, offset=asked.offset),
        total=counted.total,
        price_pool=price_pool(tournament, stakes=counted.stakes),
        own=counted.own,
        as_of=as_of,
    )


@dataclass(frozen=True)
class _Counted:
    standings: list[Standing]
    total: int
    stakes: int
    own: Own | None


def _count(
    tournament: Tournament, *, gamer: Gamer, limit: int, offset: int, around: bool
) -> _Counted:
    """The truth, for which PostgreSQL counts the seats before the caller's."""
    with connection.cursor() as cursor:
        cursor.execute(
            _BOARD,
            {
                "tournament": tournament.pk,
                "gamer": gamer.pk,
                "limit": limit,
                "offset": offset,
                "around": around,
            },
        )
        rows = cursor.fetchall()

    total, stakes, own_rank, own_score, own_prize = rows[0][:5]
    own = None
    if own_rank is not None:
        own = Own(rank=own_rank, score=own_score or 0, prize=int(own_prize or 0))
    return _Counted(
        standings=[
            Standing(gamer_id, username, rank, score or 0)
            for rank, gamer_id, score, username in (row[5:] for row in rows)
            if rank is not None
        ],
        total=total,
        stakes=stakes,
        own=own,
    )


def _shown(
    window: ranking.Window, *, tournament: Tournament, gamer: Gamer, now: datetime
) -> _Counted:
    """The same from the copy of a big board, with the names and the prize that it does not hold."""
    sort = Tournament.Sort(tournament.sort)
    names = usernames.read([seat.gamer_pk for seat in window.seats], now=now)
    own = None
    if window.own_place is not None and window.own_seat is not None:
        prize = None
        if tournament.phase == Tournament.Phase.COMPLETED:
            prize = tournament.participations.seated().get(gamer=gamer).prize
        own = Own(
            rank=window.own_place + 1, score=window.own_seat.score(sort), prize=int(prize or 0)
        )
    return _Counted(
        standings=[
            Standing(seat.gamer_id, names[seat.gamer_pk], rank, seat.score(sort))
            for rank, seat in enumerate(window.seats, start=window.skipped + 1)
        ],
        total=window.total,
        stakes=window.stakes,
        own=own,
    )


def _winners(tournament: Tournament, *, offset: int) -> list[Winner]:
    if tournament.phase != Tournament.Phase.COMPLETED:
        return []
    seats = tournament.participations.filter(prize__gt=0).order_by("final_rank")
    found = seats.values_list("tiebreak", "final_rank", "score", "prize")
    return [
        Winner(*values)  # type: ignore[arg-type]  # a prize never stands without rank and score
        for values in found[offset : offset + MOST_WINNERS]
    ]
