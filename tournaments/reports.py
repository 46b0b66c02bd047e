"""How a tournament went, for those who run it; reads only."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from tournaments import leaderboard
from tournaments.models import Participation, Tournament
from wallet import prize_pools
from wallet.ledger import UnknownAccount
from wallet.prize_pools import Flows

# A report shows the time in which seats change in at most so many steps, each one of these lengths.
MOST_STEPS: Final = 48
STEPS: Final = (
    *(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30)),
    *(timedelta(hours=hours) for hours in (1, 3, 6, 12)),
    *(timedelta(days=days) for days in (1, 7, 30, 365)),
)
MOST_SCORE_STEPS: Final = 20

_SEATS: Final = """
SELECT since, count(*) FILTER (WHERE is_in), count(*) FILTER (WHERE NOT is_in)
FROM (
    SELECT date_bin(%(step)s, joined_at, %(origin)s) AS since, TRUE AS is_in
    FROM tournaments_participation WHERE tournament_id = %(tournament)s
    UNION ALL
    SELECT date_bin(%(step)s, left_at, %(origin)s), FALSE
    FROM tournaments_participation WHERE tournament_id = %(tournament)s AND left_at IS NOT NULL
) AS moves
GROUP BY since ORDER BY since
"""

# Steps of whole points, as wide as it takes for at most so many of them to hold every score.
_SCORES: Final = """
WITH seat AS NOT MATERIALIZED (
    SELECT score FROM tournaments_participation
    WHERE tournament_id = %(tournament)s AND left_at IS NULL
), range AS (
    SELECT
        count(*) FILTER (WHERE score IS NULL) AS without,
        min(score) AS lowest,
        percentile_disc(0.5) WITHIN GROUP (ORDER BY score) AS median,
        max(score) AS highest,
        (max(score) - min(score)) / %(steps)s + 1 AS width
    FROM seat
), step AS (
    SELECT (seat.score - range.lowest) / range.width AS number, count(*) AS gamers
    FROM seat CROSS JOIN range WHERE seat.score IS NOT NULL GROUP BY 1
)
SELECT range.without, range.lowest, range.median, range.highest, range.width,
    step.number, step.gamers
