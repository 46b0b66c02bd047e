"""Sending a one-time password to a phone: one protocol, and the gateway that the settings name."""

from dataclasses import dataclass, field
from typing import Protocol, cast, runtime_checkable

from django.conf import settings
from django.utils.module_loading import import_string


class SmsRefused(Exception):
    """The gateway did not take it; nothing was sent. Names neither the phone nor the text."""


class SmsInDoubt(SmsRefused):
    """No answer came in time: it may have been sent all the same, and paid for."""


@dataclass(frozen=True, slots=True)
class Message:
    """A one-time password on its way. What it says is in no `repr`, and so in no log."""

    phone: str = field(repr=False)
    code: str = field(repr=False)
    minutes: int

    @property
    def text(self) -> str:
        return f"{self.code} is your KGeN code for {self.minutes} minutes. Share it with nobody."


class SmsGateway(Protocol):
    def send(self, message: Message) -> None:
        """Hand a message over. Raises `SmsRefused`, or `SmsInDoubt`."""


@runtime_checkable
class CountsUses(Protocol):
    """A gateway that learns from which of its codes were used."""

    def code_was_used(self, phone: str) -> None:
        """Say that the newest code of a phone was used. Raises `SmsRefused`."""


def gateway_for(country: str) -> SmsGateway:
    """The gateway that serves a country (as "IN"): its own, or that of all others."""
    backend = settings.SMS_BACKEND_OF_COUNTRY.get(country, settings.SMS_BACKEND)
    return cast("SmsGateway", import_string(backend)())
