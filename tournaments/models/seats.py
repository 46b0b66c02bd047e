"""The seats taken in tournaments, their scores, and the scores that wait for a person's word."""

from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from kgen.common.identifiers import uuid7
from kgen.common.money import LARGEST_AMOUNT_IN_JSON, AmountField

# Every score ranks before it: a seat without a score comes last on the board.
NO_SCORE_YET = LARGEST_AMOUNT_IN_JSON + 1


class ParticipationQuerySet(models.QuerySet["Participation"]):
    def seated(self) -> Self:
        """Those in their tournament: joined and not left."""
        return self.filter(left_at=None)

    def held(self) -> Self:
        """Those whose stake is still in the pool, forfeited ones of leavers too."""
        return self.filter(refund_posting_id=None)


class Participation(models.Model):
    """One seat taken; a gamer who leaves and joins again has two."""

    # The indexes below start with either key.
    tournament = models.ForeignKey(
        "tournaments.Tournament",
        on_delete=models.PROTECT,
        related_name="participations",
        db_index=False,
    )
    gamer = models.ForeignKey(
        "accounts.Gamer", on_delete=models.PROTECT, related_name="participations", db_index=False
    )
    fee_posting_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    refund_posting_id = models.UUIDField(null=True, unique=True, editable=False)
    joined_at = models.DateTimeField()
    left_at = models.DateTimeField(null=True)

    # Whoever staff disqualify has left, too, and does not come back.
    disqualified_at = models.DateTimeField(null=True)
    disqualified_reason = models.TextField(blank=True, default="", db_default="")
    disqualified_by = models.CharField(max_length=150, blank=True, default="", db_default="")

    score = models.BigIntegerField(null=True)
    # The score as the board orders by it, ascending: negative where the highest wins.
    standing_key = models.BigIntegerField(default=NO_SCORE_YET, db_default=NO_SCORE_YET)
    reached_at = models.DateTimeField(null=True)
    applied_hash = models.BinaryField(null=True, max_length=32)
    # The gamer's own gamer_id, which never changes: one index then holds the whole order of the
    # board, down to its last tie-break, in plain byte order.
    tiebreak = models.TextField(db_collation="C", editable=False)
    # The transaction that put the seat where it stands; the database writes it.
    moved_in = models.BigIntegerField(default=0, db_default=0, editable=False)

    final_rank = models.PositiveIntegerField(null=True)
    prize = AmountField(null=True)

    objects = ParticipationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                F("tournament"),
                F("standing_key"),
                Coalesce("reached_at", "joined_at"),
                F("joined_at"),
                F("tiebreak"),
                name="participation_board",
                condition=Q(left_at=None),
            ),
            models.Index(fields=["tournament", "moved_in"], name="participation_moves"),
            models.Index(
                fields=["tournament"],
                name="participation_stakes",
                condition=Q(refund_posting_id=None),
            ),
            models.Index(fields=["gamer", "-joined_at"], name="participation_of_gamer"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["tournament", "gamer"],
                condition=Q(left_at=None),
                name="participation_one_seat",
            ),
            models.UniqueConstraint(
                fields=["tournament", "final_rank"], name="participation_one_rank"
            ),
            models.CheckConstraint(
                name="participation_score_whole",
                condition=Q(
                    score=None, reached_at=None, applied_hash=None, standing_key=NO_SCORE_YET
                )
                | (
                    Q(
                        score__gte=0,
                        score__lte=LARGEST_AMOUNT_IN_JSON,
                        reached_at__isnull=False,
                        applied_hash__isnull=False,
                    )
                    & (Q(standing_key=F("score")) | Q(standing_key=-F("score")))
                ),
            ),
            models.CheckConstraint(
                name="participation_disqualified_with_reason",
                condition=Q(disqualified_at=None, disqualified_reason="", disqualified_by="")
                | (
                    Q(disqualified_at__isnull=False, left_at__isnull=False)
                    & ~Q(disqualified_reason="")
                    & ~Q(disqualified_by="")
                ),
            ),
            models.CheckConstraint(
                name="participation_result_whole",
                condition=Q(final_rank=None, prize=None)
                | Q(final_rank__gte=1, prize__gte=0, left_at=None, refund_posting_id=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tiebreak} in tournament {self.tournament_id}"


class ScoreMinute(models.Model):
    """How far a seat's score rose in one minute; kept where a tournament has a ceiling for that."""

    seat = models.ForeignKey(
        Participation, on_delete=models.CASCADE, related_name="minutes", db_index=False
    )
    minute = models.DateTimeField()
    # The score before the first event of the minute; under SUM 0.
    base = models.BigIntegerField()
    # The greatest total of the minute; under SUM what its events come to.
    top = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["seat", "minute"], name="score_minute_once"),
        ]

    def __str__(self) -> str:
        return f"{self.minute:%H:%M} of seat {self.seat_id}"


class QuarantinedScore(models.Model):
    """A score that was accepted with an answer of `true` and does not count unless staff say so."""

    class Reason(models.TextChoices):
        EVENT_CEILING = "EVENT_CEILING"
        MINUTE_CEILING = "MINUTE_CEILING"
        # A sum above the greatest score that there is.
        TOO_LARGE = "TOO_LARGE"

    class State(models.TextChoices):
        WAITING = "WAITING"
        ACCEPTED = "ACCEPTED"
        REJECTED = "REJECTED"

    seat = models.ForeignKey(
        Participation, on_delete=models.PROTECT, related_name="quarantined", db_index=False
    )
    body_hash = models.BinaryField(max_length=32)
    value = models.BigIntegerField()
    reached_at = models.DateTimeField()
    received_at = models.DateTimeField()
    reason = models.CharField(max_length=14, choices=Reason)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=150, blank=True, default="")
    decision_reason = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = "quarantined score"
        indexes = [
            models.Index(
                fields=["received_at"], condition=Q(state="WAITING"), name="quarantine_to_review"
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["seat", "body_hash"], name="quarantined_once"),
            models.CheckConstraint(
                name="quarantine_decided_whole",
                condition=Q(state="WAITING", decided_at=None, decided_by="")
                | (
                    Q(state__in=["ACCEPTED", "REJECTED"], decided_at__isnull=False)
                    & ~Q(decided_by="")
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"score {self.value} of seat {self.seat_id}"
