"""The wallet's pages of the console, one file a subject; importing them is what registers them."""

from wallet.admin import (
    freezing,
    ledger,
    pausing,
    payouts,
    reconciliation,
    transactions,
    wallets,
)

__all__ = [
    "freezing",
    "ledger",
    "pausing",
    "payouts",
    "reconciliation",
    "transactions",
    "wallets",
]
