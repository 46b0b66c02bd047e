"""The wallet's pages of the console, one file a subject; importing them is what registers them."""

from wallet.admin import (
    corrections,
    freezing,
    gamers,
    ledger,
    pausing,
    payouts,
    reconciliation,
    timeline,
    transactions,
    wallets,
)

__all__ = [
    "corrections",
    "freezing",
    "gamers",
    "ledger",
    "pausing",
    "payouts",
    "reconciliation",
    "timeline",
    "transactions",
    "wallets",
]
