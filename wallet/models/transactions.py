from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from kgen.common.money import AmountField
from wallet.models.settlement import Payout
from wallet.models.wallets import ADDRESS, Wallet

if TYPE_CHECKING:
    from wallet.models.deposits import Deposit

CREDITS = ("WELCOME_BONUS", "REFUND", "REWARD_CLAIM", "DEPOSIT")
DEBITS = ("JOIN", "WITHDRAW")


class WalletTransaction(models.Model):
    """One change of a wallet's lazy balance, and what the chain makes of it.

    Its uid is the id of the ledger posting that it records. Everything but the state of its sync is
    written once (a trigger refuses more).
    """

    class Type(models.TextChoices):
        JOIN = "JOIN"
        WELCOME_BONUS = "WELCOME_BONUS"
        REFUND = "REFUND"
        REWARD_CLAIM = "REWARD_CLAIM"
        WITHDRAW = "WITHDRAW"
        REVERSAL = "REVERSAL"
        DEPOSIT = "DEPOSIT"
        ADJUST = "ADJUST"

    class Direction(models.TextChoices):
        CREDIT = "CREDIT"
        DEBIT = "DEBIT"

    class SyncStatus(models.TextChoices):
        PENDING = "PENDING"
        PROCESSING = "PROCESSING"
        COMPLETED = "COMPLETED"
        FAILED = "FAILED"

    uid = models.UUIDField(primary_key=True)
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="transactions")
    # Gapless per wallet: the chain follows this order, and the API's pages are cut by it.
    seq = models.BigIntegerField()
    type = models.CharField(max_length=16, choices=Type)
    direction = models.CharField(max_length=6, choices=Direction)
    amount = AmountField()
    # The other side's address on the chain, kept here so that a later change of the float or of the
    # gamer's link never rewrites history.
    counterparty = models.CharField(max_length=42)
    name = models.CharField(max_length=64)
    description = models.TextField()
    sync_status = models.CharField(max_length=10, choices=SyncStatus, default=SyncStatus.PENDING)
    sync_error = models.TextField(null=True)  # noqa: DJ001 - the API says null
    payout = models.ForeignKey(
        "wallet.Payout", null=True, on_delete=models.PROTECT, related_name="transactions"
    )
    reverses = models.OneToOneField(
        "self", null=True, on_delete=models.PROTECT, related_name="reversed_by"
    )
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="wallet_transaction_seq", fields=["wallet", "seq"]),
            models.CheckConstraint(name="wallet_transaction_seq_from_one", condition=Q(seq__gte=1)),
            models.CheckConstraint(
                name="wallet_transaction_amount_is_positive",
                condition=Q(amount__gt=0, amount__lt=10**78),
            ),
            models.CheckConstraint(
                name="wallet_transaction_direction_of_type",
                condition=Q(type__in=CREDITS, direction="CREDIT")
                | Q(type__in=DEBITS, direction="DEBIT")
                | Q(type__in=("REVERSAL", "ADJUST"), direction__in=("CREDIT", "DEBIT")),
            ),
            models.CheckConstraint(
                name="wallet_transaction_only_returns_reverse",
                condition=Q(type__in=("REFUND", "REVERSAL"), reverses__isnull=False)
                | (~Q(type__in=("REFUND", "REVERSAL")) & Q(reverses__isnull=True)),
            ),
            models.CheckConstraint(
                name="wallet_transaction_sync_status_is_known",
                condition=Q(sync_status__in=("PENDING", "PROCESSING", "COMPLETED", "FAILED")),
            ),
            models.CheckConstraint(
                name="wallet_transaction_counterparty_is_lower_case_hex",
                condition=Q(counterparty__regex=ADDRESS),
            ),
        ]
        indexes = [
            # The wallet's queue for the chain, and the flags of the balance endpoint.
            models.Index(
                name="wallet_transaction_unsynced",
                fields=["wallet", "seq"],
                condition=~Q(sync_status="COMPLETED"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.amount}"

    @property
    def chain_place(self) -> "Payout | Deposit | None":
        """Where on the chain it is, or will be; a bought deposit is paid out like a bonus."""
        return self.payout or getattr(self, "deposit", None)

    @property
    def signed_amount(self) -> int:
        return self.amount if self.direction == self.Direction.CREDIT else -self.amount

    @property
    def from_address(self) -> str:
        is_debit = self.direction == self.Direction.DEBIT
        return self.wallet.address if is_debit else self.counterparty

    @property
    def to_address(self) -> str:
        is_debit = self.direction == self.Direction.DEBIT
        return self.counterparty if is_debit else self.wallet.address
