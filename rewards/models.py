"""Promises to pay a gamer, whatever earned them, and the files by which many are made at once."""

from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from kgen.common.identifiers import uuid7
from kgen.common.money import AmountField


class RewardQuerySet(models.QuerySet["Reward"]):
    def claimable_at(self, now: datetime) -> Self:
        return self.filter(status=Reward.Status.UNCLAIMED).filter(
            Q(expires_at=None) | Q(expires_at__gt=now)
        )

    def due_to_expire(self, now: datetime) -> Self:
        return self.filter(status=Reward.Status.UNCLAIMED, expires_at__lte=now)


class Reward(models.Model):
    class Source(models.TextChoices):
        TOURNAMENT = "TOURNAMENT"
        PROMOTION = "PROMOTION"
        ACHIEVEMENT = "ACHIEVEMENT"

    class Status(models.TextChoices):
        UNCLAIMED = "UNCLAIMED"
        CLAIMED_SUCCESSFULLY = "CLAIMED_SUCCESSFULLY"
        EXPIRED = "EXPIRED"

    uid = models.UUIDField(default=uuid7, unique=True, editable=False)
    gamer = models.ForeignKey("accounts.Gamer", on_delete=models.PROTECT, related_name="rewards")
    # The gamer's, for ever: each game gives its own references.
    game = models.ForeignKey(
        "accounts.Game", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    amount = AmountField()
    source = models.CharField(max_length=20, choices=Source)
    reference = models.CharField(max_length=128)
    # A reward knows its tournament by name alone: tournaments stand above rewards.
    tournament_uid = models.UUIDField(null=True)
    tournament_title = models.CharField(max_length=200, null=True)  # noqa: DJ001 - null on the wire
    rank = models.PositiveIntegerField(null=True)

    status = models.CharField(max_length=20, choices=Status, default=Status.UNCLAIMED)
    # Null where the tournament's finish posting has paid the prize into the claimable account.
    grant_posting_id = models.UUIDField(null=True, unique=True, editable=False)
    claim_posting_id = models.UUIDField(null=True, unique=True, editable=False)
    expiry_posting_id = models.UUIDField(null=True, unique=True, editable=False)
    claimed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    objects = RewardQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["gamer"], condition=Q(status="UNCLAIMED"), name="rewards_to_claim"
            ),
            models.Index(
                fields=["expires_at"],
                condition=Q(status="UNCLAIMED", expires_at__isnull=False),
                name="rewards_to_expire",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["game", "source", "reference"], name="reward_granted_once"
            ),
            models.CheckConstraint(name="reward_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="reward_of_tournament_whole",
                condition=Q(
                    source="TOURNAMENT",
                    tournament_uid__isnull=False,
                    tournament_title__isnull=False,
                    rank__gte=1,
                    grant_posting_id=None,
                    expires_at=None,
                )
                | (
                    ~Q(source="TOURNAMENT")
                    & Q(
                        tournament_uid=None,
                        tournament_title=None,
                        rank=None,
                        grant_posting_id__isnull=False,
                    )
                ),
            ),
            # Claimed before its time was over, or expired after: never both.
            models.CheckConstraint(
                name="reward_ends_once",
                condition=Q(
                    status="UNCLAIMED",
                    claim_posting_id=None,
                    claimed_at=None,
                    expiry_posting_id=None,
                )
                | (
                    Q(
                        status="CLAIMED_SUCCESSFULLY",
                        claim_posting_id__isnull=False,
                        claimed_at__isnull=False,
                        expiry_posting_id=None,
                    )
                    & (Q(expires_at=None) | Q(expires_at__gt=F("claimed_at")))
                )
                | Q(
                    status="EXPIRED",
                    claim_posting_id=None,
                    claimed_at=None,
                    expiry_posting_id__isnull=False,
                    expires_at__lte=F("updated_at"),
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} KCash ({self.reference})"

    def is_claimable_at(self, now: datetime) -> bool:
        is_expired = self.expires_at is not None and self.expires_at <= now
        return self.status == self.Status.UNCLAIMED and not is_expired


class BulkGrant(models.Model):
    """A file of rewards: looked at first, granted when confirmed, each row once."""

    class State(models.TextChoices):
        CHECKED = "CHECKED", "waits to be confirmed"
        CONFIRMED = "CONFIRMED", "being granted"
        DONE = "DONE", "done"

    game = models.ForeignKey(
        "accounts.Game", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    source = models.CharField(max_length=20, choices=Reward.Source)
    reason = models.CharField(max_length=500)
    # Both are written once; the database holds the digest against the content.
    content = models.BinaryField()
    digest = models.CharField(max_length=64)
    rows = models.PositiveIntegerField()
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    uploaded_at = models.DateTimeField()

    state = models.CharField(max_length=9, choices=State, default=State.CHECKED)
    skips_refused = models.BooleanField(default=False)
    confirmed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True
    )
    confirmed_at = models.DateTimeField(null=True)
    # How many rows are behind us, and what became of them.
    position = models.PositiveIntegerField(default=0)
    granted = models.PositiveIntegerField(default=0)
    already_granted = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    done_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["id"], condition=Q(state="CONFIRMED"), name="bulk_grants_under_way"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="bulk_grant_not_of_tournament", condition=~Q(source="TOURNAMENT")
            ),
            models.CheckConstraint(
                name="bulk_grant_counts_every_row",
                condition=Q(
                    position=F("granted") + F("already_granted") + F("refused"),
                    position__lte=F("rows"),
                ),
            ),
            models.CheckConstraint(
                name="bulk_grant_state_whole",
                condition=Q(
                    state="CHECKED",
                    confirmed_by=None,
                    confirmed_at=None,
                    position=0,
                    done_at=None,
                )
                | Q(
                    state="CONFIRMED",
                    confirmed_by__isnull=False,
                    confirmed_at__isnull=False,
                    done_at=None,
                )
                | Q(
                    state="DONE",
                    confirmed_by__isnull=False,
                    confirmed_at__isnull=False,
                    done_at__isnull=False,
                    position=F("rows"),
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rows:,} rows for {self.game}"
