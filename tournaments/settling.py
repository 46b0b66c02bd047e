"""The end of a tournament: final ranks, prizes, and the money to where it belongs, once."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from kgen.common.errors import Invalid
from kgen.common.identifiers import uuid7
from rewards import granting
from tournaments import leaderboard, lifecycle, prizes
from tournaments.models import Tournament
from wallet import prize_pools

_LOCK_SEATS = """
SELECT FROM tournaments_participation WHERE tournament_id = %s ORDER BY id FOR UPDATE
"""

_STANDINGS = f"""
SELECT seat.id, seat.gamer_id, seat.score
FROM tournaments_participation AS seat
WHERE seat.tournament_id = %s AND seat.left_at IS NULL
ORDER BY {leaderboard.ORDER}
"""  # noqa: S608 - only a constant is set in

_WRITE_RESULTS = """
UPDATE tournaments_participation AS seat
SET final_rank = result.rank, prize = result.prize
FROM unnest(%s::bigint[], %s::numeric[]) WITH ORDINALITY AS result (id, prize, rank)
WHERE seat.id = result.id
"""


class NotOver(Invalid):
    code = "TOURNAMENT_IS_NOT_OVER"
    message = "The tournament's time is not over yet."


@dataclass(frozen=True)
class _Standing:
    seat_id: int
    gamer_id: int
    score: int | None


@transaction.atomic
def settle(*, uid: UUID, now: datetime) -> Tournament:
    """Rank the gamers, pay the pool out as rewards to claim, and complete the tournament.

    Without a single score above zero it is cancelled instead; refunds follow. A tournament that is
    completed or cancelled already stays as it is. Refuses with TournamentNotFound and NotOver.
    """
    tournament = lifecycle.locked(uid=uid)
    if tournament.phase in {Tournament.Phase.COMPLETED, Tournament.Phase.CANCELLED}:
        return tournament
    if tournament.status_at(now) != Tournament.Status.REWARDS:
        raise NotOver

    standings = _final_standings(tournament)
    earning = sum(_earns(tournament, standing) for standing in standings)
    if not earning or len(standings) < tournament.min_registration_start_limit:
        lifecycle.cancel(tournament, now=now)
        return tournament

    distribution = prizes.distribute(
        terms=lifecycle.terms_of(tournament),
        stakes=tournament.participations.held().count() * tournament.entry_fee,
        entrants=len(standings),
        earning=earning,
    )
    _write_results(standings, distribution)
    _pay(tournament, standings, distribution, now=now)
    return tournament


def _earns(tournament: Tournament, standing: _Standing) -> bool:
    """Those who earn stand before all others; where the lowest score wins, any score earns."""
    if standing.score is None:
        return False
    return standing.score > 0 or tournament.sort == Tournament.Sort.LOW


def _final_standings(tournament: Tournament) -> list[_Standing]:
    """The board in rank order, which no score can change until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_SEATS, [tournament.pk])
        cursor.execute(_STANDINGS, [tournament.pk])
        return [_Standing(*row) for row in cursor.fetchall()]


def _write_results(standings: list[_Standing], distribution: prizes.Distribution) -> None:
    losers = len(standings) - len(distribution.prizes)
    with connection.cursor() as cursor:
        cursor.execute(
            _WRITE_RESULTS,
            [
                [standing.seat_id for standing in standings],
                [*distribution.prizes, *[0] * losers],
            ],
        )


def _pay(
    tournament: Tournament,
    standings: list[_Standing],
    distribution: prizes.Distribution,
    *,
    now: datetime,
) -> None:
    finish_posting_id = uuid7()
    winners = list(zip(standings, distribution.prizes, strict=False))
    granting.record_prizes(
        game_id=tournament.game_id,
        tournament_uid=tournament.uid,
        tournament_title=tournament.title,
        prizes=[(standing.gamer_id, prize) for standing, prize in winners],
        now=now,
    )
    lifecycle.complete(
        tournament,
        pool=distribution.pool,
        rewarded=len(winners),
        finish_posting_id=finish_posting_id,
        now=now,
    )
    if tournament.entry_fee > 0 or tournament.sponsor_contribution > 0:
        winning = tournament.participations.filter(prize__gt=0)
        wallets = dict(winning.values_list("gamer_id", "gamer__wallet"))
        prize_pools.distribute(
            pool=prize_pools.pool_of(tournament_id=tournament.pk, game_id=tournament.game_id),
            reference=finish_posting_id,
            prizes=[(wallets[standing.gamer_id], prize) for standing, prize in winners],
            platform=distribution.platform_rake,
            developer=distribution.developer_rake,
            remainder=distribution.remainder,
        )
