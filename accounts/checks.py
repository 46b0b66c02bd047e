"""What `manage.py check --deploy` says of how one-time passwords are sent."""

from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

OUTBOX: Final = "accounts.sms.outbox.FileOutbox"
# What each gateway cannot do without.
NEEDS: Final = {
    "accounts.sms.twilio.Twilio": (
        "SMS_TWILIO_ACCOUNT",
        "SMS_TWILIO_KEY",
        "SMS_TWILIO_SECRET",
        "SMS_TWILIO_SENDER",
    ),
    "accounts.sms.twilio.TwilioVerify": (
        "SMS_TWILIO_KEY",
        "SMS_TWILIO_SECRET",
        "SMS_TWILIO_VERIFY_SERVICE",
    ),
    "accounts.sms.sns.Sns": ("SMS_SNS_REGION", "SMS_SNS_KEY_ID", "SMS_SNS_SECRET"),
    "accounts.sms.msg91.Msg91": ("SMS_MSG91_KEY", "SMS_MSG91_TEMPLATE"),
}


def check_gateways(**_: Any) -> Sequence[CheckMessage]:
    """A gateway that sends nothing, or that lacks its settings, is found before gamers find it."""
    found: list[CheckMessage] = []
    for backend in sorted({settings.SMS_BACKEND, *settings.SMS_BACKEND_OF_COUNTRY.values()}):
        if backend == OUTBOX:
            found.append(
                Warning(
                    "One-time passwords are written to a file and sent to nobody.",
                    hint="Name a gateway in SMS_BACKEND; the file outbox is for development.",
                    id="accounts.W001",
                )
            )
        missing = [name for name in NEEDS.get(backend, ()) if not getattr(settings, name)]
        if missing:
            found.append(
                Error(f"{backend} needs {', '.join(missing)}.", id="accounts.E001"),
            )
    return found
