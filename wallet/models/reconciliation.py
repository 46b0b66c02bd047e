from django.db import models
from django.db.models import Q

from kgen.common.money import AmountField


class ReconciliationRun(models.Model):
    """One comparison of the books with themselves and with the chain, and what it has found."""

    class Scope(models.TextChoices):
        CHANGED = "CHANGED", "what changed since the last clean run"
        FULL = "FULL", "everything"

    scope = models.CharField(max_length=7, choices=Scope.choices)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    # Every row version as old as this transaction number, or older, was there to be looked at.
    horizon = models.BigIntegerField()
    # How many rows of the ledger's history were ever changed or deleted, by PostgreSQL's own count.
    rewritten_rows = models.BigIntegerField()
    # Of the first look; what the second look has found again is drift.
    suspects = models.JSONField(default=list)
    findings = models.JSONField(default=list)
    # How much KCash the chain and the books differ by, all differences of the last look added up.
    drift = AmountField(default=0)
    # Why it could not look at all that it should have; empty when it did.
    problem = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(scope__in=["CHANGED", "FULL"]), name="reconciliation_run_scope_known"
            ),
        ]

    def __str__(self) -> str:
        return f"run of {self.started_at:%Y-%m-%d %H:%M:%S}"
