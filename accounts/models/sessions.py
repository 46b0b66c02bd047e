import uuid

from django.db import models
from django.db.models import F, Q


class Session(models.Model):
    """A gamer's signed-in spell on one device, opened by the game's server."""

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    gamer = models.ForeignKey("accounts.Gamer", on_delete=models.PROTECT, related_name="sessions")
    device_id = models.CharField(max_length=256, blank=True, default="")
    started_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(name="session_newest_of_device", fields=["gamer", "device_id", "-id"]),
        ]
        constraints = [
            models.CheckConstraint(
                name="session_ends_after_start", condition=Q(ends_at__gt=F("started_at"))
            ),
        ]

    def __str__(self) -> str:
        return str(self.uid)


class SessionToken(models.Model):
    """One token of a session, of which only the hash is kept."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="tokens")
    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"token until {self.expires_at:%Y-%m-%d %H:%M}"
