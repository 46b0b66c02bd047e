"""Tournaments: what they are played for, and when."""

import uuid
from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import Count, Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from accounts.models import Gamer
from kgen.common.money import LARGEST_AMOUNT_IN_JSON, AmountField
from tournaments.models.formats import Format
from tournaments.models.seats import Participation

# As many as the column holds.
MOST_SEATS = 2**31 - 1


class TournamentQuerySet(models.QuerySet["Tournament"]):
    def visible_at(self, now: datetime) -> Self:
        """Those that a gamer may know of: neither being set up nor waiting for their schedule."""
        return self.exclude(
            phase__in=[Tournament.Phase.SETUP, Tournament.Phase.PREPARATION]
        ).exclude(phase=Tournament.Phase.PUBLISHED, schedules_at__gt=now)

    def active_at(self, now: datetime) -> Self:
        """Those in SCHEDULED, LOBBY, STARTED or LOCKED."""
        return self.filter(
            phase=Tournament.Phase.PUBLISHED, schedules_at__lte=now, ends_at__gt=now - F("grace")
        )

    def due_to_settle(self, now: datetime) -> Self:
        return self.filter(phase=Tournament.Phase.PUBLISHED, ends_at__lte=now - F("grace"))

    def short_of_entrants(self, now: datetime) -> Self:
        """Those that have locked with fewer entrants than they need."""
        return self.filter(phase=Tournament.Phase.PUBLISHED, locks_at__lte=now).filter(
            min_registration_start_limit__gt=_seats(left_at=None)
        )

    def owing_refunds(self) -> Self:
        return self.filter(phase=Tournament.Phase.CANCELLED, refunded_at=None)

    def seen_by(self, gamer: Gamer) -> Self:
        """Those of the gamer's game, with `joined`: whether this gamer is in."""
        own_seat = Participation.objects.seated().filter(tournament=OuterRef("pk"), gamer=gamer)
        return self.filter(game_id=gamer.game_id).annotate(joined=Exists(own_seat))

    def with_figures(self) -> Self:
        """Add `entrants` and `stakes` (how many are held), both counted from the seats."""
        return self.annotate(entrants=_seats(left_at=None), stakes=_seats(refund_posting_id=None))


