"""KCash from outside: sent to a custodial wallet on the chain, or bought from the platform."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from kgen.common.errors import Conflict, Invalid
from kgen.common.identifiers import uuid7
from kgen.common.transactions import requires_transaction
from wallet import custody, ledger, transactions
from wallet.ledger import Bucket
from wallet.models import Deposit, Wallet, WalletTransaction


class NotFromOutside(Invalid):
    code = "NOT_A_DEPOSIT"
    message = "This KCash came from a wallet of the platform's own payouts."


class DepositConflict(Conflict):
    code = "DEPOSIT_ALREADY_BOOKED"
    message = "This deposit is booked already, with another wallet, sender or amount."


@dataclass(frozen=True)
class ChainEvent:
    """The Transfer event that brought it, in a final block."""

    chain_id: int
    tx_hash: str
    log_index: int
    block_number: int


@requires_transaction
def receive(
    *, wallet: Wallet, amount: int, from_address: str, event: ChainEvent, now: datetime
) -> WalletTransaction:
    """Book what the chain already holds for the wallet, once per event; the earlier one if booked.

    It is COMPLETED from the start and never goes out (API contract, section 2). Raises
    NotFromOutside, DepositConflict, ledger.BadPosting.
    """
    from_address = from_address.lower()
    if from_address in (transactions.float_address(), wallet.address):
        raise NotFromOutside
    deposit = _book(
        wallet,
        amount,
        source=ledger.KGEN_OUT,
        counterparty=from_address,
        description="KCash received from outside",
        sync_status=WalletTransaction.SyncStatus.COMPLETED,
        key={"chain_id": event.chain_id, "tx_hash": event.tx_hash, "log_index": event.log_index},
        told=asdict(event),
        now=now,
    )
    ledger.confirm_on_chain(
        transaction_uid=deposit.uid, wallet_id=wallet.pk, signed_amount=deposit.signed_amount
    )
    return deposit


@requires_transaction
def buy(*, wallet: Wallet, amount: int, reference: str, now: datetime) -> WalletTransaction:
    """Book KCash that was paid for, once per the seller's reference; the earlier one if booked.

    The chain does not hold it yet: it goes out from the float, as a bonus does. Raises
    DepositConflict, ledger.BadPosting.
    """
    key = {"purchase_reference": reference}
    return _book(
        wallet,
        amount,
        source=ledger.MINT,
        counterparty=transactions.float_address(),
        description="KCash bought",
        sync_status=WalletTransaction.SyncStatus.PENDING,
        key=key,
        told=key,
        now=now,
    )


def _book(
    wallet: Wallet,
    amount: int,
    *,
    source: int,
    counterparty: str,
    description: str,
    sync_status: WalletTransaction.SyncStatus,
    key: dict[str, Any],
    told: dict[str, Any],
    now: datetime,
) -> WalletTransaction:
    ledger.check_amount(amount)
    custody.lock(wallet.pk)
    deposit, is_new = Deposit.objects.get_or_create(
        **key, defaults={**told, "transaction_id": uuid7(), "created_at": now}
    )
    if not is_new:
        known = deposit.transaction
        if (known.wallet_id, known.amount, known.counterparty) != (wallet.pk, amount, counterparty):
            raise DepositConflict
        return known
    entry = transactions.record(
        WalletTransaction.Type.DEPOSIT,
        WalletTransaction.Direction.CREDIT,
        wallet=wallet,
        uid=deposit.pk,
        amount=amount,
        counterparty=counterparty,
        description=description,
        sync_status=sync_status,
        now=now,
    )
    ledger.post(
        [
            ledger.Leg(
                debit=source,
                credit=ledger.wallet_account(wallet.pk, Bucket.BOUGHT),
                amount=amount,
                kind=ledger.Kind.DEPOSIT,
            )
        ],
        posting_id=entry.uid,
    )
    return entry
