import uuid

from django.db import models
from django.db.models import Q

from kgen.common.encryption import EncryptedText, KeyedHash


class KgenAccount(models.Model):
    """A person behind one phone, over all games."""

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    # E.164; empty once nobody is behind it any more.
    phone = EncryptedText(blank=True, default="")
    phone_hash = KeyedHash(of="phone", kind="phone", unique=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"KGeN account {self.uid}"


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
    email = EncryptedText(blank=True, default="")
    email_hash = KeyedHash(of="email", kind="email")
    username = models.CharField(max_length=256, blank=True, default="")
    # As the game has it; it links no wallet.
    phonenumber = EncryptedText(blank=True, default="")
    name = models.CharField(max_length=256, blank=True, default="")
    playertag = models.CharField(max_length=256, blank=True, default="")
    level = models.BigIntegerField(null=True, blank=True)
    rank = models.BigIntegerField(null=True, blank=True)
    # Unix milliseconds, as told: not every number that the wire allows is a date.
    date_joined = models.BigIntegerField(null=True, blank=True)
    location = models.JSONField(null=True, blank=True)
    location_name = models.CharField(max_length=256, blank=True, default="")

    created_at = models.DateTimeField()
    erased_at = models.DateTimeField(null=True, blank=True)
    # Of the gamer_id that an erased gamer had: nobody gets a second bonus for being forgotten.
    erased_id_hash = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        indexes = [
            models.Index(
                name="gamer_erased", fields=["erased_id_hash"], condition=~Q(erased_id_hash="")
            ),
            models.Index(
                name="gamer_by_email", fields=["email_hash"], condition=Q(email_hash__isnull=False)
            ),
        ]
        constraints = [
            models.UniqueConstraint(name="one_gamer_per_game_and_id", fields=["game", "gamer_id"]),
            models.UniqueConstraint(
                name="one_gamer_per_game_and_phone", fields=["game", "kgen_account"]
            ),
        ]

    def __str__(self) -> str:
        return self.gamer_id
