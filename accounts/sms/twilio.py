"""Twilio: by its Messages API, or by its Verify API with codes of ours.

Messages are sent as they are. Verify chooses routes by which codes come back, and has limits of its
own beside those that gamers are promised.
"""

from urllib.parse import quote

from django.conf import settings

from accounts.sms import Message, SmsInDoubt, SmsRefused
from accounts.sms.http import fields_of, post, refusal

_NAME = "Twilio"


class Twilio:
    def send(self, message: Message) -> None:
        sender = settings.SMS_TWILIO_SENDER
        # A sender is a number, a name, or a Messaging Service that has many of them.
        kind = "MessagingServiceSid" if sender.startswith("MG") else "From"
        response = post(
            _NAME,
            f"{settings.SMS_TWILIO_URL}/2010-04-01/Accounts/{settings.SMS_TWILIO_ACCOUNT}"
            "/Messages.json",
            auth=_key(),
            data={"To": message.phone, kind: sender, "Body": message.text},
        )
        told = fields_of(response)
        if response.status_code != 201 or told.get("status") in ("failed", "undelivered", None):
            raise refusal(_NAME, response, told.get("code") or told.get("error_code"))


class TwilioVerify:
    """The service has to allow custom codes (its "Custom Verification Code")."""

    def send(self, message: Message) -> None:
        # While a verification is open its own code would be sent again; mostly none is.
        try:
            self._end(message.phone, "canceled")
        except SmsInDoubt as doubt:
            raise SmsRefused(str(doubt)) from None  # not about the code: that one is not sent yet
        response = post(
            _NAME,
            f"{_service()}/Verifications",
            auth=_key(),
            data={"To": message.phone, "Channel": "sms", "CustomCode": message.code},
        )
        told = fields_of(response)
        if response.status_code != 201 or told.get("status") != "pending":
            raise refusal(_NAME, response, told.get("code"))

    def code_was_used(self, phone: str) -> None:
        self._end(phone, "approved")

    def _end(self, phone: str, status: str) -> None:
        """Whatever is answered: a verification that is not open has nothing to end."""
        post(
            _NAME,
            f"{_service()}/Verifications/{quote(phone, safe='')}",
            auth=_key(),
            data={"Status": status},
        )


def _key() -> tuple[str, str]:
    return settings.SMS_TWILIO_KEY, settings.SMS_TWILIO_SECRET


def _service() -> str:
    return f"{settings.SMS_TWILIO_VERIFY_URL}/v2/Services/{settings.SMS_TWILIO_VERIFY_SERVICE}"
