from wallet.models.approvals import Approval, ApprovalRequest, UnattendedDay
from wallet.models.chain_events import (
    ChainBlock,
    ChainCursor,
    ChainEvent,
    LostPayout,
    LostSlot,
    Reorg,
)
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
from wallet.models.solvency import SolvencySample
from wallet.models.transactions import WalletTransaction
from wallet.models.wallets import KgenWallet, Wallet

__all__ = [
    "Approval",
    "ApprovalRequest",
    "Attempt",
    "ChainBlock",
    "ChainCursor",
    "ChainEvent",
    "Correction",
    "DayDigest",
    "Deposit",
    "KgenWallet",
    "LedgerAccount",
    "LostPayout",
    "LostSlot",
    "Operator",
    "Payout",
    "PayoutSwitch",
    "Permit",
    "ReconciliationRun",
    "Reorg",
    "Slot",
    "SlotItem",
    "SolvencySample",
    "Transfer",
    "UnattendedDay",
    "Wallet",
    "WalletFreeze",
    "WalletTransaction",
]
