"""Slots that a reorg past finality has taken off the chain, open again and sent again.

Somebody has confirmed that it was a reorg. The stored bytes are sent, which also uses their nonces,
and the contract pays each id once.
"""

from datetime import datetime
from typing import Final

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.transaction import atomic

from kgen.common.errors import Conflict
from kgen.common.transactions import requires_transaction
from wallet.models import LostPayout, Payout, Permit, Reorg, Slot, SlotItem
from wallet.settlement import payouts

State = Payout.State

_SUBMITTED: Final = (State.SUBMITTED, State.CONFIRMING)


class AlreadyConfirmed(Conflict):
    code = "REORG_ALREADY_CONFIRMED"
    message = "This reorg is confirmed: its slots are open again, or soon will be."


@atomic
def confirm(*, reorg_id: int, by: str, reason: str, now: datetime) -> Reorg:
    """Somebody knows that it was a reorg: open the lost slots again. Raises AlreadyConfirmed."""
    reorg = Reorg.objects.select_for_update(no_key=True).get(pk=reorg_id)
    if reorg.confirmed_at is not None:
        raise AlreadyConfirmed
    reorg.confirmed_at, reorg.confirmed_by, reorg.reason = now, by, reason
    reorg.save(update_fields=["confirmed_at", "confirmed_by", "reason"])
    _reopen(reorg, now=now)
    return reorg


def carry_on(*, now: datetime) -> None:
    """Open the slots of confirmed reorgs that could not be opened together with the others.

    A wallet's payouts are in one open slot at a time, so those of its later slots have to wait.
    """
    waiting = _waiting().filter(lost_slot__reorg__confirmed_at__isnull=False)
    for reorg_id in set(waiting.values_list("lost_slot__reorg_id", flat=True)):
        with atomic():
            _reopen(Reorg.objects.select_for_update(no_key=True).get(pk=reorg_id), now=now)


def _waiting() -> QuerySet[LostPayout]:
    """Lost payouts that are in no open slot yet, or not any more without a word about them."""
    is_carried = SlotItem.objects.filter(payout=OuterRef("payout"), is_open=True)
    return LostPayout.objects.filter(
        Q(reopened_at__isnull=True) | Q(payout__state__in=_SUBMITTED), ~Exists(is_carried)
    )


@requires_transaction
def _reopen(reorg: Reorg, *, now: datetime) -> None:
    for lost_slot in reorg.lost_slots.order_by("slot__nonce"):
        slot = Slot.objects.select_for_update(no_key=True).get(pk=lost_slot.slot_id)
        # An open one is being looked at, by what it carried then: it has to close first.
        if slot.state == Slot.State.OPEN:
            continue
        waiting = list(_waiting().filter(lost_slot=lost_slot).select_related("payout"))
        if slot.state == Slot.State.DEAD:
            # Somebody else has used its nonce: these bytes never pay anything.
            _move(waiting, to=State.PENDING, now=now)
            continue
        free = [one for one in waiting if not _is_elsewhere(one.payout)]
        if lost_slot.reopened_at is not None and not free:
            continue
        slot.state, slot.closed_at = Slot.State.OPEN, None
        slot.mined_block, slot.mined_hash = None, ""
        slot.save(update_fields=["state", "closed_at", "mined_block", "mined_hash"])
        # As if never sent: these bytes are sent at once, before anybody thinks of a higher price.
        slot.attempts.update(first_sent_at=None, last_sent_at=None)
        slot.permits.filter(state=Permit.State.GRANTED).update(state=Permit.State.OPEN)
        slot.items.filter(payout__in=[one.payout for one in free]).update(is_open=True)
        _move(free, to=State.SUBMITTED, now=now)
        lost_slot.reopened_at = now
        lost_slot.save(update_fields=["reopened_at"])


def _is_elsewhere(payout: Payout) -> bool:
    return SlotItem.objects.filter(wallet=payout.wallet_id, is_open=True).exists()


def _move(lost: list[LostPayout], *, to: Payout.State, now: datetime) -> None:
    moved = [one.payout for one in lost]
    for payout in moved:
        payout.error = ""
    payouts.move(moved, to=to, now=now)
    LostPayout.objects.filter(pk__in=[one.pk for one in lost]).update(reopened_at=now)
