"""Series: tournaments that are made again and again, ahead of time."""

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from kgen.common.money import LARGEST_AMOUNT_IN_JSON
from tournaments.models.formats import Format

# A start more than this ahead is not made yet, whatever a series asks for.
MOST_DAYS_AHEAD: Final = 60
LONGEST_MINUTES: Final = 366 * 24 * 60
# `{number}` and `{date}` make a title longer than its template.
LONGEST_TEMPLATE: Final = 150


class SeriesQuerySet(models.QuerySet["Series"]):
    def due(self, now: datetime) -> list["Series"]:
        """Those with a start to be made, or with drafts that wait to be published."""
        soon = self.filter(is_active=True, next_at__lte=now + timedelta(days=MOST_DAYS_AHEAD))
        waiting = self.filter(
            tournaments__publishes_itself=True,
            tournaments__phase="PREPARATION",
            tournaments__locks_at__gt=now,
        )
        due = {one.pk: one for one in soon if one.next_at and one.next_at <= one.makes_until(now)}
        due |= {one.pk: one for one in waiting.distinct()}
        return [due[pk] for pk in sorted(due)]


class Series(Format):
    """A pattern with a rule of when; each date becomes a tournament of its own, once."""

    game = models.ForeignKey("accounts.Game", on_delete=models.PROTECT, related_name="series")
    rule = models.CharField(max_length=500)
    time_zone = models.CharField(max_length=64)
    # Local to the zone, as is the rule.
    first_date = models.DateField()
    start_time = models.TimeField()

    length_minutes = models.PositiveIntegerField(
        default=24 * 60,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_MINUTES)],
    )
    shown_minutes = models.PositiveIntegerField(
        default=3, validators=[MaxValueValidator(LONGEST_MINUTES)]
    )
    lobby_minutes = models.PositiveIntegerField(
        default=1, validators=[MaxValueValidator(LONGEST_MINUTES)]
    )
    lock_minutes = models.PositiveIntegerField(
        default=2, validators=[MaxValueValidator(LONGEST_MINUTES)]
    )

    horizon_days = models.PositiveSmallIntegerField(
        default=7, validators=[MinValueValidator(1), MaxValueValidator(MOST_DAYS_AHEAD)]
    )
    publishes = models.BooleanField(default=True)
    is_active = models.BooleanField(default=True, editable=False)

    # No date up to here is made any more, for it has been made or passed over; and the next to make.
    made_through = models.DateTimeField(null=True, editable=False)
    next_at = models.DateTimeField(null=True, editable=False)
    made_count = models.PositiveIntegerField(default=0, editable=False)
    # What stood in the way the last time; empty when nothing did.
    problem = models.TextField(default="", editable=False)
    created_at = models.DateTimeField(editable=False)
    updated_at = models.DateTimeField(editable=False)

    objects = SeriesQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "series"
        constraints = [
            models.CheckConstraint(
                name="series_amounts",
                condition=Q(entry_fee__gte=0, entry_fee__lte=LARGEST_AMOUNT_IN_JSON)
                & Q(sponsor_contribution__gte=0, sponsor_contribution__lte=LARGEST_AMOUNT_IN_JSON)
                & (Q(tournament_size=None) | Q(tournament_size__gte=1)),
            ),
            models.CheckConstraint(
                name="series_times",
                condition=Q(length_minutes__gte=1, length_minutes__lte=LONGEST_MINUTES)
                & Q(lock_minutes__lte=F("length_minutes"))
                & Q(lobby_minutes__lte=F("shown_minutes"))
                & Q(shown_minutes__lte=LONGEST_MINUTES)
                & Q(horizon_days__gte=1, horizon_days__lte=MOST_DAYS_AHEAD)
                & Q(grace__gte=timedelta(0)),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def first_at(self) -> datetime:
        """The first start, by the clock of the zone."""
        return datetime.combine(self.first_date, self.start_time)

    def makes_until(self, now: datetime) -> datetime:
        return now + timedelta(days=self.horizon_days)
