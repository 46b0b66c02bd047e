"""Sending a text to a phone: one protocol, and the gateway that the settings name."""

from typing import Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string


class SmsRefused(Exception):
    """The gateway did not take the text; nothing was sent."""


class SmsGateway(Protocol):
    def send(self, phone: str, text: str) -> None:
        """Hand `text` over for `phone` (E.164). Raises `SmsRefused`."""


def gateway() -> SmsGateway:
    """The gateway of `SMS_BACKEND`."""
    return cast("SmsGateway", import_string(settings.SMS_BACKEND)())
