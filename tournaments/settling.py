"""The end of a tournament: final ranks, prizes, and the money to where it belongs, once."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from kgen.common.errors import Invalid
from kgen.common.identifiers import uuid7
from rewards import granting
from tournaments import leaderboard, lifecycle, prizes, results
from tournaments.leaderboard import Entry
from tournaments.models import Tournament
from tournaments.prizes import Distribution
from wallet import prize_pools

_LOCK_SEATS = """
SELECT FROM tournaments_participation WHERE tournament_id = %s ORDER BY id FOR UPDATE
"""

_WRITE_RESULTS = """
UPDATE tournaments_participation AS seat
SET final_rank = result.rank, prize = result.prize
FROM unnest(%s::bigint[], %s::numeric[]) WITH ORDINALITY AS result (id, prize, rank)
WHERE seat.id = result.id
"""


class NotOver(Invalid):
    code = "TOURNAMENT_IS_NOT_OVER"
    message = "The tournament's time is not over yet."


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

    entries = _final_entries(tournament)
    stakes = tournament.participations.held().count() * tournament.entry_fee
    split = split_among(tournament, entries, stakes=stakes)
    if split is None:
        lifecycle.cancel(tournament, now=now)
        return tournament

    _write_results(entries, split)
    results.keep(tournament, entries, split, stakes=stakes, now=now)
    _pay(tournament, entries, split, now=now)
    return tournament


def split_among(
    tournament: Tournament, entries: Sequence[Entry], *, stakes: int
) -> Distribution | None:
    """What becomes of the stakes if it ends like this; None where everybody is given them back."""
    earning = sum(leaderboard.earns(entry.score, sort=tournament.sort) for entry in entries)
    if not earning or len(entries) < tournament.min_registration_start_limit:
        return None
    return prizes.distribute(
        terms=lifecycle.terms_of(tournament),
        stakes=stakes,
        entrants=len(entries),
        earning=earning,
    )


def _final_entries(tournament: Tournament) -> list[Entry]:
    """The board in rank order, which no score can change until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_SEATS, [tournament.pk])
    return leaderboard.entries(tournament)


def _write_results(entries: Sequence[Entry], split: Distribution) -> None:
    losers = len(entries) - len(split.prizes)
    with connection.cursor() as cursor:
        cursor.execute(
            _WRITE_RESULTS,
            [
                [entry.seat_id for entry in entries],
                [*split.prizes, *[0] * losers],
            ],
        )


def _pay(
    tournament: Tournament, entries: Sequence[Entry], split: Distribution, *, now: datetime
) -> None:
    finish_posting_id = uuid7()
    winners = list(zip(entries, split.prizes, strict=False))
    granting.record_prizes(
        game_id=tournament.game_id,
        tournament_uid=tournament.uid,
        tournament_title=tournament.title,
        prizes=[(entry.gamer_pk, prize) for entry, prize in winners],
        now=now,
    )
    lifecycle.complete(
        tournament,
        pool=split.pool,
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
            prizes=[(wallets[entry.gamer_pk], prize) for entry, prize in winners],
            platform=split.platform_rake,
            developer=split.developer_rake,
            remainder=split.remainder,
        )
