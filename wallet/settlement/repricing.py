"""What a slot pays for its gas, and more of it when nobody mines it at that price.

Signing may be slow, so it is done under no lock. Of two that sign the same at once one is stored; the
other is thrown away, never sent. Either way a slot has one nonce and one call, and is mined once.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db.models import Exists, OuterRef

from wallet.models import Attempt, Slot
from wallet.settlement import networks
from wallet.settlement.chain import Fees
from wallet.settlement.networks import Network
from wallet.settlement.signing import OperatorSigner

logger = logging.getLogger(__name__)

GWEI: Final = 10**9


@dataclass(frozen=True)
class Price:
    """Wei per gas, as an EIP-1559 transaction offers it."""

    max_fee: int
    priority_fee: int


def first_price(fees: Fees, *, network: Network | None = None) -> Price:
    """Room for the base fee to double while the transaction waits."""
    network = network or networks.of(settings.CHAIN_ID)
    tip = max(fees.tip, network.tip_floor)
    return Price(
        max_fee=min(2 * fees.base + tip, network.fee_cap),
        priority_fee=min(tip, network.fee_cap),
    )


def raised_price(fees: Fees, last: Price, *, network: Network | None = None) -> Price:
    """Nodes refuse a replacement that does not raise both fees by a tenth; this is an eighth."""
    fresh = first_price(fees, network=network)
    return Price(
        max_fee=max(fresh.max_fee, last.max_fee * 1125 // 1000 + 1),
        priority_fee=max(fresh.priority_fee, last.priority_fee * 1125 // 1000 + 1),
    )


def sign_slots(*, operator_id: int, fees: Fees, signer: OperatorSigner, now: datetime) -> int:
    """Sign the lane's slots that nobody has signed yet; says how many. Raises SignerUnavailable."""
    unsigned = Slot.objects.filter(
        ~Exists(Attempt.objects.filter(slot=OuterRef("pk"))),
        operator=operator_id,
        state=Slot.State.OPEN,
    ).order_by("nonce")
    signed = 0
    for slot in unsigned:
        _sign(slot, seq=0, price=first_price(fees), signer=signer, now=now)
        signed += 1
    return signed


def reprice(*, operator_id: int, fees: Fees, signer: OperatorSigner, now: datetime) -> bool:
    """Offer more for the lane's first open slot, when its newest attempt is stuck.

    At the network's cap nothing more is offered, and what was offered is sent on. Raises
    SignerUnavailable.
    """
    network = networks.of(settings.CHAIN_ID)
    slot = (
        Slot.objects.filter(operator=operator_id, state=Slot.State.OPEN).order_by("nonce").first()
    )
    if slot is None or slot.mined_block is not None:
        return False
    last = slot.attempts.order_by("-seq").first()
    # Since it was first sent: sending the same bytes again does not count.
    if last is None or last.first_sent_at is None or last.first_sent_at > now - network.bump_after:
        return False
    price = raised_price(fees, Price(last.max_fee, last.priority_fee))
    if price.max_fee > network.fee_cap:
        logger.error("Slot %s is stuck at the fee cap: %s wei", slot.pk, last.max_fee)
        return False
    _sign(slot, seq=last.seq + 1, price=price, signer=signer, now=now)
    return True


def _sign(slot: Slot, *, seq: int, price: Price, signer: OperatorSigner, now: datetime) -> None:
    signed = signer.sign_call(
        nonce=slot.nonce,
        to=slot.settlement_address,
        data=bytes(slot.calldata),
        gas=slot.gas,
        max_fee=price.max_fee,
        priority_fee=price.priority_fee,
    )
    attempt = Attempt(
        slot=slot,
        seq=seq,
        tx_hash=signed.tx_hash,
        raw=signed.raw,
        max_fee=price.max_fee,
        priority_fee=price.priority_fee,
        created_at=now,
    )
    # Stored before another one with this number, or not at all.
    Attempt.objects.bulk_create([attempt], ignore_conflicts=True)
