"""What became of each open slot: seen, gone again, final, or dead. The books follow the final ones.

Money moves in the ledger, and a payout is tried again, on evidence at a finalized block alone:
never because time went by or because a node said no.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import QuerySet
from django.db.transaction import atomic

from kgen.common.transactions import requires_transaction
from wallet import ledger
from wallet.models import Attempt, Payout, Permit, Slot, WalletTransaction
from wallet.models.settlement import MAX_TRIES
from wallet.settlement import payouts, voiding
from wallet.settlement.calldata import PERMIT_VALUE
from wallet.settlement.chain import (
    UNUSED,
    VOIDED,
    Chain,
    Outcome,
    Receipt,
    error_name,
    payment_record,
)

logger = logging.getLogger(__name__)

State = Payout.State

_ENDED_OTHERWISE: Final = "its id is paid or voided otherwise"


@dataclass(frozen=True)
class _Verdict:
    """Where one payout of a final slot goes; `receipt` is that of the transaction that paid it."""

    to: Payout.State
    receipt: Receipt | None = None
    error: str = ""


@dataclass(frozen=True)
class Look:
    """How many slots were closed; and whether one is final, but the books cannot follow it yet."""

    closed: int
    is_behind: bool


def confirm(*, operator_id: int, chain: Chain, now: datetime) -> Look:
    """Look once at every open slot of a lane, in the order of nonces."""
    finalized = chain.finalized_block()
    closed, is_behind = 0, False
    slots = _moving(operator_id, finalized=finalized, chain=chain)
    hashes = _hashes(slots)
    receipts = chain.receipts([tx_hash for known in hashes.values() for tx_hash in known])
    for slot in slots:
        # Any attempt may be the one that was mined; only one can be.
        receipt = next(
            (receipts[tx_hash] for tx_hash in hashes[slot.pk] if tx_hash in receipts), None
        )
        if receipt is None:
            closed += _look_for_missing(slot, hashes[slot.pk], chain=chain, now=now)
        elif receipt.block_number > finalized:
            _mark_mined(slot, receipt, now=now)
        else:
            try:
                closed += _finish(slot, receipt, finalized=finalized, chain=chain, now=now)
            except ledger.LedgerError:
                # Such as KCash that left a wallet before the deposit that brought it was booked. The
                # slot stays open, and closes by itself once the books can follow; the others must
                # not wait.
                logger.exception("The books cannot follow slot %s yet", slot.pk)
                is_behind = True
    return Look(closed=closed, is_behind=is_behind)


def _moving(operator_id: int, *, finalized: int, chain: Chain) -> list[Slot]:
    """The open slots but for those whose block still stands and is not final yet."""
    # What it calls is long, and is not read here.
    slots = list(
        Slot.objects.filter(operator=operator_id, state=Slot.State.OPEN)
        .select_related("operator")
        .defer("calldata")
        .order_by("nonce")
    )
    mined = [slot.mined_block for slot in slots if slot.mined_block is not None]
    canonical = chain.block_hashes(block for block in mined if block > finalized)
    return [
        slot
        for slot in slots
        if slot.mined_block is None or canonical.get(slot.mined_block) != slot.mined_hash
    ]


# --- Not final yet: no money moves, and either way may be gone again -----------------------------


def _mark_mined(slot: Slot, receipt: Receipt, *, now: datetime) -> None:
    with atomic():
        if _still_open(slot).update(
            mined_block=receipt.block_number, mined_hash=receipt.block_hash
        ):
            _follow(slot, to=State.CONFIRMING, now=now)


def _look_for_missing(slot: Slot, known: Sequence[str], *, chain: Chain, now: datetime) -> bool:
    if slot.mined_block is not None:
        logger.warning("Slot %s was dropped from block %s by a reorg", slot.pk, slot.mined_block)
        with atomic():
            if _still_open(slot).update(mined_block=None, mined_hash=""):
                _follow(slot, to=State.SUBMITTED, now=now)
    address = slot.operator.address
    # The usual case, and cheap.
    if chain.nonce(address, block="latest") <= slot.nonce:
        return False
    if not chain.is_lost(address=address, nonce=slot.nonce, tx_hashes=known):
        return False
    # One that was stored meanwhile may be the one that has the nonce.
    return _hashes([slot])[slot.pk] == known and _bury(slot, now=now)


def _hashes(slots: Collection[Slot]) -> dict[int, list[str]]:
    """What each slot was signed as, by its key, the newest first."""
    found: dict[int, list[str]] = {slot.pk: [] for slot in slots}
    attempts = Attempt.objects.filter(slot__in=found).order_by("-seq")
    for slot_id, tx_hash in attempts.values_list("slot_id", "tx_hash"):
        found[slot_id].append(tx_hash)
    return found


def _follow(slot: Slot, *, to: Payout.State, now: datetime) -> None:
    """A payout stands where its slot does; one whose id is being voided is VOIDING all the way."""
    if slot.action == Slot.Action.SETTLE:
        payouts.move(_payouts(slot), to=to, now=now)


# --- Final ---------------------------------------------------------------------------------------


def _finish(slot: Slot, receipt: Receipt, *, finalized: int, chain: Chain, now: datetime) -> bool:
    match slot.action:
        case Slot.Action.PERMIT:
            return _finish_permits(slot, chain=chain, now=now)
        case Slot.Action.VOID:
            return _finish_voids(slot, finalized=finalized, chain=chain, now=now)
        case _:
            return _finish_payouts(slot, receipt, finalized=finalized, chain=chain, now=now)


def _bury(slot: Slot, *, now: datetime) -> bool:
    """Another transaction has the nonce for good: what the slot carried may go into another."""
    with atomic():
        if not _close(slot, as_=Slot.State.DEAD, now=now):
            return False
        logger.error("Nonce %s of slot %s was used by somebody else", slot.nonce, slot.pk)
        _follow(slot, to=State.PENDING, now=now)
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
            _name_place(payout, verdict.receipt)
            by_state.setdefault(verdict.to, []).append(payout)
        for state, moved in by_state.items():
            payouts.move(moved, to=state, now=now)
        _book(by_state.get(State.COMPLETED, []))
        return True


def _finish_voids(slot: Slot, *, finalized: int, chain: Chain, now: datetime) -> bool:
    """What the contract has recorded is what counts: a payment may have come before the void."""
    # By wallet, as everybody takes the locks of wallets.
    carried = list(_payouts(slot).order_by("wallet_id", "seq"))
    records = chain.records(
        [str(payout.onchain_id) for payout in carried],
        settlement_address=slot.settlement_address,
        block=finalized,
    )
    verdicts = [
        _verdict_of_record(payout, record, slot, finalized=finalized, chain=chain)
        for payout, record in zip(carried, records, strict=True)
    ]
    with atomic():
        if not _close(slot, as_=Slot.State.FINAL, now=now):
            return False
        slot.items.update(is_open=False)
        for payout, verdict in zip(carried, verdicts, strict=True):
            if verdict.to == State.VOIDED:
                voiding.end_void(payout, now=now)
                continue
            payout.error = verdict.error or payout.error
            _name_place(payout, verdict.receipt)
            payouts.move([payout], to=verdict.to, now=now)
            if verdict.to == State.COMPLETED:
                _book([payout])
        return True


def _verdict_of_record(
    payout: Payout, record: bytes, slot: Slot, *, finalized: int, chain: Chain
) -> _Verdict:
    paid = payment_record(
        from_address=payout.from_address, to_address=payout.to_address, amount=payout.amount
    )
    if record == VOIDED:
        return _Verdict(State.VOIDED)
    if record == UNUSED:
        logger.error("The void of payout %s had no effect; it is tried again", payout.pk)
        return _Verdict(State.VOIDING)
    receipt = None
    if record == paid:
        receipt = chain.settled(
            str(payout.onchain_id), settlement_address=slot.settlement_address, block=finalized
        )
    if receipt is None:
        logger.error("Payout %s needs a person: its id was paid otherwise", payout.pk)
        return _Verdict(State.REVIEW, error=_ENDED_OTHERWISE)
    logger.warning("Payout %s was paid before it could be voided", payout.pk)
    return _Verdict(State.COMPLETED, receipt=receipt)


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
    return _Verdict(State.REVIEW, error=_ENDED_OTHERWISE)


def _tried(payout: Payout, error: str) -> _Verdict:
    if payout.tries + 1 < MAX_TRIES:
        return _Verdict(State.PENDING, error=error)
    logger.error("Payout %s has used up its tries: %s", payout.pk, error)
    return _Verdict(State.FAILED, error=error)


def _name_place(payout: Payout, receipt: Receipt | None) -> None:
    if receipt is not None:
        payout.tx_hash = receipt.tx_hash
        payout.block_number = receipt.block_number
        payout.gas_fee = receipt.gas_share


@requires_transaction
def _book(completed: list[Payout]) -> None:
    """The ledger follows the chain, each wallet in its own order."""
    entries = WalletTransaction.objects.filter(payout__in=completed).order_by("wallet_id", "seq")
    accounts = ledger.accounts_of_each(
        (payout.wallet_id for payout in completed), ledger.Bucket.ONCHAIN
    )
    ledger.confirm_each_on_chain(
        [
            ledger.Confirmation(
                transaction_uid=entry.uid,
                account_id=accounts[entry.wallet_id],
                signed_amount=entry.signed_amount,
            )
            for entry in entries
        ]
    )
    for payout in completed:
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
