"""Accepting a score: when it counts, and which of several is the gamer's (API contract, 1 and 3.2)."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection

from accounts.models import Gamer
from kgen.common.transactions import requires_transaction
from tournaments.joining import NotJoined
from tournaments.lifecycle import TournamentNotFound, TournamentNotLive
from tournaments.models import Tournament

# The newest running total counts, by (effective time, value, hash of the event), so that any order
# of arrival ends in the same score. A rejected comparison rewrites the row as it was: that the row
# answers at all tells a late event from a gamer without a seat. The settlement holds the rows of
# all seats while it reads them; after it `final_rank` is set and nothing changes any more.
_APPLY = """
UPDATE tournaments_participation AS seat
SET (score, reached_at, applied_hash) = (
    SELECT * FROM (VALUES
        (%(value)s::bigint, %(reached_at)s::timestamptz, %(body_hash)s::bytea),
        (seat.score, seat.reached_at, seat.applied_hash)
    ) AS candidate (score, reached_at, applied_hash)
    WHERE candidate.score IS NOT NULL
    ORDER BY reached_at DESC, score DESC, applied_hash DESC
    LIMIT 1
)
WHERE seat.tournament_id = %(tournament)s AND seat.gamer_id = %(gamer)s AND seat.left_at IS NULL
RETURNING seat.final_rank
"""


@requires_transaction
def apply(
    *,
    gamer: Gamer,
    tournament_uid: UUID,
    value: int,
    stamped_at: datetime,
    body_hash: bytes,
    now: datetime,
) -> None:
    """Make `value` the gamer's running total unless a newer one is known.

    Refuses with TournamentNotFound, NotJoined and TournamentNotLive; the caller's transaction must
    end with the refusal.
    """
    tournament = Tournament.objects.filter(uid=tournament_uid, game_id=gamer.game_id).first()
    if tournament is None or not tournament.is_visible_at(now):
        raise TournamentNotFound

    reached_at = effective_time(tournament, stamped_at=stamped_at, received_at=now)
    with connection.cursor() as cursor:
        cursor.execute(
            _APPLY,
            {
                "value": value,
                "reached_at": reached_at,
                "body_hash": body_hash,
                "tournament": tournament.pk,
                "gamer": gamer.pk,
            },
        )
        row = cursor.fetchone()
    if row is None:
        raise NotJoined
    (final_rank,) = row
    if final_rank is not None or not counts(tournament, reached_at=reached_at, received_at=now):
        raise TournamentNotLive


def effective_time(
    tournament: Tournament, *, stamped_at: datetime, received_at: datetime
) -> datetime:
    """When a score counts as reached: never in the future, a little before the start is the start."""
    effective = min(stamped_at, received_at)
    early = tournament.starts_at - effective
    if timedelta(0) < early <= settings.FUTURE_CLOCK_TOLERANCE:
        return tournament.starts_at
    return effective


def counts(tournament: Tournament, *, reached_at: datetime, received_at: datetime) -> bool:
    """Whether a score of this effective time, received now, may be taken."""
    in_time = tournament.starts_at <= reached_at <= tournament.ends_at
    return in_time and tournament.takes_scores_at(received_at)
