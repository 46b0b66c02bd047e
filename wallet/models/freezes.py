from datetime import datetime

from django.db import models
from django.db.models import F, Q

from wallet.models.wallets import Wallet


class WalletFreeze(models.Model):
    """A time in which nothing may be claimed or withdrawn. Written once, and lifted once at most.

    Two freezes of one wallet never overlap (the database refuses it).
    """

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="freezes")
    reason = models.CharField(max_length=500)
    frozen_by = models.CharField(max_length=150)
    frozen_at = models.DateTimeField()
    # Null: until it is lifted. Nothing happens at this moment; whoever asks compares the clock.
    expires_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=150, blank=True)
    lifted_at = models.DateTimeField(null=True)
    lift_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="wallet_freeze_by_somebody_for_a_reason",
                condition=Q(reason__regex=r"\S") & ~Q(frozen_by=""),
            ),
            models.CheckConstraint(
                name="wallet_freeze_expires_later",
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("frozen_at")),
            ),
            models.CheckConstraint(
                name="wallet_freeze_lifted_by_somebody_for_a_reason",
                condition=Q(lifted_at__isnull=True, lifted_by="", lift_reason="")
                | (
                    Q(lifted_at__isnull=False, lift_reason__regex=r"\S")
                    & ~Q(lifted_by="")
                    & Q(lifted_at__gte=F("frozen_at"))
                    & (Q(expires_at__isnull=True) | Q(lifted_at__lt=F("expires_at")))
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reason} ({self.frozen_by})"

    def is_in_force(self, now: datetime) -> bool:
        return self.lifted_at is None and (self.expires_at is None or now < self.expires_at)
