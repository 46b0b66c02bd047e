"""The wallet's pages of the console, one file a subject; importing them is what registers them."""

from wallet.admin import (
    approvals,
    chain_events,
    corrections,
    freezing,
    gamers,
    lanes,
    ledger,
    pausing,
    payouts,
    reconciliation,
    solvency,
    timeline,
    transactions,
    wallets,
)

__all__ = [
    "approvals",
    "chain_events",
    "corrections",
    "freezing",
    "gamers",
    "lanes",
    "ledger",
    "pausing",
    "payouts",
    "reconciliation",
    "solvency",
    "timeline",
    "transactions",
    "wallets",
]
