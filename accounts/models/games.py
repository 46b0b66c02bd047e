import uuid
from datetime import datetime
from typing import Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from kgen.common import networks
from kgen.common.money import AmountField

# Requests or events a second: beyond this a limit is a slip of the hand.
HIGHEST_RATE = 1_000_000


class Game(models.Model):
    """One game and, at once, the one client of the API that speaks for it."""

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    client_id = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=100)
    # How the game itself is named in events and tournaments.
    game_uid = models.SlugField(max_length=64, unique=True)
    is_active = models.BooleanField(default=True)
    # Kept for ever (a trigger refuses a change): worthless KCash must not turn into money.
    is_sandbox = models.BooleanField(default=False)
    min_withdrawal = AmountField(default=1000)
    # A larger withdrawal waits until staff approve it, whatever the least one is.
    auto_approve_limit = AmountField(default=5000)
    rate_limit = models.PositiveIntegerField(
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(HIGHEST_RATE)],
        help_text="Requests a second.",
    )
    gamer_event_rate = models.PositiveIntegerField(
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(HIGHEST_RATE)],
        help_text="Events a second of one gamer.",
    )
    # Of the stakes of its tournaments, what is kept of the pool: half of it is the developer's.
    rake_percent = models.PositiveSmallIntegerField(
        default=15, validators=[MaxValueValidator(100)], help_text="Of the stakes."
    )
    # One network a line. From elsewhere the secret opens nothing; empty, it is good everywhere.
    allowed_networks = models.TextField(
        max_length=2000, blank=True, default="", validators=[networks.validate]
    )
    # Gamers' devices may call with `x-clientID` and a token alone (contract 7).
    takes_device_calls = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="game_rake_is_a_share", condition=Q(rake_percent__lte=100)),
            models.CheckConstraint(
                name="game_limits_are_positive",
                condition=Q(rate_limit__gte=1, gamer_event_rate__gte=1),
            ),
            models.CheckConstraint(
                name="game_min_withdrawal_not_negative", condition=Q(min_withdrawal__gte=0)
            ),
            models.CheckConstraint(
                name="game_auto_approve_limit_not_negative",
                condition=Q(auto_approve_limit__gte=0),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class GameSecretQuerySet(models.QuerySet["GameSecret"]):
    def valid_at(self, now: datetime) -> Self:
        """Those that still open the API; each may have its end ahead of it."""
        return self.filter(Q(disabled_at=None) | Q(disabled_at__gt=now))


class GameSecret(models.Model):
    """A secret of a game's client, of which only the hash is kept."""

    game = models.ForeignKey(Game, on_delete=models.PROTECT, related_name="secrets")
    secret_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    # When it ended, or will: a secret that is replaced serves a while longer.
    disabled_at = models.DateTimeField(null=True, blank=True)

    objects = GameSecretQuerySet.as_manager()

    def __str__(self) -> str:
        return f"secret of {self.created_at:%Y-%m-%d}"
