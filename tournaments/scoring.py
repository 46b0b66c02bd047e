"""Accepting a score: when it counts, and which of several is the gamer's (API contract, 1, 3.2, 7).

Under LATEST the newest running total counts, the greatest by (effective time, value, hash of the
event); under BEST the best value, and of equal ones the earliest; under SUM all values together.
Each is the same for any order of arrival.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection

from accounts.models import Gamer
from kgen.common.money import LARGEST_AMOUNT_IN_JSON
from kgen.common.transactions import requires_transaction
from tournaments.joining import NotJoined
from tournaments.lifecycle import TournamentNotFound, TournamentNotLive
from tournaments.models import Participation, QuarantinedScore, ScoreMinute, Tournament

Rule = Tournament.ScoreRule
Reason = QuarantinedScore.Reason

# Of the score that came and the one that stands, the one that counts.
_CHOICE: Final = """
    SELECT {total}, reached_at, applied_hash, {total} * %(sign)s::bigint
    FROM (VALUES
        (%(value)s::bigint, %(reached_at)s::timestamptz, %(body_hash)s::bytea),
        (seat.score, seat.reached_at, seat.applied_hash)
    ) AS candidate (score, reached_at, applied_hash)
    WHERE candidate.score IS NOT NULL
    ORDER BY {order}
    LIMIT 1
"""
_SUM: Final = "(coalesce(seat.score, 0) + %(value)s::bigint)"
_CHOICES: Final[Mapping[str, str]] = {
    Rule.LATEST: _CHOICE.format(
        total="score", order="reached_at DESC, score DESC, applied_hash DESC"
    ),
    Rule.BEST: _CHOICE.format(
        total="score", order="score * %(sign)s::bigint, reached_at, applied_hash"
    ),
    Rule.SUM: _CHOICE.format(total=_SUM, order="reached_at DESC, applied_hash DESC"),
}

# A rejected comparison rewrites the row as it was: that the row answers at all tells a late event
# from a gamer without a seat. The settlement holds the rows of all seats while it reads them; after
# it `final_rank` is set and nothing changes any more. A sum that is too large finds no row.
_APPLY: Final[Mapping[str, str]] = {
    rule: f"""
UPDATE tournaments_participation AS seat
SET (score, reached_at, applied_hash, standing_key) = ({choice})
WHERE seat.tournament_id = %(tournament)s AND seat.gamer_id = %(gamer)s AND seat.left_at IS NULL
{f"AND {_SUM} <= {LARGEST_AMOUNT_IN_JSON}" if rule == Rule.SUM else ""}
RETURNING seat.final_rank
"""  # noqa: S608 - only constants are set in
    for rule, choice in _CHOICES.items()
}


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
    """Let a value count for the gamer's score as the tournament's rule has it.

    One above a ceiling of the tournament is quarantined for review instead. Refuses with
    TournamentNotFound, NotJoined and TournamentNotLive; the caller's transaction must end with the
    refusal. It must not come twice for one event: a sum would take it twice.
    """
    tournament = Tournament.objects.filter(uid=tournament_uid, game_id=gamer.game_id).first()
    if tournament is None or not tournament.is_visible_at(now):
        raise TournamentNotFound

    reached_at = effective_time(tournament, stamped_at=stamped_at, received_at=now)
    is_live = counts(tournament, reached_at=reached_at, received_at=now)
    reason = _above_ceiling(
        tournament, gamer, value=value, reached_at=reached_at, is_counted=is_live
    )
    if reason is None and not write(
        tournament, gamer, value=value, reached_at=reached_at, body_hash=body_hash, is_live=is_live
    ):
        reason = Reason.TOO_LARGE
    if reason is not None:
        _quarantine(
            tournament,
            gamer,
            value=value,
            reached_at=reached_at,
            body_hash=body_hash,
            reason=reason,
            is_live=is_live,
            now=now,
        )


@requires_transaction
def write(
    tournament: Tournament,
    gamer: Gamer,
    *,
    value: int,
    reached_at: datetime,
    body_hash: bytes,
    is_live: bool,
) -> bool:
    """Let a value count, whatever the ceilings say; False where the sum would be too large.

    Refuses with NotJoined, and with TournamentNotLive unless `is_live`.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _APPLY[tournament.score_rule],
            {
                "value": value,
                "reached_at": reached_at,
                "body_hash": body_hash,
                "sign": -1 if tournament.sort == Tournament.Sort.HIGH else 1,
                "tournament": tournament.pk,
                "gamer": gamer.pk,
            },
        )
        row = cursor.fetchone()
    if row is None:
        if tournament.score_rule == Rule.SUM and _is_seated(tournament, gamer):
            return False
        raise NotJoined
    (final_rank,) = row
    if final_rank is not None or not is_live:
        _refuse(tournament)
    return True


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
    is_paused = tournament.scores_paused_at is not None
    return in_time and not is_paused and tournament.takes_scores_at(received_at)


def _refuse(tournament: Tournament) -> None:
    if tournament.scores_paused_at is not None:
        raise TournamentNotLive(details={"reason": "SCORES_PAUSED"})
    raise TournamentNotLive


# --- Ceilings ------------------------------------------------------------------------------------


def _above_ceiling(
    tournament: Tournament, gamer: Gamer, *, value: int, reached_at: datetime, is_counted: bool
) -> Reason | None:
    if tournament.event_ceiling is not None and value > tournament.event_ceiling:
        return Reason.EVENT_CEILING
    if tournament.minute_ceiling is None or not is_counted:
        return None
    seat = _lock_seat(tournament, gamer)
    if seat is None:
        return None
    return _rise(tournament, seat, value=value, reached_at=reached_at)


def _rise(
    tournament: Tournament, seat: Participation, *, value: int, reached_at: datetime
) -> Reason | None:
    """How far the score has risen within the minute: the sum, or since the minute's first event."""
    is_sum = tournament.score_rule == Rule.SUM
    base = 0 if is_sum else seat.score or 0
    minute, _ = ScoreMinute.objects.get_or_create(
        seat=seat,
        minute=reached_at.replace(second=0, microsecond=0),
        defaults={"base": base, "top": base},
    )
    top = minute.top + value if is_sum else max(minute.top, value)
    if tournament.minute_ceiling is not None and top - minute.base > tournament.minute_ceiling:
        return Reason.MINUTE_CEILING
    ScoreMinute.objects.filter(pk=minute.pk).update(top=top)
    return None


def _quarantine(
    tournament: Tournament,
    gamer: Gamer,
    *,
    value: int,
    reached_at: datetime,
    body_hash: bytes,
    reason: Reason,
    is_live: bool,
    now: datetime,
) -> None:
    seat = _lock_seat(tournament, gamer)
    if seat is None:
        raise NotJoined
    if seat.final_rank is not None or not is_live:
        _refuse(tournament)
    QuarantinedScore.objects.get_or_create(
        seat=seat,
        body_hash=body_hash,
        defaults={
            "value": value,
            "reached_at": reached_at,
            "received_at": now,
            "reason": reason,
        },
    )


def _lock_seat(tournament: Tournament, gamer: Gamer) -> Participation | None:
    """The gamer's seat, so that no other score of theirs is weighed meanwhile."""
    seats = Participation.objects.seated().select_for_update(no_key=True)
    return seats.filter(tournament=tournament, gamer=gamer).first()


def _is_seated(tournament: Tournament, gamer: Gamer) -> bool:
    return Participation.objects.seated().filter(tournament=tournament, gamer=gamer).exists()
