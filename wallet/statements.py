"""What a gamer sees of a wallet: its balance and its transactions. Reads alone."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db.models import Exists, F, OuterRef, QuerySet

from accounts.models import Gamer
from kgen.common.errors import NotFound
from wallet import ledger
from wallet.models import Wallet, WalletTransaction

Direction = WalletTransaction.Direction
SyncStatus = WalletTransaction.SyncStatus

# Stands before the number in a page's key, so that another form of key can be told apart later.
_KEY_FORM: Final = "1."


class WalletNotFound(NotFound):
    """Unknown and somebody else's alike: nobody learns which addresses exist."""

    code = "WALLET_NOT_FOUND"
    message = "No such wallet for this gamer."


class BadPageKey(ValueError):
    """Not a key that an earlier page gave out."""


@dataclass(frozen=True)
class Balance:
    wallet: Wallet
    balances: ledger.Balances
    min_withdrawal: int
    kgen_address: str | None
    # No transaction waits for the chain; not the same as a delta of 0, where +50 and -50 may wait.
    is_synced: bool
    has_failed: bool


@dataclass(frozen=True)
class Page:
    """Newest first; `next_key` is empty when there is nothing further."""

    transactions: Sequence[WalletTransaction]
    next_key: str

    @property
    def debits(self) -> list[WalletTransaction]:
        return [entry for entry in self.transactions if entry.direction == Direction.DEBIT]

    @property
    def credits(self) -> list[WalletTransaction]:
        return [entry for entry in self.transactions if entry.direction == Direction.CREDIT]


def balance_of(*, gamer: Gamer) -> Balance:
    """A wallet's balances and how far the chain has followed (API contract, section 3.7)."""
    unsynced = WalletTransaction.objects.filter(wallet=OuterRef("pk")).exclude(
        sync_status=SyncStatus.COMPLETED
    )
    wallet = (
        Wallet.objects.annotate(
            kgen_address=F("gamer__kgen_account__wallet__address"),
            has_unsynced=Exists(unsynced),
            has_failed=Exists(unsynced.filter(sync_status=SyncStatus.FAILED)),
        )
    ).get(gamer=gamer)
    return Balance(
        wallet=wallet,
        balances=ledger.balances(wallet.pk),
        min_withdrawal=gamer.game.min_withdrawal,
        kgen_address=wallet.kgen_address,
        is_synced=not wallet.has_unsynced,
        has_failed=wallet.has_failed,
    )


def page_of(*, gamer: Gamer, address: str, limit: int, key: str) -> Page:
    """One page of the gamer's own transactions (contract 3.8). Raises WalletNotFound, BadPageKey."""
    before = _read_key(key) if key else None
    wallet = Wallet.objects.filter(gamer=gamer, address=address.lower()).first()
    if wallet is None:
        raise WalletNotFound
    entries: QuerySet[WalletTransaction] = wallet.transactions.select_related(
        "wallet", "payout", "deposit"
    ).order_by("-seq")
    if before is not None:
        entries = entries.filter(seq__lt=before)
    # One more than asked for tells whether there is a next page.
    found = list(entries[: limit + 1])
    shown = found[:limit]
    return Page(
        transactions=shown,
        next_key=_write_key(shown[-1].seq) if len(found) > limit else "",
    )


def _write_key(seq: int) -> str:
    return base64.urlsafe_b64encode(f"{_KEY_FORM}{seq}".encode()).decode().rstrip("=")


def _read_key(key: str) -> int:
    try:
        form, _, seq = (
            base64.b64decode(key + "=" * (-len(key) % 4), altchars=b"-_", validate=True)
            .decode("ascii")
            .partition(".")
        )
    except ValueError as problem:  # no base64, or no ASCII inside
        raise BadPageKey(key) from problem
    if form + "." != _KEY_FORM or not seq.isdigit() or len(seq) > 18:
        raise BadPageKey(key)
    return int(seq)
