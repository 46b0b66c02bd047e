from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django_otp.models import CooldownMixin

from kgen.common.encryption import EncryptedText, KeyedHash


class PhoneVerification(CooldownMixin, models.Model):  # type: ignore[misc]  # untyped package
    """One gamer proving one phone; its row is the lock of everything that concerns the proof."""

    gamer = models.ForeignKey(
        "accounts.Gamer", on_delete=models.PROTECT, related_name="phone_verifications"
    )
    phone_hash = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_verification_per_gamer_and_phone", fields=["gamer", "phone_hash"]
            ),
        ]

    def __str__(self) -> str:
        return f"phone verification {self.pk}"

    def get_cooldown_duration(self) -> float:
        wait: timedelta = settings.OTP_RESEND_WAIT
        return wait.total_seconds()

    def wait_before_resend(self, now: datetime) -> timedelta:
        """How much of the cooldown is left; the mixin's own question reads the clock."""
        if self.last_generated_timestamp is None:
            return timedelta(0)
        cooldown = timedelta(seconds=self.get_cooldown_duration())
        wait: timedelta = self.last_generated_timestamp + cooldown - now
        return wait


class OtpRequest(models.Model):
    """One OTP that was sent. The newest of a verification is the one that counts."""

    verification = models.ForeignKey(
        PhoneVerification, on_delete=models.CASCADE, related_name="requests"
    )
    auth_code = models.CharField(max_length=15)
    code_hash = models.CharField(max_length=64)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    # The gateway took it. Null with `undelivered_at`, too: it is on its way, or whoever was to send
    # it is dead; then nobody has to wait for long.
    sent_at = models.DateTimeField(null=True, blank=True)
    # The gateway refused it: nobody can know the code, and nothing was spent.
    undelivered_at = models.DateTimeField(null=True, blank=True)

    # What sends are limited by (contract 0), copied here so that each limit is one short index scan.
    game = models.ForeignKey("accounts.Game", on_delete=models.PROTECT, related_name="+")
    gamer = models.ForeignKey("accounts.Gamer", on_delete=models.PROTECT, related_name="+")
    phone = EncryptedText()
    phone_hash = KeyedHash(of="phone", kind="phone")
    prefix_hash = models.CharField(max_length=64)
    country = models.CharField(max_length=2, default="", db_default="")
    # A number for tests, of a sandbox: nothing was sent, and nothing was paid.
    is_free = models.BooleanField(default=False, db_default=False)

    class Meta:
        indexes = [
            models.Index(name="otp_sends_of_phone", fields=["phone_hash", "-created_at"]),
            models.Index(name="otp_sends_of_gamer", fields=["gamer", "-created_at"]),
            models.Index(name="otp_sends_of_prefix", fields=["prefix_hash", "-created_at"]),
            models.Index(name="otp_sends_of_game", fields=["game", "-created_at"]),
            models.Index(name="otp_sends", fields=["-created_at"]),
        ]

    def __str__(self) -> str:
        return f"OTP of {self.created_at:%Y-%m-%d %H:%M}"


class OtpSwitch(models.Model):
    """The one switch of all one-time passwords. Pulled, none is made or sent."""

    # There is one row, made by the migration.
    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    is_pulled = models.BooleanField(default=False)
    changed_by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    changed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "one-time passwords"
        verbose_name_plural = "one-time passwords"
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="otp_switch_is_one"),
            models.CheckConstraint(
                condition=models.Q(is_pulled=False)
                | (
                    models.Q(changed_at__isnull=False)
                    & ~models.Q(changed_by="")
                    & ~models.Q(reason="")
                ),
                name="otp_switch_pulled_by_somebody_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return "No one-time passwords are sent" if self.is_pulled else "One-time passwords are sent"
