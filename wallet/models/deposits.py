from django.db import models
from django.db.models import Q

from wallet.models.settlement import HASH
from wallet.models.transactions import WalletTransaction


class Deposit(models.Model):
    """KCash that came from outside: sent on the chain to a custodial wallet, or bought.

    What it brought is said by its transaction, whose uid is its own. Written once.
    """

    # Saved with the deposit before the transaction is made, so that it is made once.
    transaction = models.OneToOneField(
        WalletTransaction, primary_key=True, on_delete=models.PROTECT, related_name="deposit"
    )
    # Which event of the chain it is; all null for a purchase.
    chain_id = models.PositiveBigIntegerField(null=True)
    tx_hash = models.CharField(max_length=66, null=True)  # noqa: DJ001 - null with its block
    log_index = models.PositiveIntegerField(null=True)
    block_number = models.PositiveBigIntegerField(null=True)
    # What the seller calls the purchase; null for a deposit on the chain.
    purchase_reference = models.CharField(  # noqa: DJ001 - unique where there is one
        max_length=128, null=True, unique=True
    )
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["chain_id", "tx_hash", "log_index"], name="deposit_once_per_event"
            ),
            models.CheckConstraint(
                name="deposit_on_chain_or_bought",
                condition=Q(
                    chain_id__isnull=False,
                    tx_hash__isnull=False,
                    tx_hash__regex=HASH,
                    log_index__isnull=False,
                    block_number__isnull=False,
                    purchase_reference__isnull=True,
                )
                | Q(
                    chain_id__isnull=True,
                    tx_hash__isnull=True,
                    log_index__isnull=True,
                    block_number__isnull=True,
                    purchase_reference__isnull=False,
                ),
            ),
            models.CheckConstraint(
                name="deposit_purchase_reference_not_empty", condition=~Q(purchase_reference="")
            ),
        ]

    def __str__(self) -> str:
        return self.tx_hash or f"purchase {self.purchase_reference}"
