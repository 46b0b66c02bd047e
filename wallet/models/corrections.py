from django.conf import settings
from django.db import models
from django.db.models import F, Q

from kgen.common.money import AmountField
from wallet.models.transactions import WalletTransaction
from wallet.models.wallets import Wallet


class Correction(models.Model):
    """A change of one bucket that one member of staff asks for and another decides.

    Staff are kept by their key: whoever is renamed stays the same person. A trigger lets it be decided
    once, and be approved only together with its posting.
    """

    class Bucket(models.TextChoices):
        BONUS = "bonus", "bonus"
        BOUGHT = "bought", "bought"
        EARNED = "earned", "earned"

    class Direction(models.TextChoices):
        CREDIT = "CREDIT", "give"
        DEBIT = "DEBIT", "take"

    class State(models.TextChoices):
        ASKED = "ASKED", "waits for a second person"
        APPROVED = "APPROVED", "approved"
        REJECTED = "REJECTED", "rejected"

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="corrections")
    bucket = models.CharField(max_length=6, choices=Bucket)
    direction = models.CharField(max_length=6, choices=Direction)
    amount = AmountField()
    reason = models.CharField(max_length=500)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="corrections_asked"
    )
    asked_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State, default=State.ASKED)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="corrections_decided",
    )
    decided_at = models.DateTimeField(null=True)
    decision_reason = models.CharField(max_length=500, blank=True)
    # Its uid names the posting, so that one correction is posted once.
    transaction = models.OneToOneField(
        WalletTransaction, null=True, on_delete=models.PROTECT, related_name="correction"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="correction_bucket_is_spendable",
                condition=Q(bucket__in=("bonus", "bought", "earned")),
            ),
            models.CheckConstraint(
                name="correction_direction_is_known", condition=Q(direction__in=("CREDIT", "DEBIT"))
            ),
            models.CheckConstraint(
                name="correction_amount_is_positive",
                condition=Q(amount__gt=0, amount__lt=10**78),
            ),
            models.CheckConstraint(
                name="correction_has_a_reason", condition=Q(reason__regex=r"\S")
            ),
            models.CheckConstraint(
                name="correction_is_decided_by_another",
                condition=Q(decided_by__isnull=True) | ~Q(decided_by=F("asked_by")),
            ),
            models.CheckConstraint(
                name="correction_state_agrees",
                condition=Q(
                    state="ASKED",
                    decided_by__isnull=True,
                    decided_at__isnull=True,
                    decision_reason="",
                    transaction__isnull=True,
                )
                | Q(
                    state="APPROVED",
                    decided_by__isnull=False,
                    decided_at__isnull=False,
                    decision_reason__regex=r"\S",
                    transaction__isnull=False,
                )
                | Q(
                    state="REJECTED",
                    decided_by__isnull=False,
                    decided_at__isnull=False,
                    decision_reason__regex=r"\S",
                    transaction__isnull=True,
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.signed_amount:+,} KCash, {self.bucket}"

    @property
    def signed_amount(self) -> int:
        return self.amount if self.direction == self.Direction.CREDIT else -self.amount
