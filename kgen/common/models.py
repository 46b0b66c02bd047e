import hmac
import time
from typing import Any, Final

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac
from django_otp.models import Device
from django_otp.oath import hotp

from kgen.common.encryption import EncryptedText

# Of RFC 6238; a clock may go wrong by one step either way.
STEP_SECONDS: Final = 30


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


class Authenticator(Device):  # type: ignore[misc]  # untyped package
    """An app on a phone that shows six digits, others every half minute."""

    # The seed in hexadecimal.
    key = EncryptedText()
    # The step of the last code taken: a code works once, and none older than it works.
    last_step = models.BigIntegerField(default=-1)

    class Meta(Device.Meta):  # type: ignore[misc]  # untyped package
        constraints = [
            models.UniqueConstraint(fields=["user"], name="one_authenticator_for_each_of_staff")
        ]

    def verify_token(self, token: str) -> bool:
        """Take a code that is right and was not taken before; the row must be locked."""
        seed, now = bytes.fromhex(self.key), int(time.time()) // STEP_SECONDS
        for step in (now - 1, now, now + 1):
            is_right = hmac.compare_digest(f"{hotp(seed, step):06}".encode(), token.encode())
            if is_right and step > self.last_step:
                self.last_step = step
                self.save(update_fields=["last_step"])
                return True
        return False


class BackupCodes(Device):  # type: ignore[misc]  # untyped package
    """Codes on paper, for who has lost the authenticator; each works once."""

    class Meta(Device.Meta):  # type: ignore[misc]  # untyped package
        constraints = [
            models.UniqueConstraint(fields=["user"], name="one_set_of_backup_codes_for_each")
        ]

    def hash_of(self, code: str) -> str:
        """Keyed, so that a copy of the table cannot be searched through without our secret."""
        keyed = salted_hmac("kgen.backup_code", f"{self.user_id}:{code}", algorithm="sha256")
        return str(keyed.hexdigest())

    def verify_token(self, token: str) -> bool:
        """Use a code up; the row must be locked."""
        used, _ = self.codes.filter(code_hash=self.hash_of(token)).delete()
        return bool(used)


class BackupCode(models.Model):
    backup_codes = models.ForeignKey(BackupCodes, on_delete=models.CASCADE, related_name="codes")
    code_hash = models.CharField(max_length=64, unique=True)

    def __str__(self) -> str:
        return f"backup code {self.pk}"
