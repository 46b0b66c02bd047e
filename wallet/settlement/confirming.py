"""What became of each open slot: seen, gone again, final, or dead. The books follow the final ones.

Money moves in the ledger, and a payout is tried again, on evidence at a finalized block alone:
never because time went by or because a node said no.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.db.transaction import atomic

from kgen.common.transactions import requires_transaction
from wallet import ledger
from wallet.models import Payout, Permit, Slot, WalletTransaction
from wallet.models.settlement import MAX_TRIES
from wallet.settlement import payouts
from wallet.settlement.calldata import PERMIT_VALUE
from wallet.settlement.chain import Chain, Outcome, Receipt, error_name

logger = logging.getLogger(__name__)

State = Payout.State


@dataclass(frozen=True)
class _Verdict:
    """Where one payout of a final slot goes; `receipt` is that of the transaction that paid it."""

    to: Payout.State
    receipt: Receipt | None = None
    error: str = ""


def confirm(*, operator_id: int, chain: Chain, now: datetime) -> int:
    """Look once at every open slot of a lane, in the order of nonces; says how many were closed."""
    finalized = chain.finalized_block()
    closed = 0
    for slot in Slot.objects.filter(operator=operator_id, state=Slot.State.OPEN).order_by("nonce"):
        receipt = _receipt(slot, chain)
        if receipt is None:
            closed += _look_for_missing(slot, finalized=finalized, chain=chain, now=now)
        elif receipt.block_number > finalized:
            _mark_mined(slot, receipt, now=now)
        elif slot.action == Slot.Action.PERMIT:
            closed += _finish_permits(slot, chain=chain, now=now)
        else:
            closed += _finish_payouts(slot, receipt, finalized=finalized, chain=chain, now=now)
    return closed


def _receipt(slot: Slot, chain: Chain) -> Receipt | None:
    """Any attempt may be the one that was mined; only one can be."""
    for tx_hash in slot.attempts.order_by("-seq").values_list("tx_hash", flat=True):
        receipt = chain.receipt(tx_hash)
        if receipt is not None:
            return receipt
    return None


# --- Not final yet: no money moves, and either way may be gone again -----------------------------


def _mark_mined(slot: Slot, receipt: Receipt, *, now: datetime) -> None:
    if slot.mined_block == receipt.block_number:
        return
    with atomic():
        if _still_open(slot).update(mined_block=receipt.block_number):
            payouts.move(_payouts(slot), to=State.CONFIRMING, now=now)


def _look_for_missing(slot: Slot, *, finalized: int, chain: Chain, now: datetime) -> bool:
    if slot.mined_block is not None:
        logger.warning("Slot %s was dropped from block %s by a reorg", slot.pk, slot.mined_block)
        with atomic():
            if _still_open(slot).update(mined_block=None):
                payouts.move(_payouts(slot), to=State.SUBMITTED, now=now)
    if not _nonce_is_gone(slot, block="latest", chain=chain):
        return False  # the usual case, and a node need not keep old state to say so
    if not _nonce_is_gone(slot, block=finalized, chain=chain):
        return False
    # Looked for once more: it may have been mined, and made final, since the first look.
    return _receipt(slot, chain) is None and _bury(slot, now=now)


def _nonce_is_gone(slot: Slot, *, block: int | str, chain: Chain) -> bool:
    return chain.nonce(slot.operator.address, block=block) > slot.nonce


# --- Final ---------------------------------------------------------------------------------------


def _bury(slot: Slot, *, now: datetime) -> bool:
    """Another transaction has the nonce for good: what the slot carried may go into another."""
    with atomic():
        if not _close(slot, as_=Slot.State.DEAD, now=now):
            return False
        logger.error("Nonce %s of slot %s was used by somebody else", slot.nonce, slot.pk)
        payouts.move(_payouts(slot), to=State.PENDING, now=now)
        slot.items.update(is_open=False)
        slot.permits.update(state=Permit.State.FAILED)
        return True


def _finish_permits(slot: Slot, *, chain: Chain, now: datetime) -> bool:
    """The allowance is what counts: a permit works just as well when somebody else sent it.

    It has been used up or is final with this slot, and this allowance is never lowered again.
    """
    permits = list(slot.permits.select_related("wallet"))
    for permit in permits:
        allowance = chain.allowance(
            permit.wallet.address, settlement_address=slot.settlement_address
        )
        is_granted = allowance == PERMIT_VALUE
        permit.state = Permit.State.GRANTED if is_granted else Permit.State.FAILED
    with atomic():
        if not _close(slot, as_=Slot.State.FINAL, now=now):
            return False
        Permit.objects.bulk_update(permits, ["state"])
        return True


def _finish_payouts(
    slot: Slot, receipt: Receipt, *, finalized: int, chain: Chain, now: datetime
) -> bool:
    carried = list(_payouts(slot))
    verdicts = [
        _verdict(payout, slot, receipt, finalized=finalized, chain=chain) for payout in carried
    ]
    with atomic():
        if not _close(slot, as_=Slot.State.FINAL, now=now):
            return False
        slot.items.update(is_open=False)
        by_state: dict[Payout.State, list[Payout]] = {}
        for payout, verdict in zip(carried, verdicts, strict=True):
            payout.error = verdict.error
            if verdict.to in (State.PENDING, State.FAILED):
                payout.tries += 1
            if verdict.receipt is not None:
                payout.tx_hash = verdict.receipt.tx_hash
                payout.block_number = verdict.receipt.block_number
                payout.gas_fee = verdict.receipt.gas_share
            by_state.setdefault(verdict.to, []).append(payout)
        for state, moved in by_state.items():
            payouts.move(moved, to=state, now=now)
        _book(by_state.get(State.COMPLETED, []))
        return True


def _verdict(
    payout: Payout, slot: Slot, receipt: Receipt, *, finalized: int, chain: Chain
) -> _Verdict:
    onchain_id = str(payout.onchain_id)  # what is in a slot has one: the database sees to it
    outcome = receipt.outcomes.get(onchain_id)
    match outcome:
        case Outcome(event="Settled"):
            return _Verdict(State.COMPLETED, receipt=receipt)
        case Outcome(event="Skipped", is_conflict=False):
            # The id was paid before; the transaction that paid it is the one to name.
            paid = chain.settled(
                onchain_id, settlement_address=slot.settlement_address, block=finalized
            )
            if paid is not None:
                return _Verdict(State.COMPLETED, receipt=paid)
        case Outcome(event="Failed", reason=reason):
            return _tried(payout, error_name(reason))
        case None if not receipt.is_success:
            return _tried(payout, "the whole batch was reverted")
    logger.error("Payout %s needs a person: the contract answered %s", payout.pk, outcome)
    return _Verdict(State.REVIEW, error="its id is paid or voided otherwise")


def _tried(payout: Payout, error: str) -> _Verdict:
    if payout.tries + 1 < MAX_TRIES:
        return _Verdict(State.PENDING, error=error)
    logger.error("Payout %s has used up its tries: %s", payout.pk, error)
    return _Verdict(State.FAILED, error=error)


@requires_transaction
def _book(completed: list[Payout]) -> None:
    """The ledger follows the chain, each wallet in its own order."""
    for payout in completed:
        for entry in WalletTransaction.objects.filter(payout=payout).order_by("seq"):
            ledger.confirm_on_chain(
                transaction_uid=entry.uid,
                wallet_id=entry.wallet_id,
                signed_amount=entry.signed_amount,
            )
        if payout.kind == Payout.Kind.WITHDRAW:
            ledger.settle(payout.uid)


# --- The slot's row decides who may act on what it carries ---------------------------------------


def _still_open(slot: Slot) -> QuerySet[Slot]:
    return Slot.objects.filter(pk=slot.pk, state=Slot.State.OPEN)


def _close(slot: Slot, *, as_: Slot.State, now: datetime) -> bool:
    """False when somebody else has closed it: then everything is done already."""
    return bool(_still_open(slot).update(state=as_, closed_at=now))


def _payouts(slot: Slot) -> QuerySet[Payout]:
    return Payout.objects.filter(slot_items__slot=slot, slot_items__is_open=True).order_by(
        "slot_items__position"
    )
