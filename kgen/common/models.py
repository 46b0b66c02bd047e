from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now


class KeptAnswer(models.Model):
    """The first good answer to a POST that carried an Idempotency-Key (API contract, section 0)."""

    # SHA-256 over client, gamer, path and key: who asked what under which name.
    scope = models.CharField(max_length=64, primary_key=True)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = models.BinaryField()
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.scope


class StaffAct(models.Model):
    """One thing that staff did or tried, written in the transaction that did it, and for ever."""

    # The database's clock: whoever writes the row cannot say when it was.
    at = models.DateTimeField(db_default=Now(), editable=False)
    # Null where the name that was tried belongs to nobody.
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    # Name and groups as they were then.
    by_name = models.CharField(max_length=150)
    roles = models.CharField(max_length=300, blank=True)
    name = models.CharField(max_length=50)
    label = models.TextField()
    # What it was done to; empty where it was done to nothing but the console.
    object_type = models.CharField(max_length=100, blank=True)
    object_pk = models.CharField(max_length=100, blank=True)
    object_text = models.TextField(blank=True)
    # What was filled in, beside the reason.
    details = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    # Only what changed; secrets and personal data are not in it.
    before = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    after = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    reason = models.TextField(blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["object_type", "object_pk", "-id"], name="staff_acts_of_object"),
            models.Index(fields=["by", "-id"], name="staff_acts_of_person"),
            models.Index(fields=["at"], name="staff_acts_of_time"),
        ]

    def __str__(self) -> str:
        return f"{self.label} {self.object_text}".strip()

    def line(self) -> str:
        """What was done and why, in one line."""
        filled_in: dict[str, Any] = self.details
        told = ", ".join(
            f"{name.replace('_', ' ')} {value}" for name, value in sorted(filled_in.items())
        )
        done = f"{self.label} ({told})" if told else self.label
        return f"{done}: {self.reason}" if self.reason else done
