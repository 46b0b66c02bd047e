"""Slots: what waits gets a nonce and its calldata, stored before a byte of it is signed or sent.

Whatever may be slow, the custodian's signatures and the node's word on the batch, comes before the
lane is locked; what has changed meanwhile is left out. The operator signs afterwards.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.db.transaction import atomic

from kgen.common.transactions import requires_transaction
from wallet.models import Operator, Payout, Permit, Slot, SlotItem, Wallet
from wallet.settlement import calldata, lanes, pausing, payouts, picking, repricing
from wallet.settlement.calldata import Item, SignedPermit
from wallet.settlement.chain import CallReverted, Chain, Fees, Outcome, error_name
from wallet.settlement.signing import Custodian

logger = logging.getLogger(__name__)

State = Payout.State

BATCH: Final = 100
# A shallow queue of nonces: one that goes wrong holds up three others at most.
MAX_OPEN_SLOTS: Final = 4

# What the node foresees to fail waits this long: the float may be filled, the day may end.
FORESEEN_WAIT: Final = timedelta(seconds=60)
# These pass by themselves, and are no fault of the payout.
_CAPS: Final = frozenset({"OverBatchCap", "OverDayCap"})
_CONTRACT_PAUSED: Final = "EnforcedPause"

# Above the dearest item measured (a new recipient; a signature to check), and enough at the end of
# the batch for the contract's own check that its last item is not starved.
_GAS: Final = 260_000
_GAS_PER_ITEM: Final = 62_000
_GAS_PER_SIGNATURE: Final = 7_000
_GAS_PER_PERMIT: Final = 70_000
_GAS_PER_VOID: Final = 30_000


def submit(
    *,
    operator_id: int,
    chain: Chain,
    fees: Fees,
    custodian: Custodian,
    now: datetime,
    batch: int = BATCH,
) -> Slot | None:
    """Fill one slot of the lane, or None when there is nothing to do or no room.

    Nothing is signed for the operator or sent here. Where this is interrupted, nothing has happened;
    once it has committed, the slot is signed and sent from what is stored, by anyone. Raises
    SignerUnavailable, ChainUnavailable.
    """
    operator = Operator.objects.get(pk=operator_id)
    if not _has_room(operator):
        return None
    return _submit_voids(operator, batch=batch, now=now) or _submit_payouts(
        operator, chain=chain, fees=fees, custodian=custodian, batch=batch, now=now
    )


def _has_room(operator: Operator) -> bool:
    open_slots = operator.slots.filter(state=Slot.State.OPEN).count()
    return not operator.is_paused and open_slots < MAX_OPEN_SLOTS


# --- Payouts -------------------------------------------------------------------------------------


def _submit_payouts(
    operator: Operator,
    *,
    chain: Chain,
    fees: Fees,
    custodian: Custodian,
    batch: int,
    now: datetime,
) -> Slot | None:
    if pausing.is_paused():
        return None
    picked = picking.pick(operator_id=operator.pk, batch=batch, now=now)
    # While the contract is paused every batch would be reverted, and use up a try of its payouts.
    if not picked or chain.is_paused(settings.SETTLEMENT_ADDRESS):
        return None
    unpermitted = _without_permit(picked)
    gas = _gas_of_permits(unpermitted) if unpermitted else _gas_of_items(picked)
    if not _can_pay(operator, gas, chain=chain, fees=fees, now=now):
        return None

    if unpermitted:
        permits = _sign_permits(unpermitted, custodian)
        with atomic():
            locked = _lock(operator)
            held = picking.hold(picked, operator_id=operator.pk, now=now) if locked else []
            # Whoever holds a wallet's head is alone with the wallet.
            return _open_permits(operator, _without_permit(held), permits, now=now)

    items = {payout.pk: _item(payout, custodian) for payout in picked}
    picked = _expected(picked, items, operator, chain=chain, now=now)
    with atomic():
        locked = _lock(operator)
        held = picking.hold(picked, operator_id=operator.pk, now=now) if locked else []
        if not held:
            return None
        slot = _open_slot(
            operator,
            action=Slot.Action.SETTLE,
            settlement_address=settings.SETTLEMENT_ADDRESS,
            data=calldata.settle([items[payout.pk] for payout in held]),
            gas=_gas_of_items(held),
            now=now,
        )
        for payout in held:
            _name_on_chain(payout)
        _carry(slot, held)
        payouts.move(held, to=State.SUBMITTED, now=now)
        return slot


def _expected(
    picked: Sequence[Payout],
    items: Mapping[UUID, Item],
    operator: Operator,
    *,
    chain: Chain,
    now: datetime,
) -> list[Payout]:
    """The picked payouts but for those that the node foresees to fail; they wait for a while.

    If it foresees that the whole batch would be reverted, the lane is paused and none are left.
    """
    try:
        outcomes = chain.preflight(
            calldata.settle([items[payout.pk] for payout in picked]),
            from_address=operator.address,
            settlement_address=settings.SETTLEMENT_ADDRESS,
            gas=_gas_of_items(picked),
        )
    except CallReverted as refused:
        # A contract that was paused just now is waited for, like one that was paused before.
        if str(refused) != _CONTRACT_PAUSED:
            reason = f"a whole batch would be reverted: {refused}"
            lanes.pause(operator_id=operator.pk, reason=reason, now=now)
        return []
    unmined = set(
        Permit.objects.filter(
            wallet__in=[payout.wallet_id for payout in picked], state=Permit.State.OPEN
        ).values_list("wallet_id", flat=True)
    )
    waiting = {
        payout.wallet_id
        for payout, outcome in zip(picked, outcomes, strict=True)
        if payout.wallet_id not in unmined and _shall_wait(payout, outcome, now=now)
    }
    if waiting:
        Payout.objects.filter(
            pk__in=[payout.pk for payout in picked if payout.wallet_id in waiting],
            state=State.PENDING,
        ).update(not_before=now + FORESEEN_WAIT, modified_at=now)
    return [payout for payout in picked if payout.wallet_id not in waiting]


def _shall_wait(payout: Payout, outcome: Outcome, *, now: datetime) -> bool:
    """Whether a payout is kept back, with the reason on it.

    What is ours to mend, the float and the caps, is waited for. What is wrong with the payout itself
    is waited for once; then it is tried, as only a final block can say that it has failed.
    """
    if outcome.event != "Failed":
        return False
    reason = error_name(outcome.reason)
    is_ours_to_mend = payout.kind == Payout.Kind.IN or reason in _CAPS
    if payout.error == reason and not is_ours_to_mend:
        return False
    if payout.error != reason:
        logger.error("Payout %s waits, as it would fail: %s", payout.pk, reason)
        Payout.objects.filter(pk=payout.pk, state=State.PENDING).update(error=reason)
    return True


def _item(payout: Payout, custodian: Custodian) -> Item:
    settlement_address, onchain_id = _name_on_chain(payout)
    signature = None
    if picking.needs_signature(payout):
        signature = custodian.sign_payout(
            hd_index=payout.wallet.hd_index,
            settlement_address=settlement_address,
            onchain_id=onchain_id,
            to=payout.to_address,
            amount=payout.amount,
        )
    return Item(
        onchain_id=onchain_id,
        from_address=payout.from_address,
        to_address=payout.to_address,
        amount=payout.amount,
        signature=signature,
    )


def _name_on_chain(payout: Payout) -> tuple[str, str]:
    """Contract and id, given once for all: under others it could be paid a second time."""
    if payout.settlement_address is None or payout.onchain_id is None:
        payout.settlement_address = settings.SETTLEMENT_ADDRESS
        payout.onchain_id = calldata.onchain_id(
            chain_id=settings.CHAIN_ID,
            settlement_address=payout.settlement_address,
            payout_uid=payout.uid,
        )
    return payout.settlement_address, payout.onchain_id


def _gas_of_items(picked: Sequence[Payout]) -> int:
    signatures = sum(picking.needs_signature(payout) for payout in picked)
    return _GAS + _GAS_PER_ITEM * len(picked) + _GAS_PER_SIGNATURE * signatures


# --- Permits -------------------------------------------------------------------------------------


def _without_permit(picked: Sequence[Payout]) -> list[Wallet]:
    """The wallets that pay for the first time: the contract may not yet move their KCash.

    A permit that is still open counts, as it has an earlier nonce of this lane.
    """
    payers = {
        payout.wallet_id: payout.wallet for payout in picked if picking.needs_signature(payout)
    }
    permitted = set(
        Permit.objects.filter(
            wallet__in=payers,
            settlement_address=settings.SETTLEMENT_ADDRESS,
            state__in=(Permit.State.OPEN, Permit.State.GRANTED),
        ).values_list("wallet_id", flat=True)
    )
    return [wallet for pk, wallet in payers.items() if pk not in permitted]


def _sign_permits(wallets: Sequence[Wallet], custodian: Custodian) -> dict[int, SignedPermit]:
    # The token counts the permits of a wallet: one for each contract that it has permitted before.
    used = Counter(
        Permit.objects.filter(wallet__in=wallets, state=Permit.State.GRANTED).values_list(
            "wallet_id", flat=True
        )
    )
    return {
        wallet.pk: SignedPermit(
            owner=wallet.address,
            signature=custodian.sign_permit(hd_index=wallet.hd_index, nonce=used[wallet.pk]),
        )
        for wallet in wallets
    }


@requires_transaction
def _open_permits(
    operator: Operator,
    wallets: Sequence[Wallet],
    permits: Mapping[int, SignedPermit],
    *,
    now: datetime,
) -> Slot | None:
    if not wallets:
        return None
    slot = _open_slot(
        operator,
        action=Slot.Action.PERMIT,
        settlement_address=settings.SETTLEMENT_ADDRESS,
        data=calldata.permit_many([permits[wallet.pk] for wallet in wallets]),
        gas=_gas_of_permits(wallets),
        now=now,
    )
    Permit.objects.bulk_create(
        Permit(wallet=wallet, settlement_address=slot.settlement_address, slot=slot)
        for wallet in wallets
    )
    return slot


def _gas_of_permits(wallets: Collection[Wallet]) -> int:
    return _GAS + _GAS_PER_PERMIT * len(wallets)


# --- Voids ---------------------------------------------------------------------------------------


def _submit_voids(operator: Operator, *, batch: int, now: datetime) -> Slot | None:
    """Fence ids for good. It moves no KCash, so neither switch nor a paused contract stops it."""
    if not _voiding().exists():
        return None
    with atomic():
        if not _lock(operator):
            return None
        held = list(
            _voiding()
            .select_for_update(of=("self",), skip_locked=True, no_key=True)
            .order_by("created_at", "seq")[:batch]
        )
        if not held:
            return None
        # Each has the contract that it was first given to; the others go with the next slot.
        held = [one for one in held if one.settlement_address == held[0].settlement_address]
        slot = _open_slot(
            operator,
            action=Slot.Action.VOID,
            settlement_address=str(held[0].settlement_address),
            data=calldata.void_ids([str(payout.onchain_id) for payout in held]),
            gas=_GAS + _GAS_PER_VOID * len(held),
            now=now,
        )
        _carry(slot, held)
        return slot


def _voiding() -> QuerySet[Payout]:
    is_carried = SlotItem.objects.filter(wallet=OuterRef("wallet"), is_open=True)
    return Payout.objects.filter(~Exists(is_carried), state=State.VOIDING)


# --- The lane ------------------------------------------------------------------------------------


def _can_pay(operator: Operator, gas: int, *, chain: Chain, fees: Fees, now: datetime) -> bool:
    """Whether the lane has what its open slots and this one may cost; if not, it is paused."""
    open_gas = operator.slots.filter(state=Slot.State.OPEN).aggregate(sum=Sum("gas"))["sum"] or 0
    needed = (open_gas + gas) * repricing.first_price(fees).max_fee
    held = chain.gas_balance(operator.address)
    if held < needed:
        lanes.pause(
            operator_id=operator.pk,
            reason=f"it has {held:,} wei for gas and may need {needed:,}",
            now=now,
        )
    return held >= needed


@requires_transaction
def _lock(operator: Operator) -> bool:
    """Make this the only one to give out the lane's nonces, unless there is no room any more."""
    operator.refresh_from_db(from_queryset=Operator.objects.select_for_update(no_key=True))
    return _has_room(operator)


@requires_transaction
def _open_slot(
    operator: Operator,
    *,
    action: Slot.Action,
    settlement_address: str,
    data: bytes,
    gas: int,
    now: datetime,
) -> Slot:
    """The lane's next nonce, gapless and used once, since the lane is locked."""
    slot = Slot.objects.create(
        operator=operator,
        nonce=operator.next_nonce,
        action=action,
        settlement_address=settlement_address,
        calldata=data,
        gas=gas,
        created_at=now,
    )
    operator.next_nonce += 1
    operator.save(update_fields=["next_nonce"])
    return slot


def _carry(slot: Slot, carried: Sequence[Payout]) -> None:
    SlotItem.objects.bulk_create(
        SlotItem(slot=slot, payout=payout, wallet_id=payout.wallet_id, position=position)
        for position, payout in enumerate(carried)
    )
