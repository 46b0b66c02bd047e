"""The lanes: whether each submits, and the button with which a paused one goes on."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from kgen.common.admin import (
    FINANCE,
    Act,
    Done,
    ReadOnlyAdmin,
    act,
    badge,
    moment_column,
    short_column,
    text_column,
)
from wallet.admin.cells import VIEWED_BY_ALL
from wallet.models import Operator
from wallet.settlement import lanes


def lane_badge(lane: Operator) -> SafeString:
    if lane.is_paused:
        return badge(f"paused: {lane.pause_reason}", bad=True)
    return badge("on", good=True)


@admin.register(Operator)
class LaneAdmin(ReadOnlyAdmin[Operator]):
    roles = VIEWED_BY_ALL
    list_display = ["address_cut", "state", "since", "next_nonce", "chain_id"]
    ordering = ["id"]
    sortable_by = ()
    readonly_fields = ["address", "chain_id", "state", "since", "nonce"]

    address_cut = short_column("address", "lane")
    since = moment_column("paused_at", "paused since")
    nonce = text_column("next_nonce", "next nonce")

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Found through the page of solvency."""
        return False

    def title_of(self, row: Operator) -> str:
        return row.address

    @admin.display(description="state")
    def state(self, lane: Operator) -> SafeString:
        return lane_badge(lane)


@act(Operator)
class Resume(Act[Operator]):
    name, label, roles = "resume", "Resume the lane", (FINANCE,)
    is_dangerous = True

    def is_offered(self, lane: Operator) -> bool:
        return lane.is_paused

    def consequences(self, lane: Operator) -> list[str]:
        return [
            f"It was paused because: {lane.pause_reason}",
            "It submits what waits; what is not mended pauses it again with the next payout.",
        ]

    def perform(self, request: HttpRequest, lane: Operator, data: dict[str, Any]) -> Done:
        lanes.resume(operator_id=lane.pk, by=request.user.get_username(), reason=data["reason"])
        return Done("The lane is on.")
