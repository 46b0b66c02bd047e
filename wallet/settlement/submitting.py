"""Slots: pending payouts get a nonce, calldata and signed bytes, all stored before any is sent."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db.transaction import atomic

from wallet.models import Operator, Payout, Permit, Slot, SlotItem, Wallet
from wallet.settlement import calldata, pausing, payouts, picking, repricing
from wallet.settlement.chain import Fees
from wallet.settlement.signing import Custodian, OperatorSigner

BATCH: Final = 100
# A shallow queue of nonces: one that goes wrong holds up three others at most.
MAX_OPEN_SLOTS: Final = 4

# Above the dearest item measured (a new recipient; a signature to check), and enough at the end of
# the batch for the contract's own check that its last item is not starved.
_GAS: Final = 260_000
_GAS_PER_ITEM: Final = 62_000
_GAS_PER_SIGNATURE: Final = 7_000
_GAS_PER_PERMIT: Final = 70_000


def submit(
    *,
    operator_id: int,
    fees: Fees,
    signer: OperatorSigner,
    custodian: Custodian,
    now: datetime,
    batch: int = BATCH,
) -> Slot | None:
    """Fill one slot of the lane, or None when there is nothing to do or no room.

    Nothing is sent here. Where this is interrupted, nothing has happened; once it has committed,
    the transaction can be sent from what is stored, by anyone and any number of times.
    """
    with atomic():
        # This lock makes the nonces of a lane gapless and each of them used once.
        operator = Operator.objects.select_for_update(no_key=True).get(pk=operator_id)
        if operator.is_paused or pausing.is_paused():
            return None
        if operator.slots.filter(state=Slot.State.OPEN).count() >= MAX_OPEN_SLOTS:
            return None
        picked = picking.hold(
            picking.pick(operator_id=operator_id, batch=batch, now=now),
            operator_id=operator_id,
            now=now,
        )
        if not picked:
            return None

        unpermitted = _without_permit(picked)
        if unpermitted:
            slot = _open_slot(
                operator,
                action=Slot.Action.PERMIT,
                data=_permit_call(unpermitted, custodian),
                gas=_GAS + _GAS_PER_PERMIT * len(unpermitted),
                now=now,
            )
            Permit.objects.bulk_create(
                Permit(wallet=wallet, settlement_address=slot.settlement_address, slot=slot)
                for wallet in unpermitted
            )
        else:
            items = [_item(payout, custodian) for payout in picked]
            signatures = sum(item.signature is not None for item in items)
            slot = _open_slot(
                operator,
                action=Slot.Action.SETTLE,
                data=calldata.settle(items),
                gas=_GAS + _GAS_PER_ITEM * len(items) + _GAS_PER_SIGNATURE * signatures,
                now=now,
            )
            SlotItem.objects.bulk_create(
                SlotItem(slot=slot, payout=payout, wallet_id=payout.wallet_id, position=position)
                for position, payout in enumerate(picked)
            )
            payouts.move(picked, to=Payout.State.SUBMITTED, now=now)

        price = repricing.first_price(fees)
        repricing.sign_attempt(slot, seq=0, price=price, signer=signer, now=now).save(
            force_insert=True
        )
        operator.next_nonce += 1
        operator.save(update_fields=["next_nonce"])
        return slot


def _without_permit(picked: Sequence[Payout]) -> list[Wallet]:
    """The wallets that pay for the first time: the contract may not yet move their KCash.

    A permit that is still open counts, as it has an earlier nonce of this lane.
    """
    payers = {
        payout.wallet_id: payout.wallet for payout in picked if picking.needs_signature(payout)
    }
    permitted = Permit.objects.filter(
        wallet__in=payers,
        settlement_address=settings.SETTLEMENT_ADDRESS,
        state__in=(Permit.State.OPEN, Permit.State.GRANTED),
    ).values_list("wallet_id", flat=True)
    return [wallet for pk, wallet in payers.items() if pk not in set(permitted)]


def _permit_call(wallets: Sequence[Wallet], custodian: Custodian) -> bytes:
    # The token counts the permits of a wallet: one for each contract that it has permitted before.
    used = Counter(
        Permit.objects.filter(wallet__in=wallets, state=Permit.State.GRANTED).values_list(
            "wallet_id", flat=True
        )
    )
    return calldata.permit_many(
        [
            calldata.SignedPermit(
                owner=wallet.address,
                signature=custodian.sign_permit(hd_index=wallet.hd_index, nonce=used[wallet.pk]),
            )
            for wallet in wallets
        ]
    )


def _item(payout: Payout, custodian: Custodian) -> calldata.Item:
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
    return calldata.Item(
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


def _open_slot(
    operator: Operator, *, action: Slot.Action, data: bytes, gas: int, now: datetime
) -> Slot:
    return Slot.objects.create(
        operator=operator,
        nonce=operator.next_nonce,
        action=action,
        settlement_address=settings.SETTLEMENT_ADDRESS,
        calldata=data,
        gas=gas,
        created_at=now,
    )
