from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kgen.common.transactions import requires_transaction
from wallet import custody, freezing, ledger, transactions
from wallet.ledger import Bucket, Kind, Leg
from wallet.models import Wallet, WalletTransaction


@dataclass(frozen=True)
class Movement:
    """Of a reward from outside a tournament; the reference names its posting, made once."""

    wallet_id: int
    amount: int
    reference: UUID


@requires_transaction
def promise(*, wallet: Wallet, amount: int, reference: UUID) -> None:
    """Set a reward aside from the treasury, for its gamer to claim."""
    promise_each([Movement(wallet.pk, amount, reference)])


@requires_transaction
def promise_each(movements: Sequence[Movement]) -> None:
    """As `promise` of each."""
    claimable = _claimable(movements)
    ledger.post_each(
        [
            (one.reference, Leg(ledger.TREASURY, account, one.amount, Kind.GRANT))
            for account, one in claimable
        ]
    )


@requires_transaction
def take_back_each(movements: Sequence[Movement]) -> None:
    """Give the treasury back what was promised and not claimed in time.

    Raises ledger.InsufficientFunds if a wallet has less to claim than that.
    """
    claimable = _claimable(movements)
    ledger.post_each(
        [
            (one.reference, Leg(account, ledger.TREASURY, one.amount, Kind.EXPIRY))
            for account, one in claimable
        ]
    )


def _claimable(movements: Sequence[Movement]) -> list[tuple[int, Movement]]:
    """Each with the account it concerns, in the order in which accounts are locked everywhere."""
    accounts = ledger.accounts_of_each((one.wallet_id for one in movements), Bucket.CLAIMABLE)
    return sorted(((accounts[one.wallet_id], one) for one in movements), key=lambda pair: pair[0])


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
