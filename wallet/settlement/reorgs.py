"""A reorg past finality is found: what was over, and is not on the chain any more.

Nothing is sent: somebody has to confirm first that it was a reorg, and then `reopening` sends again.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from django.db.models import Q, QuerySet
from django.db.transaction import atomic

from wallet.models import LostPayout, LostSlot, Operator, Payout, Reorg, Slot
from wallet.settlement import lanes, payouts
from wallet.settlement.chain import VOIDED, Chain, payment_record

logger = logging.getLogger(__name__)

State = Payout.State

PAYOUTS_AT_ONCE: Final = 200

PAUSED: Final = "Final transactions of this lane are not on the chain any more."
LOST: Final = "a reorg has taken it off the chain"


def find_lost(*, chain: Chain, since: datetime, now: datetime) -> list[Slot]:
    """Find what was final since then and is not on the chain any more; says which slots were lost.

    Lost payouts are put in REVIEW, and the lanes of lost slots paused. Raises ChainUnavailable, and
    then nothing has changed.
    """
    lost = [payout for page in _ended(since, chain) for payout in _missing(page, chain)]
    by_lane: dict[int, dict[Slot, list[Payout]]] = defaultdict(lambda: defaultdict(list))
    for operator in Operator.objects.all():
        for slot in _unused(operator, chain):
            by_lane[operator.pk][slot] = []
    for payout in lost:
        slot = _slot_of(payout)
        by_lane[slot.operator_id][slot].append(payout)
    for operator_id, slots in by_lane.items():
        _keep(operator_id, slots, now=now)
    return [slot for slots in by_lane.values() for slot in slots]


def _ended(since: datetime, chain: Chain) -> Iterator[list[Payout]]:
    """What ended since then, of one contract at a time; asked for as of one final block."""
    ended = Payout.objects.filter(
        Q(state=State.COMPLETED, block_number__lte=chain.finalized_block())
        | Q(state=State.VOIDED, onchain_id__isnull=False),
        modified_at__gte=since,
    )
    for contract in set(ended.values_list("settlement_address", flat=True)):
        of_contract = list(ended.filter(settlement_address=contract).order_by("pk"))
        for start in range(0, len(of_contract), PAYOUTS_AT_ONCE):
            yield of_contract[start : start + PAYOUTS_AT_ONCE]


def _missing(page: list[Payout], chain: Chain) -> list[Payout]:
    records = chain.records(
        [str(payout.onchain_id) for payout in page],
        settlement_address=str(page[0].settlement_address),
        block=chain.finalized_block(),
    )
    return [
        payout for payout, record in zip(page, records, strict=True) if record != _record(payout)
    ]


def _record(payout: Payout) -> bytes:
    """What the contract has to have recorded of it."""
    if payout.state == State.VOIDED:
        return VOIDED
    return payment_record(
        from_address=payout.from_address, to_address=payout.to_address, amount=payout.amount
    )


def _unused(operator: Operator, chain: Chain) -> QuerySet[Slot]:
    """Slots that are over, though the chain waits for their nonces."""
    nonce = chain.nonce(operator.address, block="latest")
    return operator.slots.filter(state=Slot.State.FINAL, nonce__gte=nonce)


def _slot_of(payout: Payout) -> Slot:
    """That of the transaction which ended it, or else the last one that carried it."""
    slots = Slot.objects.filter(items__payout=payout).order_by("-pk")
    paid_in = slots.filter(attempts__tx_hash=payout.tx_hash).first() if payout.tx_hash else None
    return paid_in or slots[0]


@atomic
def _keep(operator_id: int, slots: Mapping[Slot, Iterable[Payout]], *, now: datetime) -> None:
    operator = Operator.objects.select_for_update(no_key=True).get(pk=operator_id)
    known = LostSlot.objects.filter(reorg__confirmed_at__isnull=True, slot__in=slots)
    over = {slot for slot in slots if slot.state == Slot.State.FINAL}
    new = over - {lost.slot for lost in known.select_related("slot")}
    gone = {
        payout: slot
        for slot, carried in slots.items()
        for payout in Payout.objects.select_for_update(no_key=True).filter(
            pk__in=[payout.pk for payout in carried], state=State.COMPLETED
        )
    }
    if not new and not gone:
        return

    reorg, _ = Reorg.objects.get_or_create(
        operator=operator, confirmed_at=None, defaults={"found_at": now}
    )
    for slot in new.union(gone.values()):
        LostSlot.objects.get_or_create(reorg=reorg, slot=slot)
    lost_slots = {lost.slot_id: lost for lost in reorg.lost_slots.all()}
    LostPayout.objects.bulk_create(
        LostPayout(
            lost_slot=lost_slots[slot.pk],
            payout=payout,
            tx_hash=str(payout.tx_hash),
            block_number=payout.block_number or 0,
        )
        for payout, slot in gone.items()
    )
    for payout in gone:
        payout.tx_hash = payout.block_number = payout.gas_fee = None
        payout.error = LOST
    payouts.move(gone, to=State.REVIEW, now=now)
    lanes.pause(operator_id=operator_id, reason=PAUSED, now=now)
    logger.error(
        "Lane %s has lost %s final slots with %s payouts to a reorg",
        operator.address,
        len(lost_slots),
        len(gone),
    )
