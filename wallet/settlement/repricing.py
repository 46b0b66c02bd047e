"""What a slot pays for its gas, and more of it when nobody mines it at that price."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.transaction import atomic

from wallet.models import Attempt, Operator, Slot
from wallet.settlement.chain import Fees
from wallet.settlement.signing import OperatorSigner

logger = logging.getLogger(__name__)

GWEI: Final = 10**9
TIP_FLOOR: Final = 1 * GWEI
FEE_CAP: Final = 1_000 * GWEI

# Since the newest attempt was first sent. Sending the same bytes again does not count.
STUCK_AFTER: Final = timedelta(seconds=30)


@dataclass(frozen=True)
class Price:
    """Wei per gas, as an EIP-1559 transaction offers it."""

    max_fee: int
    priority_fee: int


def first_price(fees: Fees) -> Price:
    """Room for the base fee to double while the transaction waits."""
    tip = max(fees.tip, TIP_FLOOR)
    return Price(max_fee=min(2 * fees.base + tip, FEE_CAP), priority_fee=min(tip, FEE_CAP))


def raised_price(fees: Fees, last: Price) -> Price:
    """Nodes refuse a replacement that does not raise both fees by a tenth; this is an eighth."""
    fresh = first_price(fees)
    return Price(
        max_fee=max(fresh.max_fee, last.max_fee * 1125 // 1000 + 1),
        priority_fee=max(fresh.priority_fee, last.priority_fee * 1125 // 1000 + 1),
    )


def reprice(
    *, operator_id: int, fees: Fees, signer: OperatorSigner, now: datetime
) -> Attempt | None:
    """Store a dearer attempt of the lane's first open slot, when its newest one is stuck.

    The nonce and the call stay the same, so only one of its attempts can ever be mined.
    """
    with atomic():
        operator = Operator.objects.select_for_update(no_key=True).get(pk=operator_id)
        slot = operator.slots.filter(state=Slot.State.OPEN).order_by("nonce").first()
        if slot is None or slot.mined_block is not None:
            return None
        last = slot.attempts.latest("seq")
        if last.first_sent_at is None or last.first_sent_at > now - STUCK_AFTER:
            return None
        price = raised_price(fees, Price(last.max_fee, last.priority_fee))
        if price.max_fee > FEE_CAP:
            logger.error("Slot %s is stuck at the fee cap: %s wei", slot.pk, last.max_fee)
            return None

        attempt = sign_attempt(slot, seq=last.seq + 1, price=price, signer=signer, now=now)
        attempt.save(force_insert=True)
        return attempt


def sign_attempt(
    slot: Slot, *, seq: int, price: Price, signer: OperatorSigner, now: datetime
) -> Attempt:
    """The slot's call signed at a price, not yet stored."""
    signed = signer.sign_call(
        nonce=slot.nonce,
        to=slot.settlement_address,
        data=bytes(slot.calldata),
        gas=slot.gas,
        max_fee=price.max_fee,
        priority_fee=price.priority_fee,
    )
    return Attempt(
        slot=slot,
        seq=seq,
        tx_hash=signed.tx_hash,
        raw=signed.raw,
        max_fee=price.max_fee,
        priority_fee=price.priority_fee,
        created_at=now,
    )
