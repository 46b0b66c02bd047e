from datetime import datetime
from uuid import UUID

from kgen.common.transactions import requires_transaction
from wallet import custody, freezing, ledger, transactions
from wallet.ledger import Bucket, Kind, Leg
from wallet.models import Wallet, WalletTransaction


@requires_transaction
def promise(*, wallet: Wallet, amount: int, reference: UUID) -> None:
    """Set a reward from outside a tournament aside for its gamer to claim, once per reference."""
    ledger.post(
        [
            Leg(
                debit=ledger.TREASURY,
                credit=ledger.wallet_account(wallet.pk, Bucket.CLAIMABLE),
                amount=amount,
                kind=Kind.GRANT,
            )
        ],
        posting_id=reference,
    )


@requires_transaction
def credit(
    *, wallet: Wallet, amount: int, reference: UUID, description: str, now: datetime
) -> WalletTransaction:
    """Turn a claimable reward into earned KCash. Raises freezing.WalletFrozen.

    `reference` is a new UUIDv7 saved on the reward under the reward's own lock.
    """
    freezing.refuse_frozen(custody.lock(wallet.pk), now=now)

    claim = transactions.record(
        WalletTransaction.Type.REWARD_CLAIM,
        WalletTransaction.Direction.CREDIT,
        wallet=wallet,
        uid=reference,
        amount=amount,
        counterparty=transactions.float_address(),
        description=description,
        now=now,
    )
    accounts = ledger.accounts_of(wallet.pk)
    ledger.post(
        [
            Leg(
                debit=accounts[Bucket.CLAIMABLE],
                credit=accounts[Bucket.EARNED],
                amount=amount,
                kind=Kind.CLAIM,
            )
        ],
        posting_id=reference,
    )
    return claim
