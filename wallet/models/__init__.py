from wallet.models.corrections import Correction
from wallet.models.deposits import Deposit
from wallet.models.freezes import WalletFreeze
from wallet.models.ledger import DayDigest, LedgerAccount, Transfer
from wallet.models.reconciliation import ReconciliationRun
from wallet.models.settlement import (
    Attempt,
    Operator,
    Payout,
    PayoutSwitch,
    Permit,
    Slot,
    SlotItem,
)
from wallet.models.transactions import WalletTransaction
from wallet.models.wallets import KgenWallet, Wallet

__all__ = [
    "Attempt",
    "Correction",
    "DayDigest",
    "Deposit",
    "KgenWallet",
    "LedgerAccount",
    "Operator",
    "Payout",
    "PayoutSwitch",
    "Permit",
    "ReconciliationRun",
    "Slot",
    "SlotItem",
    "Transfer",
    "Wallet",
    "WalletFreeze",
    "WalletTransaction",
]
