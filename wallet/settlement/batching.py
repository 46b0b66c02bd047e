"""Which wallet transactions go out together: payouts are made here, in each wallet's order."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import QuerySet
from django.db.transaction import atomic

from kgen.common.identifiers import uuid7
from kgen.common.transactions import requires_transaction
from wallet import transactions
from wallet.models import Payout, Wallet, WalletTransaction

WALLETS_AT_ONCE: Final = 200

# These come onto the chain another way: a reversal ends together with what it reverses, and a
# withdrawal is given its payout in its own database transaction. A deposit that was sent on the
# chain never waits; one that was bought is paid out like a bonus.
_PAID_OTHERWISE: Final = (
    WalletTransaction.Type.REVERSAL,
    WalletTransaction.Type.WITHDRAW,
)


def group_transactions(*, now: datetime, limit: int = WALLETS_AT_ONCE) -> int:
    """Make payouts of what waits without one, for up to `limit` wallets; says how many payouts."""
    with atomic():
        # A wallet that is busy is skipped, so nobody ever waits for this; the next run takes it.
        wallets = (
            Wallet.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(pk__in=_waiting().values_list("wallet_id", flat=True).distinct()[:limit])
            .order_by("pk")
        )
        return _group(wallets, _waiting(), now=now)


@requires_transaction
def open_withdrawal(
    *, transaction: WalletTransaction, wallet: Wallet, to_address: str, now: datetime
) -> Payout:
    """Make the payout of a withdrawal, under the same uid; the caller holds the wallet's lock.

    The wallet's payouts leave in its own order, so what it did before is given its payouts first.
    """
    _group([wallet], _waiting().filter(seq__lt=transaction.seq), now=now)
    payout = _payout(
        uid=transaction.uid,
        kind=Payout.Kind.WITHDRAW,
        wallet=wallet,
        covers=transaction,
        from_address=wallet.address,
        to_address=to_address,
        now=now,
    )
    payout.save(force_insert=True)
    transaction.payout = payout
    transaction.save(update_fields=["payout"])
    return payout


def _waiting() -> QuerySet[WalletTransaction]:
    return WalletTransaction.objects.filter(
        payout__isnull=True, sync_status=WalletTransaction.SyncStatus.PENDING
    ).exclude(type__in=_PAID_OTHERWISE)


def _group(
    wallets: Iterable[Wallet], waiting: QuerySet[WalletTransaction], *, now: datetime
) -> int:
    locked = {wallet.pk: wallet for wallet in wallets}
    float_address = transactions.float_address()
    covered = list(waiting.filter(wallet__in=locked).order_by("wallet_id", "seq"))
    for entry in covered:
        wallet = locked[entry.wallet_id]
        is_credit = entry.direction == WalletTransaction.Direction.CREDIT
        entry.payout = _payout(
            uid=uuid7(),
            kind=Payout.Kind.IN if is_credit else Payout.Kind.OUT,
            wallet=wallet,
            covers=entry,
            from_address=float_address if is_credit else wallet.address,
            to_address=wallet.address if is_credit else float_address,
            now=now,
        )
    Payout.objects.bulk_create(entry.payout for entry in covered if entry.payout is not None)
    WalletTransaction.objects.bulk_update(covered, ["payout"])
    return len(covered)


def _payout(
    *,
    uid: UUID,
    kind: Payout.Kind,
    wallet: Wallet,
    covers: WalletTransaction,
    from_address: str,
    to_address: str,
    now: datetime,
) -> Payout:
    return Payout(
        uid=uid,
        kind=kind,
        wallet=wallet,
        seq=covers.seq,
        from_address=from_address,
        to_address=to_address,
        amount=covers.amount,
        created_at=now,
        modified_at=now,
    )
