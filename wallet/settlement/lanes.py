"""One lane alone, stopped and started; the others go on."""

import logging
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet

from kgen.common.errors import Conflict
from wallet.models import Operator

logger = logging.getLogger(__name__)


class LaneNotPaused(Conflict):
    code = "LANE_NOT_PAUSED"
    message = "This lane is not paused."


def pause(*, operator_id: int, reason: str, now: datetime) -> None:
    """Submit nothing new on this lane until a person resumes it; what is under way goes on."""
    _pause(Operator.objects.filter(pk=operator_id), reason, now=now)


def pause_address(address: str, *, reason: str, now: datetime) -> None:
    """Pause the lane of an operator's address on our chain, if it has ever worked."""
    _pause(Operator.objects.filter(address=address, chain_id=settings.CHAIN_ID), reason, now=now)


def _pause(lane: QuerySet[Operator], reason: str, *, now: datetime) -> None:
    paused = lane.filter(is_paused=False).update(
        is_paused=True, pause_reason=reason[:500], paused_at=now
    )
    if paused:
        logger.error("A lane is paused: %s", reason)


def resume(*, operator_id: int, by: str, reason: str) -> None:
    """Submit again on this lane. The caller keeps who wanted it and why. Raises LaneNotPaused."""
    resumed = Operator.objects.filter(pk=operator_id, is_paused=True).update(
        is_paused=False, pause_reason="", paused_at=None
    )
    if not resumed:
        raise LaneNotPaused
    logger.warning("Lane %s was resumed by %s: %s", operator_id, by, reason)
