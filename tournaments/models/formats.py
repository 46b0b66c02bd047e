"""What operators choose of a tournament, wherever they choose it: for one, or for a whole series."""

from django.conf import settings
from django.db import models

from kgen.common.money import AmountField


class Format(models.Model):
    """All that is chosen but the game and the times; a copy of a tournament has the same format."""

    class ScoreRule(models.TextChoices):
        """Which score a gamer has, of all that were sent (`tournaments.scoring`)."""

        LATEST = "LATEST"
        BEST = "BEST"
        SUM = "SUM"

    class Sort(models.TextChoices):
        """Which score is the better one."""

        HIGH = "HIGH"
        LOW = "LOW"

    class PrizeStructure(models.TextChoices):
        """How the pool becomes prizes (`tournaments.prizes`)."""

        BANDS = "BANDS"
        FIXED = "FIXED"
        SHARES = "SHARES"

    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, null=True)  # noqa: DJ001 - null on the wire
    theme = models.CharField(max_length=200, blank=True, null=True)  # noqa: DJ001 - null on the wire
    entry_fee = AmountField()
    tournament_size = models.PositiveIntegerField(
        blank=True, null=True, help_text="Seats in all; empty means no limit."
    )
    min_registration_start_limit = models.PositiveIntegerField(
        default=2, help_text="With fewer entrants when it locks, it is cancelled and refunded."
    )

    score_rule = models.CharField(
        max_length=6, choices=ScoreRule, default=ScoreRule.LATEST, db_default=ScoreRule.LATEST
    )
    sort = models.CharField(max_length=4, choices=Sort, default=Sort.HIGH, db_default=Sort.HIGH)
    # Above these a score is kept for review instead of counting; empty means no ceiling.
    event_ceiling = models.PositiveBigIntegerField(null=True, blank=True)
    minute_ceiling = models.PositiveBigIntegerField(null=True, blank=True)

    prize_structure = models.CharField(
        max_length=6,
        choices=PrizeStructure,
        default=PrizeStructure.BANDS,
        db_default=PrizeStructure.BANDS,
    )
    # Of FIXED and SHARES, as `tournaments.prizes.Range` has it.
    prize_table = models.JSONField(default=list, blank=True, db_default=[])
    sponsor_contribution = AmountField(default=0, db_default=0)

    grace = models.DurationField(
        default=settings.END_GRACE, help_text="How long scores stamped before the end are taken."
    )

    class Meta:
        abstract = True
