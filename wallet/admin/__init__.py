"""The wallet's pages of the console, one file a subject; importing them is what registers them."""

from wallet.admin import (
    approvals,
    freezing,
    ledger,
    pausing,
    payouts,
    reconciliation,
    transactions,
    wallets,
)

__all__ = [
    "approvals",
    "freezing",
    "ledger",
    "pausing",
    "payouts",
    "reconciliation",
    "transactions",
    "wallets",
]
