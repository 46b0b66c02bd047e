"""Withdrawals above a limit: the queue of those that wait, staff's approval, and a game's limit."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.validators import MaxValueValidator
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.models import Game
from kgen.common.admin import (
    FINANCE,
    Act,
    Done,
    ReadOnlyAdmin,
    ReasonForm,
    Table,
    act,
    duration,
    kcash_column,
    link,
    link_column,
    minute_column,
    moment,
    panel,
)
from kgen.common.money import LARGEST_AMOUNT_IN_JSON
from wallet import approvals
from wallet.admin.cells import VIEWED_BY_ALL
from wallet.models import ApprovalRequest, Payout


@admin.register(ApprovalRequest)
class ApprovalQueueAdmin(ReadOnlyAdmin[ApprovalRequest]):
    """Those that wait, the oldest first. What staff do to one is on the page of its payout."""

    roles = VIEWED_BY_ALL
    list_display = [
        "payout_link",
        "whose",
        "game",
        "why",
        "kgen_wallet",
        "approved",
        "waits_since",
    ]
    list_display_links = None
    list_filter = ["payout__wallet__gamer__game"]
    ordering = ["created_at", "payout_id"]
    sortable_by = ()
    readonly_fields = ["payout_link", "how_much", "whose", "game", "why", "approved"]

    how_much = kcash_column("payout__amount", "amount")
    game = link_column("payout__wallet__gamer__game", "game")
    waits_since = minute_column("created_at", "waits since")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApprovalRequest]:
        waiting = super().get_queryset(request).filter(payout__state=Payout.State.AWAITING_APPROVAL)
        return waiting.select_related(
            "payout__wallet__gamer__game", "payout__wallet__gamer__kgen_account__wallet"
        ).prefetch_related("payout__approvals__staff")

    @admin.display(description="withdrawal")
    def payout_link(self, request: ApprovalRequest) -> str:
        return link(request.payout, f"{request.payout.amount:,} KCash")

    @admin.display(description="gamer")
    def whose(self, request: ApprovalRequest) -> str:
        """To the wallet, which everybody who sees this may see: its history is what tells."""
        return link(request.payout.wallet, request.payout.wallet.gamer)

    @admin.display(description="because")
    def why(self, request: ApprovalRequest) -> SafeString:
        return format_html_join("", "<p>{}</p>", ((line,) for line in request.reasons.splitlines()))

    @admin.display(description="KGeN wallet")
    def kgen_wallet(self, request: ApprovalRequest) -> str:
        """How long the gamer has had it; a thief's is seldom old."""
        gamer = request.payout.wallet.gamer
        if gamer.kgen_account is None:
            return "-"
        made_at = gamer.kgen_account.wallet.created_at
        known_for: timedelta = timezone.now() - max(made_at, gamer.linked_at or made_at)
        return f"known for {duration(known_for)}"

    @admin.display(description="approved by")
    def approved(self, request: ApprovalRequest) -> str:
        names = [str(one.staff) for one in request.payout.approvals.all()]
        count = f"{len(names)} of {request.approvals_needed}"
        return f"{count}: {', '.join(names)}" if names else count


@panel(Payout, "Approval", order=10)
def approval_of_payout(request: HttpRequest, payout: Payout) -> Table:
    asked = ApprovalRequest.objects.filter(payout=payout).first()
    rows: list[tuple[object, ...]] = []
    if asked is not None:
        rows = [
            (moment(asked.created_at), "the limits", f"{asked.approvals_needed} needed: {line}")
            for line in asked.reasons.splitlines()
        ]
    rows += [
        (moment(one.created_at), one.staff, f"Approved: {one.reason}")
        for one in payout.approvals.select_related("staff").order_by("created_at")
    ]
    return Table(columns=["When", "Who", "What"], rows=rows, empty="None is needed.")


@act(Payout)
class Approve(Act[Payout]):
    name, label, roles = "approve", "Approve", (FINANCE,)
    is_dangerous = True

    def is_offered(self, payout: Payout) -> bool:
        return payout.state == Payout.State.AWAITING_APPROVAL

    def consequences(self, payout: Payout) -> list[str]:
        asked, gamer = payout.approval_request, payout.wallet.gamer
        what = f"{payout.amount:,} KCash of {gamer} in {gamer.game}"
        if asked.approvals_needed - payout.approvals.count() > 1:
            lines = [f"{what} are not paid yet: another of the staff has to approve it, too."]
        else:
            lines = [f"{what} are paid to {payout.to_address}. It cannot be undone."]
            if payout.not_before is not None and payout.not_before > timezone.now():
                lines.append(
                    f"Not before {payout.not_before:%Y-%m-%d %H:%M} UTC: the KGeN wallet is new."
                )
        return [*lines, *(f"You are asked because: {line}" for line in asked.reasons.splitlines())]

    def perform(self, request: HttpRequest, payout: Payout, data: dict[str, Any]) -> Done:
        staff = User.objects.get_by_natural_key(request.user.get_username())
        approved = approvals.approve(
            payout_uid=payout.pk, by=staff, reason=data["reason"], now=timezone.now()
        )
        if approved.state == Payout.State.AWAITING_APPROVAL:
            return Done("You have approved it; another of the staff has to approve it, too.")
        return Done("The withdrawal is approved and on its way.")


# --- A game's limit ------------------------------------------------------------------------------


class LimitForm(ReasonForm):
    limit = forms.IntegerField(
        min_value=0,
        validators=[MaxValueValidator(LARGEST_AMOUNT_IN_JSON)],
        help_text="KCash, whole units; 0 asks staff about every withdrawal.",
    )
    field_order = ["limit", "reason"]


@act(Game)
class LimitWithdrawals(Act[Game]):
    """Finance's, and not in the form that operators save."""

    name, label, roles = "limit_withdrawals", "Limit withdrawals", (FINANCE,)
    is_dangerous = True

    def form(self, game: Game, data: QueryDict | None) -> LimitForm:
        return LimitForm(data, initial={"limit": game.auto_approve_limit})

    def consequences(self, game: Game) -> list[str]:
        return [
            "From now on a withdrawal of more than this waits for staff.",
            f"Until now up to {game.auto_approve_limit:,} KCash went by themselves.",
            "What waits already goes on waiting for its approvals.",
        ]

    def perform(self, request: HttpRequest, game: Game, data: dict[str, Any]) -> Done:
        Game.objects.filter(pk=game.pk).update(auto_approve_limit=data["limit"])
        return Done(f"Up to {data['limit']:,} KCash of a withdrawal go by themselves.")
