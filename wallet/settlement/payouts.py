"""Where a payout stands, and what its wallet transactions say of it; the one writer of both."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from django.db import connection

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

# What may change on the way, and its type in the database.
_MOVING: Final = {
    "uid": "uuid",
    "state": "text",
    "settlement_address": "text",
    "onchain_id": "text",
    "tries": "smallint",
    "not_before": "timestamptz",
    "error": "text",
    "tx_hash": "text",
    "block_number": "bigint",
    "gas_fee": "numeric",
    "modified_at": "timestamptz",
}
_SET: Final = ", ".join(f"{name} = moved.{name}" for name in _MOVING if name != "uid")
_STORE: Final = (
    f"UPDATE wallet_payout AS payout SET {_SET}"  # noqa: S608 - names out of the table above
    f"  FROM unnest({', '.join(f'%s::{kind}[]' for kind in _MOVING.values())})"
    f"       AS moved ({', '.join(_MOVING)})"
    " WHERE payout.uid = moved.uid"
)


@requires_transaction
def move(payouts: Iterable[Payout], *, to: Payout.State, now: datetime) -> None:
    """Put payouts, as they are in memory, into a state, together with their transactions.

    The caller holds the lock that makes it the only one to decide: the open slot's, or the rows'.
    """
    moved = list(payouts)
    for payout in moved:
        payout.state = to
        payout.modified_at = now
    _store(moved)
    for error in {_sync_error(payout) for payout in moved}:
        said = {"sync_status": _SYNC_STATUS[to], "sync_error": error}
        # From one step of ours to the next, their gamers often read the same.
        WalletTransaction.objects.filter(
            payout__in=[payout for payout in moved if _sync_error(payout) == error]
        ).exclude(**said).update(**said, modified_at=now)


def _store(payouts: Sequence[Payout]) -> None:
    # By hand: `bulk_update` takes twenty times as long, most of it to write its statement.
    columns = [[getattr(payout, name) for payout in payouts] for name in _MOVING]
    with connection.cursor() as cursor:
        cursor.execute(_STORE, columns)


def _sync_error(payout: Payout) -> str | None:
    """What the gamer's game may read: nothing of a failure that is still being tried again."""
    return payout.error if payout.state == State.FAILED else None
