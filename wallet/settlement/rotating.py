"""From one Settlement contract to the next: open payouts move, none of them is paid by both."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db.transaction import atomic

from kgen.common.errors import Conflict
from wallet.models import Payout, Slot
from wallet.settlement import calldata, payouts
from wallet.settlement.chain import UNUSED, Chain

logger = logging.getLogger(__name__)

State = Payout.State

# What a payout may be doing when it moves: it waits, and nothing of it is on its way.
_WAITING: Final = (State.PENDING, State.FAILED)
_UNDER_WAY: Final = (State.SUBMITTED, State.CONFIRMING, State.VOIDING)


class SameContract(Conflict):
    code = "SETTLEMENT_NOT_ROTATED"
    message = "SETTLEMENT_ADDRESS still names this contract."


class OldContractPays(Conflict):
    code = "OLD_SETTLEMENT_NOT_PAUSED"
    message = "The old contract is not paused, or that is not final yet."


class OldContractBusy(Conflict):
    code = "OLD_SETTLEMENT_BUSY"
    message = "Transactions to the old contract are not final yet."


@dataclass(frozen=True)
class Rehomed:
    moved: list[Payout]
    # The old contract knows their ids, though we did not: they wait in REVIEW for a person.
    known_there: list[Payout]


def rehome(*, chain: Chain, old_address: str, now: datetime) -> Rehomed:
    """Give what waits for an old contract to the one in SETTLEMENT_ADDRESS, under new ids.

    Once the old contract is paused in a final block, nothing that it has not recorded there can be
    paid by it, unless its admin lets it go on: they never do. Raises SameContract, OldContractPays,
    OldContractBusy, and ChainUnavailable.
    """
    if old_address == settings.SETTLEMENT_ADDRESS:
        raise SameContract
    final = chain.finalized_block()
    if not chain.is_paused(old_address, block=final):
        raise OldContractPays

    there = Payout.objects.filter(settlement_address=old_address)
    ids = [str(payout.onchain_id) for payout in there.filter(state__in=_WAITING)]
    found = chain.records(ids, settlement_address=old_address, block=final)
    records = dict(zip(ids, found, strict=True))

    with atomic():
        waiting = list(
            there.select_for_update(no_key=True)
            .filter(state__in=_WAITING, onchain_id__in=ids)
            .order_by("wallet_id", "seq")
        )
        open_slots = Slot.objects.filter(settlement_address=old_address, state=Slot.State.OPEN)
        if open_slots.exists() or there.filter(state__in=_UNDER_WAY).exists():
            raise OldContractBusy
        rehomed = Rehomed(moved=[], known_there=[])
        for payout in waiting:
            is_free = records[str(payout.onchain_id)] == UNUSED
            (rehomed.moved if is_free else rehomed.known_there).append(payout)
        _move(rehomed.moved, now=now)
        for payout in rehomed.known_there:
            payout.error = f"its id is known to {old_address}"
            logger.error("Payout %s is paid or voided by %s", payout.pk, old_address)
        payouts.move(rehomed.known_there, to=State.REVIEW, now=now)
        return rehomed


def _move(moved: list[Payout], *, now: datetime) -> None:
    for payout in moved:
        logger.warning(
            "Payout %s was %s on %s", payout.pk, payout.onchain_id, payout.settlement_address
        )
        payout.settlement_address = settings.SETTLEMENT_ADDRESS
        payout.onchain_id = calldata.onchain_id(
            chain_id=settings.CHAIN_ID,
            settlement_address=settings.SETTLEMENT_ADDRESS,
            payout_uid=payout.uid,
        )
    for state in _WAITING:
        payouts.move([payout for payout in moved if payout.state == state], to=state, now=now)