class Tournament(Format):
    """A contest at one time; what it is like, it has from its format."""

    class Phase(models.TextChoices):
        """What people and the settlement decide; `tournaments.lifecycle` alone writes it."""

        SETUP = "SETUP"
        PREPARATION = "PREPARATION"
        PUBLISHED = "PUBLISHED"
        COMPLETED = "COMPLETED"
        CANCELLED = "CANCELLED"

    class Status(models.TextChoices):
        """What the API contract, section 1, calls the state: the phase and the server's clock."""

        SETUP = "SETUP"
        PREPARATION = "PREPARATION"
        SCHEDULED = "SCHEDULED"
        LOBBY = "LOBBY"
        STARTED = "STARTED"
        LOCKED = "LOCKED"
        REWARDS = "REWARDS"
        COMPLETED = "COMPLETED"
        CANCELLED = "CANCELLED"

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    game = models.ForeignKey("accounts.Game", on_delete=models.PROTECT, related_name="tournaments")
    phase = models.CharField(max_length=11, choices=Phase, default=Phase.SETUP, editable=False)

    rake_percent = models.PositiveSmallIntegerField()
    scores_paused_at = models.DateTimeField(null=True, editable=False)

    sponsor_posting_id = models.UUIDField(null=True, unique=True, editable=False)
    sponsor_return_posting_id = models.UUIDField(null=True, unique=True, editable=False)

    # The series that it was made by, for which of its dates, and whether without a person's hand.
    series = models.ForeignKey(
        "tournaments.Series",
        null=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="tournaments",
        db_index=False,
    )
    made_for = models.DateTimeField(null=True, editable=False)
    publishes_itself = models.BooleanField(default=False, db_default=False, editable=False)

    schedules_at = models.DateTimeField()
    lobby_at = models.DateTimeField()
    starts_at = models.DateTimeField()
    locks_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    # What the two were before an operator locked or ended it at once.
    planned_locks_at = models.DateTimeField(null=True, editable=False)
    planned_ends_at = models.DateTimeField(null=True, editable=False)

    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, editable=False)
    settled_pool = AmountField(null=True, editable=False)
    rewarded_count = models.PositiveIntegerField(null=True, editable=False)
    finish_posting_id = models.UUIDField(null=True, unique=True, editable=False)
    cancelled_at = models.DateTimeField(null=True, editable=False)
    # When the last stake of a cancelled tournament had been given back.
    refunded_at = models.DateTimeField(null=True, editable=False)

    objects = TournamentQuerySet.as_manager()

    # Added by queries: `with_figures` and `seen_by`.
    entrants: int
    stakes: int
    joined: bool

    class Meta:
        indexes = [
            models.Index(fields=["game", "phase", "ends_at"], name="tournaments_of_game"),
            # What the sweep looks for, every second and among ever more finished tournaments.
            models.Index(
                fields=["ends_at"], name="tournaments_to_close", condition=Q(phase="PUBLISHED")
            ),
            models.Index(
                fields=["cancelled_at"],
                name="tournaments_to_refund",
                condition=Q(phase="CANCELLED", refunded_at=None),
            ),
            models.Index(
                fields=["locks_at"],
                name="tournaments_to_publish",
                condition=Q(phase="PREPARATION", publishes_itself=True),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["series", "made_for"], name="tournament_once_a_date_of_its_series"
            ),
            models.CheckConstraint(
                name="tournament_made_for_a_date",
                condition=Q(series=None, made_for=None, publishes_itself=False)
                | Q(series__isnull=False, made_for__isnull=False),
            ),
            models.CheckConstraint(
                name="tournament_times_in_order",
                condition=Q(schedules_at__lte=F("lobby_at"))
                & Q(lobby_at__lte=F("starts_at"))
                & Q(starts_at__lte=F("locks_at"))
                & Q(locks_at__lte=F("ends_at")),
            ),
            models.CheckConstraint(
                name="tournament_grace_not_negative",
                condition=Q(grace__gte=timedelta(0)),
            ),
            models.CheckConstraint(
                name="tournament_amounts",
                condition=Q(entry_fee__gte=0)
                & Q(entry_fee__lte=LARGEST_AMOUNT_IN_JSON)
                & Q(rake_percent__lte=100)
                & Q(sponsor_contribution__gte=0)
                & Q(sponsor_contribution__lte=LARGEST_AMOUNT_IN_JSON)
                & (Q(tournament_size=None) | Q(tournament_size__gte=1)),
            ),
            models.CheckConstraint(
                name="tournament_options",
                condition=Q(score_rule__in=["LATEST", "BEST", "SUM"])
                & Q(sort__in=["HIGH", "LOW"])
                & Q(prize_structure__in=["BANDS", "FIXED", "SHARES"])
                # How fast a score may rise says nothing where the lowest wins.
                & (Q(minute_ceiling=None) | Q(sort="HIGH")),
            ),
            models.CheckConstraint(
                name="tournament_sponsored_when_published",
                condition=Q(sponsor_contribution=0, sponsor_posting_id=None)
                | Q(phase__in=["SETUP", "PREPARATION"], sponsor_posting_id=None)
                | Q(phase="CANCELLED", sponsor_posting_id=None)
                | Q(
                    phase__in=["PUBLISHED", "COMPLETED"],
                    sponsor_posting_id__isnull=False,
                    sponsor_return_posting_id=None,
                )
                | Q(
                    phase="CANCELLED",
                    sponsor_posting_id__isnull=False,
                    sponsor_return_posting_id__isnull=False,
                ),
            ),
            models.CheckConstraint(
                name="tournament_settled_figures",
                condition=Q(
                    phase="COMPLETED",
                    settled_at__isnull=False,
                    settled_pool__isnull=False,
                    settled_pool__gte=0,
                    rewarded_count__isnull=False,
                    cancelled_at=None,
                    refunded_at=None,
                )
                | Q(
                    phase="CANCELLED",
                    cancelled_at__isnull=False,
                    settled_at=None,
                    settled_pool=None,
                    rewarded_count=None,
                    finish_posting_id=None,
                )
                | Q(
                    phase__in=["SETUP", "PREPARATION", "PUBLISHED"],
                    settled_at=None,
                    settled_pool=None,
                    rewarded_count=None,
                    finish_posting_id=None,
                    cancelled_at=None,
                    refunded_at=None,
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def closes_at(self) -> datetime:
        """From here on no score is taken and the prizes can be worked out."""
        return self.ends_at + self.grace

    def status_at(self, now: datetime) -> Status:
        """The contract's state at `now` (section 1); the server's clock alone decides."""
        if self.phase != self.Phase.PUBLISHED:
            return self.Status(self.phase)
        if now < self.schedules_at:
            return self.Status.PREPARATION
        if now < self.lobby_at:
            return self.Status.SCHEDULED
        if now < self.starts_at:
            return self.Status.LOBBY
        if now < self.locks_at:
            return self.Status.STARTED
        if now < self.closes_at:
            return self.Status.LOCKED
        return self.Status.REWARDS

    def is_visible_at(self, now: datetime) -> bool:
        """Whether a gamer may know of it."""
        return self.status_at(now) not in {self.Status.SETUP, self.Status.PREPARATION}

    def seats_change_at(self, now: datetime) -> bool:
        """Whether gamers may join and leave."""
        return self.status_at(now) in {self.Status.LOBBY, self.Status.STARTED}

    def is_unsettled_at(self, now: datetime) -> bool:
        """Published, and its last moment for scores not past."""
        return self.phase == self.Phase.PUBLISHED and now < self.closes_at

    def is_under_way_at(self, now: datetime) -> bool:
        """Started, and not ended."""
        return self.phase == self.Phase.PUBLISHED and self.starts_at <= now < self.ends_at

    def takes_scores_at(self, now: datetime) -> bool:
        if self.phase != self.Phase.PUBLISHED:
            return False
        return self.starts_at <= now < self.closes_at


class Setback(models.Model):
    """What kept a tournament from being closed, until it is (`tournaments.closing`)."""

    tournament = models.OneToOneField(
        Tournament, primary_key=True, on_delete=models.CASCADE, related_name="setback"
    )
    problem = models.TextField()
    tries = models.PositiveIntegerField()
    since = models.DateTimeField()
    last_at = models.DateTimeField()
    next_try_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.problem


def _seats(**condition: object) -> Coalesce:
    counted = (
        Participation.objects.filter(tournament=OuterRef("pk"), **condition)
        .order_by()
        .values("tournament")
        .annotate(seats=Count("*"))
        .values("seats")
    )
    return Coalesce(Subquery(counted), 0)
