"""Where a payout stands, and what its wallet transactions say of it; the one writer of both."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from kgen.common.transactions import requires_transaction
from wallet.models import Payout, WalletTransaction

State = Payout.State
SyncStatus = WalletTransaction.SyncStatus

# API contract, section 2. A voided withdrawal is not here: its end is that of `wallet.reversals`. A
# voided net payout covers nothing any more.
_SYNC_STATUS: Final[Mapping[str, str]] = {
    State.AWAITING_APPROVAL: SyncStatus.PENDING,
    State.PENDING: SyncStatus.PENDING,
    State.SUBMITTED: SyncStatus.PROCESSING,
    State.CONFIRMING: SyncStatus.PROCESSING,
    State.REVIEW: SyncStatus.PROCESSING,
    State.VOIDING: SyncStatus.PROCESSING,
    State.FAILED: SyncStatus.FAILED,
    State.COMPLETED: SyncStatus.COMPLETED,
    State.VOIDED: SyncStatus.PENDING,
}


@requires_transaction
def move(payouts: Iterable[Payout], *, to: Payout.State, now: datetime) -> None:
    """Put payouts, as they are in memory, into a state, together with their transactions.

    The caller holds the lock that makes it the only one to decide: the open slot's, or the rows'.
    """
    moved = list(payouts)
    for payout in moved:
        payout.state = to
        payout.modified_at = now
    Payout.objects.bulk_update(
        moved,
        [
            "state",
            "settlement_address",
            "onchain_id",
            "tries",
            "not_before",
            "error",
            "tx_hash",
            "block_number",
            "gas_fee",
            "modified_at",
        ],
    )
    for error in {_sync_error(payout) for payout in moved}:
        WalletTransaction.objects.filter(
            payout__in=[payout for payout in moved if _sync_error(payout) == error]
        ).update(sync_status=_SYNC_STATUS[to], sync_error=error, modified_at=now)


def _sync_error(payout: Payout) -> str | None:
    """What the gamer's game may read: nothing of a failure that is still being tried again."""
    return payout.error if payout.state == State.FAILED else None
