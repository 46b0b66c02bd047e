"""Who stands where; reads only. The one order of the board is written here and nowhere else."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection

from accounts.models import Gamer
from tournaments import lifecycle, prizes
from tournaments.joining import NotJoined
from tournaments.models import Tournament

# The better score, then who reached it first, then who joined first, then gamer_id; seats without
# a score come last (API contract, section 1). Ascending and never null, so that one index and one
# row comparison serve it; `participation_board` is that index.
_KEYS: Final = (
    "seat.standing_key",
    "coalesce(seat.reached_at, seat.joined_at)",
    "seat.joined_at",
    "seat.tiebreak",
)
ORDER: Final = ", ".join(_KEYS)
_PLACE: Final = ", ".join(f"{key} AS place_{number}" for number, key in enumerate(_KEYS, start=1))

MOST_WINNERS: Final = 1000

# One statement, so that the page, the total and the caller's own rank are of one moment.
_BOARD = f"""
WITH board AS NOT MATERIALIZED (
    SELECT * FROM tournaments_participation AS seat
    WHERE seat.tournament_id = %(tournament)s AND seat.left_at IS NULL
), own AS (
    SELECT mine.score, mine.prize, 1 + ahead.seats AS rank
    FROM (SELECT seat.*, {_PLACE} FROM board AS seat WHERE seat.gamer_id = %(gamer)s) AS mine
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


@dataclass(frozen=True)
class Standing:
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


def read(
    *, tournament: Tournament, gamer: Gamer, limit: int, offset: int, now: datetime
) -> Leaderboard:
    """The board from `offset` on, as it is at this moment (contract 3.6)."""
    return _read(tournament, gamer=gamer, limit=limit, offset=offset, around=False, now=now)


def read_around(*, tournament: Tournament, gamer: Gamer, limit: int, now: datetime) -> Leaderboard:
    """The part of the board around the gamer, always full. Refuses with NotJoined (contract 7)."""
    board = _read(tournament, gamer=gamer, limit=limit, offset=0, around=True, now=now)
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


def _read(
    tournament: Tournament, *, gamer: Gamer, limit: int, offset: int, around: bool, now: datetime
) -> Leaderboard:
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
    return Leaderboard(
        status=tournament.status_at(now),
        standings=[
            Standing(gamer_id=gamer_id, username=username, rank=rank, score=score or 0)
            for rank, gamer_id, score, username in (row[5:] for row in rows)
            if rank is not None
        ],
        winners=_winners(tournament, offset=offset),
        total=total,
        price_pool=price_pool(tournament, stakes=stakes),
        own=own,
        as_of=now,
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
