"""What staff decide about a gamer's play: scores held back for review, and who is disqualified."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from kgen.common.errors import Conflict, Invalid, NotFound
from kgen.common.transactions import requires_transaction
from tournaments import lifecycle, scoring
from tournaments.joining import NotJoined
from tournaments.lifecycle import AlreadyFinished
from tournaments.models import Participation, QuarantinedScore, Tournament

State = QuarantinedScore.State


class QuarantinedScoreNotFound(NotFound):
    code = "QUARANTINED_SCORE_NOT_FOUND"
    message = "There is no such score in quarantine."


class AlreadyDecided(Conflict):
    code = "QUARANTINED_SCORE_DECIDED"
    message = "Somebody has decided about this score before."


class SumTooLarge(Invalid):
    code = "SCORE_SUM_TOO_LARGE"
    message = "With this score the sum would be larger than any score may be."


@transaction.atomic
def accept(*, quarantined_id: int, by: str, reason: str, now: datetime) -> QuarantinedScore:
    """Let a score count after all, as of when it was reached.

    Refuses with QuarantinedScoreNotFound, AlreadyDecided, AlreadyFinished, NotJoined and SumTooLarge.
    """
    score, tournament = _open(quarantined_id)
    is_written = scoring.write(
        tournament,
        score.seat.gamer,
        value=score.value,
        reached_at=score.reached_at,
        body_hash=bytes(score.body_hash),
        is_live=True,
    )
    if not is_written:
        raise SumTooLarge
    return _decide(score, State.ACCEPTED, by=by, reason=reason, now=now)


@transaction.atomic
def reject(*, quarantined_id: int, by: str, reason: str, now: datetime) -> QuarantinedScore:
    """Let a score never count; what it rests on is kept.

    Refuses with QuarantinedScoreNotFound, AlreadyDecided and AlreadyFinished.
    """
    score, _ = _open(quarantined_id)
    return _decide(score, State.REJECTED, by=by, reason=reason, now=now)


@transaction.atomic
def disqualify(*, seat_id: int, by: str, reason: str, now: datetime) -> Participation:
    """Take a gamer off the board for good; the stake stays in the pool, and the seat is kept.

    Everybody below moves up. Refuses with NotJoined where the seat was given up, and with
    AlreadyFinished.
    """
    tournament_uid = _tournament_of(seat_id)
    tournament = lifecycle.locked(uid=tournament_uid)
    _refuse_finished(tournament)
    seat = Participation.objects.seated().select_for_update(no_key=True).filter(pk=seat_id).first()
    if seat is None:
        raise NotJoined
    seat.left_at = seat.disqualified_at = now
    seat.disqualified_by, seat.disqualified_reason = by, reason
    seat.save(
        update_fields=["left_at", "disqualified_at", "disqualified_by", "disqualified_reason"]
    )
    return seat


@requires_transaction
def _open(quarantined_id: int) -> tuple[QuarantinedScore, Tournament]:
    """A score that waits, and its tournament; both held, the tournament first as everywhere."""
    found = QuarantinedScore.objects.filter(pk=quarantined_id)
    uid = found.values_list("seat__tournament__uid", flat=True).first()
    if uid is None:
        raise QuarantinedScoreNotFound
    tournament = lifecycle.locked(uid=uid)
    _refuse_finished(tournament)
    score = found.select_related("seat__gamer").select_for_update(of=("self",)).get()
    if score.state != State.WAITING:
        raise AlreadyDecided
    # A score of a seat that was given up is not one of the seat that was taken after it.
    if score.seat.left_at is not None:
        raise NotJoined
    return score, tournament


def _decide(
    score: QuarantinedScore, state: QuarantinedScore.State, *, by: str, reason: str, now: datetime
) -> QuarantinedScore:
    score.state, score.decided_at, score.decided_by = state, now, by
    score.decision_reason = reason
    score.save(update_fields=["state", "decided_at", "decided_by", "decision_reason"])
    return score


def _refuse_finished(tournament: Tournament) -> None:
    if tournament.phase != Tournament.Phase.PUBLISHED:
        raise AlreadyFinished


def _tournament_of(seat_id: int) -> UUID:
    uid = Participation.objects.filter(pk=seat_id).values_list("tournament__uid", flat=True).first()
    if uid is None:
        raise NotJoined
    return uid
