"""The end of a payout that is never paid: its id is void on the chain first, for good.

Whichever of payment and void comes first on the chain wins; the books follow that one alone.
"""

import logging
from datetime import datetime
from uuid import UUID

from django.db.transaction import atomic

from kgen.common.errors import Conflict
from kgen.common.transactions import requires_transaction
from wallet import custody, reversals, transactions
from wallet.models import Payout, WalletTransaction
from wallet.settlement import payouts

logger = logging.getLogger(__name__)

State = Payout.State
SyncStatus = WalletTransaction.SyncStatus

# What the chain can say nothing against: it has never heard of these.
_NEVER_SUBMITTED = (State.AWAITING_APPROVAL, State.PENDING)
# A person has to end these.
_VOIDABLE = (State.FAILED, State.REVIEW)


class NotVoidable(Conflict):
    code = "PAYOUT_NOT_VOIDABLE"
    message = "This payout may still be paid, or has ended: it cannot be voided now."


class NotFailed(Conflict):
    code = "PAYOUT_NOT_FAILED"
    message = "Only a payout that has failed for good can be tried again by hand."


def is_voidable(payout: Payout) -> bool:
    """Whether a person may decide that it is not to be paid, as it stands here."""
    return (
        payout.state in _VOIDABLE or _was_never_submitted(payout) or _waits_for_an_old_float(payout)
    )


@atomic
def begin_void(*, payout_uid: UUID, by: str, reason: str, now: datetime) -> Payout:
    """Decide that a payout is not to be paid. The caller keeps who wanted it and why.

    One that was never submitted is void at once; any other once the chain has made it final. Raises
    NotVoidable (API contract, section 2).
    """
    payout = _locked(payout_uid)
    if not is_voidable(payout):
        raise NotVoidable(details={"state": payout.state})
    if _was_never_submitted(payout):
        end_void(payout, now=now)
    else:
        payouts.move([payout], to=State.VOIDING, now=now)
    logger.warning("Payout %s is voided by %s: %s", payout_uid, by, reason)
    return payout


@atomic
def retry(*, payout_uid: UUID, by: str, now: datetime) -> Payout:
    """Try a failed payout again, under the same id and with all its tries. Raises NotFailed."""
    payout = _locked(payout_uid)
    if payout.state != State.FAILED:
        raise NotFailed(details={"state": payout.state})
    payout.tries, payout.error, payout.not_before = 0, "", None
    payouts.move([payout], to=State.PENDING, now=now)
    logger.warning("Payout %s is tried again by %s", payout_uid, by)
    return payout


@requires_transaction
def end_void(payout: Payout, *, now: datetime) -> None:
    """Void it in the books, where no payment can come any more.

    A withdrawal goes back to the gamer; what a net payout covered is netted anew.
    """
    if payout.kind == Payout.Kind.WITHDRAW:
        reversals.give_back(withdrawal_uid=payout.pk, now=now)
        payout.state = State.VOIDED
        return
    WalletTransaction.objects.filter(payout=payout).update(
        payout=None, sync_status=SyncStatus.PENDING, sync_error=None, modified_at=now
    )
    payouts.move([payout], to=State.VOIDED, now=now)


def _was_never_submitted(payout: Payout) -> bool:
    return payout.onchain_id is None and payout.state in _NEVER_SUBMITTED


def _waits_for_an_old_float(payout: Payout) -> bool:
    """Whether its float wallet has been replaced: no contract that we still use pays that net."""
    return (
        payout.state == State.PENDING
        and payout.kind != Payout.Kind.WITHDRAW
        and transactions.float_address() not in (payout.from_address, payout.to_address)
    )


def _locked(payout_uid: UUID) -> Payout:
    # The wallet first: whoever moves its money holds it, and takes its payouts' rows afterwards.
    custody.lock(Payout.objects.values_list("wallet_id", flat=True).get(pk=payout_uid))
    return Payout.objects.select_for_update(no_key=True).get(pk=payout_uid)
