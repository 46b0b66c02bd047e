"""A withdrawal that will never be paid, taken back."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from kgen.common.errors import Conflict
from kgen.common.identifiers import uuid7
from wallet import custody, ledger, transactions
from wallet.models import Payout, WalletTransaction

State = Payout.State
SyncStatus = WalletTransaction.SyncStatus

_UNSUBMITTED = (State.AWAITING_APPROVAL, State.PENDING)


class NotBeingVoided(Conflict):
    code = "PAYOUT_NOT_BEING_VOIDED"
    message = "Only a withdrawal that is being voided can be given back."


@transaction.atomic
def give_back(*, withdrawal_uid: UUID, now: datetime) -> WalletTransaction:
    """End the void of a withdrawal: release its hold, write the opposite REVERSAL, complete both.

    The caller has seen that its id on the chain is void in a final block; nothing here asks the
    chain. What was never submitted has no id there. Raises NotBeingVoided (API contract, section 2).
    """
    withdrawal = WalletTransaction.objects.get(
        uid=withdrawal_uid, type=WalletTransaction.Type.WITHDRAW
    )
    wallet = custody.lock(withdrawal.wallet_id)
    payout = Payout.objects.select_for_update(no_key=True).get(uid=withdrawal_uid)
    was_never_submitted = payout.onchain_id is None and payout.state in _UNSUBMITTED
    if payout.state != State.VOIDING and not was_never_submitted:
        raise NotBeingVoided(details={"state": payout.state})

    reversal = transactions.record(
        WalletTransaction.Type.REVERSAL,
        WalletTransaction.Direction.CREDIT,
        wallet=wallet,
        uid=uuid7(),
        amount=withdrawal.amount,
        counterparty=withdrawal.counterparty,
        description="The withdrawal could not be paid; its KCash is back",
        sync_status=SyncStatus.COMPLETED,
        now=now,
        reverses=withdrawal,
    )
    payout.state, payout.modified_at = State.VOIDED, now
    payout.save(update_fields=["state", "modified_at"])
    WalletTransaction.objects.filter(uid=withdrawal_uid).update(
        sync_status=SyncStatus.COMPLETED, sync_error=None, modified_at=now
    )
    ledger.release(withdrawal_uid)
    return reversal
