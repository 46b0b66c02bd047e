from datetime import datetime
from uuid import UUID

from kgen.common.errors import Conflict, Invalid
from kgen.common.transactions import requires_transaction
from wallet import custody, ledger, transactions
from wallet.models import Wallet, WalletTransaction
from wallet.prize_pools import Pool


class InsufficientBalance(Invalid):
    code = "INSUFFICIENT_BALANCE"
    message = "The wallet holds less KCash than this costs."


class AlreadyRefunded(Conflict):
    code = "ALREADY_REFUNDED"
    message = "This entry fee was given back before."


@requires_transaction
def collect(
    *,
    wallet: Wallet,
    pool: Pool,
    amount: int,
    reference: UUID,
    description: str,
    now: datetime,
) -> WalletTransaction:
    """Move an entry fee above 0 from the wallet into the pool: bonus, then bought, then earned.

    `reference` is a new UUIDv7 saved on the seat that it pays for. Raises InsufficientBalance.
    """
    fee = transactions.record(
        WalletTransaction.Type.JOIN,
        WalletTransaction.Direction.DEBIT,
        wallet=wallet,
        uid=reference,
        amount=amount,
        counterparty=transactions.float_address(),
        description=description,
        now=now,
    )
    try:
        ledger.spend(
            wallet_id=wallet.pk,
            total=amount,
            to=pool.account_id,
            posting_id=reference,
            kind=ledger.Kind.ENTRY_FEE,
        )
    except ledger.InsufficientFunds as refusal:
        raise InsufficientBalance(
            details={"lazy_balance": refusal.available, "required": amount}
        ) from refusal
    return fee


@requires_transaction
def refund(
    *, fee_reference: UUID, reference: UUID, description: str, now: datetime
) -> WalletTransaction:
    """Give an entry fee back to exactly the buckets it came from, once. Raises AlreadyRefunded."""
    fee = WalletTransaction.objects.get(uid=fee_reference, type=WalletTransaction.Type.JOIN)
    wallet = custody.lock(fee.wallet_id)
    if WalletTransaction.objects.filter(reverses=fee).exists():
        raise AlreadyRefunded

    given_back = transactions.record(
        WalletTransaction.Type.REFUND,
        WalletTransaction.Direction.CREDIT,
        wallet=wallet,
        uid=reference,
        amount=fee.amount,
        counterparty=fee.counterparty,
        description=description,
        now=now,
        reverses=fee,
    )
    ledger.refund(fee.uid, new_posting_id=reference)
    return given_back
