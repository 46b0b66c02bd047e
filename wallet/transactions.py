"""A wallet's transactions: what the gamer sees, and what the chain has to follow, in one order."""

from datetime import datetime
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from kgen.common.transactions import requires_transaction
from wallet import ledger
from wallet.models import Wallet, WalletTransaction

Type = WalletTransaction.Type
Direction = WalletTransaction.Direction
SyncStatus = WalletTransaction.SyncStatus

_NAMES: Final = {
    Type.JOIN: "Entry fee",
    Type.WELCOME_BONUS: "Welcome bonus",
    Type.REFUND: "Refund",
    Type.REWARD_CLAIM: "Reward",
    Type.WITHDRAW: "Withdrawal",
    Type.REVERSAL: "Withdrawal returned",
    Type.DEPOSIT: "Deposit",
    Type.ADJUST: "Correction",
}


@requires_transaction
def record(
    transaction_type: Type,
    direction: Direction,
    *,
    wallet: Wallet,
    uid: UUID,
    amount: int,
    counterparty: str,
    description: str,
    now: datetime,
    reverses: WalletTransaction | None = None,
    sync_status: SyncStatus = SyncStatus.PENDING,
) -> WalletTransaction:
    """Lock the wallet and write its next transaction; the posting of the same id must follow.

    The lock comes before any ledger account's, so that all who move a wallet's money queue here.
    Raises ledger.BadPosting for what is no amount.
    """
    ledger.check_amount(amount)
    return WalletTransaction.objects.create(
        uid=uid,
        wallet=wallet,
        seq=_next_seq(wallet, now=now),
        type=transaction_type,
        direction=direction,
        amount=amount,
        counterparty=counterparty,
        name=_NAMES[transaction_type],
        description=description,
        sync_status=sync_status,
        reverses=reverses,
        created_at=now,
        modified_at=now,
    )


def float_address() -> str:
    """Our own paying wallet on the chain, the other side of everything but a withdrawal."""
    if not settings.FLOAT_ADDRESS:
        raise ImproperlyConfigured("FLOAT_ADDRESS is not set: run deploy_contracts, or name it")
    return str(settings.FLOAT_ADDRESS).lower()


def _next_seq(wallet: Wallet, *, now: datetime) -> int:
    # One statement locks the row, counts and reads: this is on the way of every join.
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE wallet_wallet SET last_seq = last_seq + 1, modified_at = %s WHERE id = %s"
            " RETURNING last_seq",
            [now, wallet.pk],
        )
        seq: int = cursor.fetchone()[0]
    wallet.last_seq, wallet.modified_at = seq, now
    return seq
