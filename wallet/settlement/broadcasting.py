"""Stored bytes go to the node, as often as it takes."""

import logging
from datetime import datetime, timedelta
from typing import Final

from django.db.models import DateTimeField, F, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from wallet.models import Attempt, Slot
from wallet.settlement.chain import Chain, ChainUnavailable

logger = logging.getLogger(__name__)

RESEND_AFTER: Final = timedelta(seconds=6)


def broadcast(*, operator_id: int, chain: Chain, now: datetime) -> int:
    """Send the newest attempt of each open slot that no block holds; says how many were sent.

    The node's answer decides nothing: "already known" is as good as accepted, and a lost answer
    looks like a refusal. What happened is read from receipts.
    """
    newest = Attempt.objects.filter(slot=OuterRef("slot")).order_by("-seq").values("pk")[:1]
    due = Attempt.objects.filter(
        pk=Subquery(newest),
        slot__operator=operator_id,
        slot__state=Slot.State.OPEN,
        slot__mined_block__isnull=True,
    ).exclude(last_sent_at__gt=now - RESEND_AFTER)
    sent = 0
    for attempt in due.order_by("slot__nonce"):
        try:
            chain.send(bytes(attempt.raw))
        except ChainUnavailable as answer:
            logger.info("Sending %s: %s", attempt.tx_hash, answer)
        Attempt.objects.filter(pk=attempt.pk).update(
            first_sent_at=Coalesce(F("first_sent_at"), Value(now, DateTimeField())),
            last_sent_at=now,
        )
        sent += 1
    return sent
