from wallet.models.ledger import LedgerAccount, Transfer
from wallet.models.settlement import Attempt, Operator, Payout, Permit, Slot, SlotItem
from wallet.models.transactions import WalletTransaction
from wallet.models.wallets import KgenWallet, Wallet

__all__ = [
    "Attempt",
    "KgenWallet",
    "LedgerAccount",
    "Operator",
    "Payout",
    "Permit",
    "Slot",
    "SlotItem",
    "Transfer",
    "Wallet",
    "WalletTransaction",
]
