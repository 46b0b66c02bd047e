"""Withdrawals that wait for staff, what staff said, and what went out without being asked."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from kgen.common.money import AmountField
from wallet.models.settlement import Payout


class ApprovalRequest(models.Model):
    """Why a withdrawal waits, and for how many; written with the payout, and never changed.

    A trigger lets the payout go nowhere but into its void before that many have approved.
    """

    payout = models.OneToOneField(
        Payout, on_delete=models.PROTECT, primary_key=True, related_name="approval_request"
    )
    approvals_needed = models.PositiveSmallIntegerField()
    # For staff, one a line, with the figures of that moment.
    reasons = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "withdrawal for approval"
        verbose_name_plural = "withdrawals for approval"
        constraints = [
            models.CheckConstraint(
                condition=Q(approvals_needed__in=[1, 2]), name="approval_request_needs_one_or_two"
            ),
            models.CheckConstraint(condition=~Q(reasons=""), name="approval_request_says_why"),
        ]

    def __str__(self) -> str:
        return f"withdrawal of {self.payout.amount:,} KCash"


class Approval(models.Model):
    """One of the staff has said that a withdrawal may be paid; said once and never taken back."""

    payout = models.ForeignKey(Payout, on_delete=models.PROTECT, related_name="approvals")
    staff = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="approvals"
    )
    reason = models.CharField(max_length=500)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["payout", "staff"], name="approval_once_by_each_of_the_staff"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="approval_says_why"),
        ]

    def __str__(self) -> str:
        return f"approval by {self.staff}"


class UnattendedDay(models.Model):
    """What was withdrawn on one day in UTC without anybody being asked."""

    day = models.DateField(primary_key=True)
    amount = AmountField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="unattended_day_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.amount:,} KCash on {self.day}"