FROM range LEFT JOIN step ON TRUE
ORDER BY step.number
"""


@dataclass(frozen=True)
class EntryStep:
    since: datetime
    joined: int
    left: int
    seated: int
    """How many were in when the step ended."""


@dataclass(frozen=True)
class Entries:
    length: timedelta
    steps: list[EntryStep]


@dataclass(frozen=True)
class ScoreStep:
    lowest: int
    highest: int
    gamers: int


@dataclass(frozen=True)
class Scores:
    """Of those who are in, or were at the end."""

    without: int
    lowest: int | None
    median: int | None
    highest: int | None
    steps: list[ScoreStep]


@dataclass(frozen=True)
class Retention:
    """Entrants are those who are in, or were at the end.

    The game's tournaments follow one another by their start; drafts and cancelled ones are left
    out. `came_back` are entrants who were entrants of the one before, `stayed` are those who are
    entrants of the one after.
    """

    entrants: int
    before: Tournament | None
    came_back: int
    after: Tournament | None
    stayed: int


@dataclass(frozen=True)
class Money:
    flows: Flows
    """From the ledger."""
    pool: int
    """The net pool as gamers see it: as it was settled, or of what is staked now."""
    held_stakes: int
    """What the seats say: the fees of all that have not been given back."""
    prizes: int
    """What the seats say that they won."""

    @property
    def is_confirmed(self) -> bool:
        """Whether the ledger says the same as the seats and the tournament."""
        flows = self.flows
        paid_out = flows.prizes + flows.platform_rake + flows.developer_rake + flows.remainder
        held = flows.stakes - flows.refunds
        net = flows.prizes + flows.remainder
        return (
            held == self.held_stakes
            and flows.prizes == self.prizes
            and held + flows.sponsored == paid_out + flows.in_pool
            and (not paid_out or net == self.pool)
        )


@dataclass(frozen=True)
class Report:
    entries: Entries
    scores: Scores
    retention: Retention
    money: Money


def report_of(*, tournament: Tournament, now: datetime) -> Report:
    """What can be said of a tournament now; of a finished one it does not change any more."""
    return Report(
        entries=_entries(tournament, now=now),
        scores=_scores(tournament),
        retention=_retention(tournament),
        money=_money(tournament),
    )


def _entries(tournament: Tournament, *, now: datetime) -> Entries:
    first, last = tournament.lobby_at, min(tournament.locks_at, now)
    length = _length_of_step(tournament.locks_at - first)
    asked: dict[str, Any] = {"step": length, "origin": first, "tournament": tournament.pk}
    with connection.cursor() as cursor:
        cursor.execute(_SEATS, asked)
        moves = {since: (joined, left) for since, joined, left in cursor.fetchall()}
    # Steps without a move are told too; beyond the lock there are none but of disqualified seats.
    times = {first + length * number for number in range(max(0, -((first - last) // length)))}
    steps, seated = [], 0
    for since in sorted(times | moves.keys()):
        joined, left = moves.get(since, (0, 0))
        seated += joined - left
        steps.append(EntryStep(since=since, joined=joined, left=left, seated=seated))
    return Entries(length=length, steps=steps)


def _length_of_step(span: timedelta) -> timedelta:
    return next((step for step in STEPS if step * MOST_STEPS >= span), STEPS[-1])


def _scores(tournament: Tournament) -> Scores:
    with connection.cursor() as cursor:
        cursor.execute(_SCORES, {"tournament": tournament.pk, "steps": MOST_SCORE_STEPS})
        rows = cursor.fetchall()
    without, lowest, median, highest, width = rows[0][:5]
    gamers = {number: count for *_, number, count in rows if number is not None}
    return Scores(
        without=without,
        lowest=lowest,
        median=median,
        highest=highest,
        steps=[
            ScoreStep(
                lowest=lowest + number * width,
                highest=lowest + (number + 1) * width - 1,
                gamers=gamers.get(number, 0),
            )
            for number in range(max(gamers, default=-1) + 1)
        ],
    )


def _retention(tournament: Tournament) -> Retention:
    others = Tournament.objects.filter(
        game=tournament.game_id,
        phase__in=[Tournament.Phase.PUBLISHED, Tournament.Phase.COMPLETED],
    ).exclude(pk=tournament.pk)
    start = tournament.starts_at
    before = (
        others.filter(Q(starts_at__lt=start) | Q(starts_at=start, pk__lt=tournament.pk))
        .order_by("-starts_at", "-pk")
        .first()
    )
    after = (
        others.filter(Q(starts_at__gt=start) | Q(starts_at=start, pk__gt=tournament.pk))
        .order_by("starts_at", "pk")
        .first()
    )
    counted = (
        tournament.participations.seated()
        .annotate(was_before=Exists(_seats_in(before)), is_after=Exists(_seats_in(after)))
        .aggregate(
            entrants=Count("pk"),
            came_back=Count("pk", filter=Q(was_before=True)),
            stayed=Count("pk", filter=Q(is_after=True)),
        )
    )
    return Retention(before=before, after=after, **counted)


def _seats_in(tournament: Tournament | None) -> QuerySet[Participation]:
    return Participation.objects.seated().filter(
        tournament=None if tournament is None else tournament.pk, gamer=OuterRef("gamer")
    )


def _money(tournament: Tournament) -> Money:
    try:
        pool = prize_pools.pool_of(tournament_id=tournament.pk, game_id=tournament.game_id)
        flows = prize_pools.flows_of(account_id=pool.account_id)
    except UnknownAccount:
        # A draft; its pool is opened when it is published.
        flows = Flows()
    told = tournament.participations.aggregate(
        held=Count("pk", filter=Q(refund_posting_id=None)), prizes=Sum("prize", default=0)
    )
    return Money(
        flows=flows,
        pool=leaderboard.price_pool(tournament, stakes=told["held"]),
        held_stakes=told["held"] * tournament.entry_fee,
        prizes=int(told["prizes"]),
    )
