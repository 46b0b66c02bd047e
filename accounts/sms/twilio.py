"""Twilio, by its Messages API.

Not by its Verify API: that one wants to make the code, or to be told of every check of ours, and it
has limits of its own beside those that gamers are promised.
"""

from django.conf import settings

from accounts.sms import Message
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
            auth=(settings.SMS_TWILIO_KEY, settings.SMS_TWILIO_SECRET),
            data={"To": message.phone, kind: sender, "Body": message.text},
        )
        told = fields_of(response)
        if response.status_code != 201 or told.get("status") in ("failed", "undelivered", None):
            raise refusal(_NAME, response, told.get("code") or told.get("error_code"))
