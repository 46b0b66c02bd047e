import uuid

from django.db import models
from django.db.models import Q


class KgenAccount(models.Model):
    """A person behind one phone, over all games."""

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    phone = models.CharField(max_length=16, unique=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="kgen_account_phone_is_e164", condition=Q(phone__regex=r"^\+[1-9][0-9]{3,14}$")
            ),
        ]

    def __str__(self) -> str:
        return self.phone


class Gamer(models.Model):
    """A person as one game knows them, with the profile that the game last told (contract 3.1)."""

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    game = models.ForeignKey("accounts.Game", on_delete=models.PROTECT, related_name="gamers")
    gamer_id = models.CharField(max_length=128)
    kgen_account = models.ForeignKey(
        KgenAccount, on_delete=models.PROTECT, null=True, blank=True, related_name="gamers"
    )
    # When the account was linked; null where that was before it was kept.
    linked_at = models.DateTimeField(null=True, blank=True)
    is_blocked = models.BooleanField(default=False)

    device_id = models.CharField(max_length=256, blank=True, default="")
    email = models.CharField(max_length=256, blank=True, default="")
    username = models.CharField(max_length=256, blank=True, default="")
    # As the game has it; it links no wallet.
    phonenumber = models.CharField(max_length=256, blank=True, default="")
    name = models.CharField(max_length=256, blank=True, default="")
    playertag = models.CharField(max_length=256, blank=True, default="")
    level = models.BigIntegerField(null=True, blank=True)
    rank = models.BigIntegerField(null=True, blank=True)
    # Unix milliseconds, as told: not every number that the wire allows is a date.
    date_joined = models.BigIntegerField(null=True, blank=True)
    location = models.JSONField(null=True, blank=True)
    location_name = models.CharField(max_length=256, blank=True, default="")

    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="one_gamer_per_game_and_id", fields=["game", "gamer_id"]),
            models.UniqueConstraint(
                name="one_gamer_per_game_and_phone", fields=["game", "kgen_account"]
            ),
        ]

    def __str__(self) -> str:
        return self.gamer_id
