"""Freezing a wallet and unfreezing it, and what a wallet's page says of both."""

from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from kgen.common.admin import (
    SUPPORT,
    Act,
    Done,
    ReasonForm,
    Table,
    act,
    badge,
    moment,
    panel,
)
from wallet import freezing
from wallet.admin.cells import NEWEST
from wallet.models import Wallet, WalletFreeze

LENGTHS: Final = {
    "1 day": timedelta(days=1),
    "7 days": timedelta(days=7),
    "30 days": timedelta(days=30),
}
UNTIL_LIFTED: Final = "until it is lifted"
UNTIL_A_DAY: Final = "until the end of a day"


class FreezeForm(ReasonForm):
    length = forms.ChoiceField(
        choices=[(one, one) for one in (*LENGTHS, UNTIL_LIFTED, UNTIL_A_DAY)], label="For how long"
    )
    last_day = forms.DateField(
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="In UTC; with “until the end of a day” alone.",
    )
    field_order = ["length", "last_day", "reason"]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        wants_day = data.get("length") == UNTIL_A_DAY
        if wants_day and not data.get("last_day") and "last_day" not in self.errors:
            self.add_error("last_day", "Say until which day.")
        if not wants_day and data.get("last_day"):
            self.add_error("length", f"Choose “{UNTIL_A_DAY}”, or leave the day empty.")
        return data


@act(Wallet)
class Freeze(Act[Wallet]):
    name, label, roles = "freeze", "Freeze", (SUPPORT,)
    is_dangerous = True

    def is_offered(self, wallet: Wallet) -> bool:
        return freezing.freeze_in_force(wallet, now=timezone.now()) is None

    def form(self, wallet: Wallet, data: QueryDict | None) -> FreezeForm:
        return FreezeForm(data)

    def consequences(self, wallet: Wallet) -> list[str]:
        return [
            f"{wallet.gamer} can neither claim nor withdraw until the freeze ends or is lifted.",
            "Playing, joining and scoring go on; a withdrawal under way is not stopped.",
            "One that waits for approval cannot be approved until then, but voided.",
            "The game is told that the wallet is frozen, not why.",
        ]

    def perform(self, request: HttpRequest, wallet: Wallet, data: dict[str, Any]) -> Done:
        now = timezone.now()
        made = freezing.freeze(
            wallet=wallet,
            reason=data["reason"],
            by=request.user.get_username(),
            until=_end_of(data, now=now),
            now=now,
        )
        return Done(f"The wallet is {_until(made)}.")


@act(Wallet)
class Unfreeze(Act[Wallet]):
    name, label, roles = "unfreeze", "Unfreeze", (SUPPORT,)

    def is_offered(self, wallet: Wallet) -> bool:
        return freezing.freeze_in_force(wallet, now=timezone.now()) is not None

    def consequences(self, wallet: Wallet) -> list[str]:
        return [f"{wallet.gamer} can claim and withdraw again at once."]

    def perform(self, request: HttpRequest, wallet: Wallet, data: dict[str, Any]) -> Done:
        freezing.unfreeze(
            wallet=wallet,
            reason=data["reason"],
            by=request.user.get_username(),
            now=timezone.now(),
        )
        return Done("The wallet is open again.")


@panel(Wallet, "Freezes", order=56)
def freezes_of_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    now = timezone.now()
    return Table(
        columns=["Frozen", "By", "Why", "Until", "State", "Lifted", "By", "Why lifted"],
        rows=[
            (
                moment(one.frozen_at),
                one.frozen_by,
                one.reason,
                moment(one.expires_at) if one.expires_at else "lifted",
                badge("in force", bad=True) if one.is_in_force(now) else badge("over"),
                moment(one.lifted_at),
                one.lifted_by or "-",
                one.lift_reason or "-",
            )
            for one in wallet.freezes.order_by("-pk")[:NEWEST]
        ],
        empty="Never frozen.",
    )


def state_of(wallet: Wallet) -> SafeString:
    """`open`, or `frozen` with its end and why; the wallet was read with its freeze."""
    in_force = freezing.freeze_in_force(wallet, now=timezone.now())
    if in_force is None:
        return badge("open", good=True)
    return format_html("{} {}", badge(_until(in_force), bad=True), in_force.reason)


class FrozenFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("frozen", "frozen"), ("open", "open")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Wallet]) -> QuerySet[Wallet]:
        # Freezes are few and wallets many.
        in_force = WalletFreeze.objects.filter(
            Q(expires_at=None) | Q(expires_at__gt=timezone.now()), lifted_at=None
        ).values("wallet")
        match self.value():
            case "frozen":
                return queryset.filter(pk__in=in_force)
            case "open":
                return queryset.exclude(pk__in=in_force)
            case _:
                return queryset


def _end_of(data: dict[str, Any], *, now: datetime) -> datetime | None:
    if data["length"] == UNTIL_LIFTED:
        return None
    if data["length"] == UNTIL_A_DAY:
        return datetime.combine(data["last_day"], time(23, 59, 59), UTC)
    return now + LENGTHS[data["length"]]


def _until(freeze: WalletFreeze) -> str:
    if freeze.expires_at is None:
        return "frozen until it is lifted"
    return f"frozen until {freeze.expires_at:%Y-%m-%d %H:%M} UTC"
