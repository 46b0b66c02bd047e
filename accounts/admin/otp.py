"""One-time passwords: how many go out, how many come back, and the switch that stops them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from accounts import otp_watch
from accounts.models import OtpSwitch
from kgen.common.admin import (
    ADMINS,
    OPERATORS,
    SUPPORT,
    Act,
    Done,
    ReadOnlyAdmin,
    Table,
    act,
    badge,
    moment_column,
    panel,
    text_column,
)


@admin.register(OtpSwitch)
class OtpSwitchAdmin(ReadOnlyAdmin[OtpSwitch]):
    roles = {OPERATORS: ("view",), SUPPORT: ("view",), ADMINS: ("view",)}
    list_display = ["state", "alarms", "since", "by", "why"]
    sortable_by = ()
    readonly_fields = ["state", "since", "by", "why"]

    since = moment_column("changed_at", "since")
    by = text_column("changed_by", "turned by")
    why = text_column("reason", "reason")

    @admin.display(description="one-time passwords")
    def state(self, switch: OtpSwitch) -> SafeString:
        return badge("stopped", bad=True) if switch.is_pulled else badge("sent", good=True)

    @admin.display(description="alarms")
    def alarms(self, switch: OtpSwitch) -> str | SafeString:
        number = len(list(otp_watch.alarms(now=timezone.now())))
        return badge(str(number), bad=True) if number else "none"


@panel(OtpSwitch, "Sent", order=10)
def sent(request: HttpRequest, switch: OtpSwitch) -> Table:
    return Table(
        columns=["Of", "Sent", "Limit", "Used up", "State"],
        rows=[
            (
                use.of,
                use.sent,
                use.most,
                f"{use.percent} %",
                badge("nearly used up", bad=True) if use.is_alarming else badge("fine", good=True),
            )
            for use in otp_watch.uses(now=timezone.now())
        ],
        empty="",
    )


@panel(OtpSwitch, "Verified, of an hour's", order=20)
def verified(request: HttpRequest, switch: OtpSwitch) -> Table:
    return Table(
        columns=["Of", "Sent", "Verified", "Share", "State"],
        rows=[
            (
                rate.of,
                rate.sent,
                rate.verified,
                f"{rate.percent} %",
                badge("too few", bad=True) if rate.is_alarming else badge("fine", good=True),
            )
            for rate in otp_watch.rates(now=timezone.now())
        ],
        empty="None was sent within the hour.",
    )


@act(OtpSwitch)
class Pull(Act[OtpSwitch]):
    name, label, roles = "pull", "Stop one-time passwords", (SUPPORT, ADMINS)
    is_dangerous = True

    def is_offered(self, switch: OtpSwitch) -> bool:
        return not switch.is_pulled

    def consequences(self, switch: OtpSwitch) -> list[str]:
        return [
            "No SMS is sent any more: whoever wants to link a phone is asked to come back later.",
            "Codes that are out already may still be used. Whoever is linked plays and withdraws.",
        ]

    def perform(self, request: HttpRequest, switch: OtpSwitch, data: dict[str, Any]) -> Done:
        otp_watch.pull(reason=data["reason"], by=request.user.get_username(), now=timezone.now())
        return Done("No one-time passwords are sent.")


@act(OtpSwitch)
class Release(Act[OtpSwitch]):
    name, label, roles = "release", "Send one-time passwords again", (SUPPORT, ADMINS)
    is_dangerous = True

    def is_offered(self, switch: OtpSwitch) -> bool:
        return switch.is_pulled

    def consequences(self, switch: OtpSwitch) -> list[str]:
        return ["SMS are sent, and paid for, from the next request on."]

    def perform(self, request: HttpRequest, switch: OtpSwitch, data: dict[str, Any]) -> Done:
        otp_watch.release(reason=data["reason"], by=request.user.get_username(), now=timezone.now())
        return Done("One-time passwords are sent again.")
