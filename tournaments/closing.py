"""What the clock asks of tournaments: to be cancelled at the lock, settled, or refunded.

The rows are the queue. What is due is found anew each time, so that a sweep which was down misses
nothing, and each step looks again under the tournament's lock, so that two workers do it once.
"""

import logging
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import ExpressionWrapper, F
from django.db.models.fields import DateTimeField

from tournaments import cancelling, settling
from tournaments.models import Setback, Tournament, TournamentQuerySet

logger = logging.getLogger(__name__)

# After a failure the next try waits twice as long as after the one before.
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
# Of one sweep; the next one asks for the rest, as long as a queue is then.
AT_ONCE = 500


class Step(StrEnum):
    CANCEL_IF_SHORT = "cancel it for want of entrants"
    SETTLE = "settle it"
    REFUND = "give its stakes back"


def due(*, now: datetime) -> list[tuple[Step, UUID]]:
    """What is to be done, first what has been due the longest; not what just failed."""
    closes_at = ExpressionWrapper(F("ends_at") + F("grace"), output_field=DateTimeField())
    tournaments = Tournament.objects
    found: tuple[tuple[Step, TournamentQuerySet, F | ExpressionWrapper[Any]], ...] = (
        (Step.CANCEL_IF_SHORT, tournaments.short_of_entrants(now), F("locks_at")),
        (Step.SETTLE, tournaments.due_to_settle(now), closes_at),
        (Step.REFUND, tournaments.owing_refunds(), F("cancelled_at")),
    )
    steps = [
        (due_at, step, uid)
        for step, rows, due_since in found
        for uid, due_at in rows.exclude(setback__next_try_at__gt=now)
        .annotate(due_at=due_since)
        .order_by("due_at", "pk")
        .values_list("uid", "due_at")[:AT_ONCE]
    ]
    steps.sort(key=lambda one: one[0])
    return [(step, uid) for _, step, uid in steps[:AT_ONCE]]


def take(step: Step, *, uid: UUID, now: datetime) -> bool:
    """Do one step, or keep for staff what stood in its way and when it is tried again.

    Other tournaments never wait for one that fails. Returns whether it was done.
    """
    try:
        match step:
            case Step.CANCEL_IF_SHORT:
                cancelling.cancel_if_short(uid=uid, now=now)
            case Step.SETTLE:
                settling.settle(uid=uid, now=now)
            case Step.REFUND:
                cancelling.refund_stakes(uid=uid, now=now)
    except Exception as error:
        logger.exception("tournament %s: could not %s", uid, step)
        _note(step, error, uid=uid, now=now)
        return False
    Setback.objects.filter(tournament__uid=uid).delete()
    return True


@transaction.atomic
def _note(step: Step, error: Exception, *, uid: UUID, now: datetime) -> None:
    tournament = Tournament.objects.filter(uid=uid).first()
    if tournament is None:
        return
    setback, _ = Setback.objects.select_for_update().get_or_create(
        tournament=tournament,
        defaults={"since": now, "last_at": now, "next_try_at": now, "tries": 0},
    )
    setback.tries += 1
    setback.last_at = now
    pause = FIRST_PAUSE * 2 ** min(setback.tries - 1, 10)
    setback.next_try_at = now + min(pause, LONGEST_PAUSE)
    setback.problem = f"Could not {step}: {type(error).__name__}: {error}"[:1000]
    setback.save()
