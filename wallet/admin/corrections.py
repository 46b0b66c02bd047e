"""Corrections: support asks on the wallet's page, somebody else decides on the correction's."""

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from kgen.common.admin import (
    FINANCE,
    SUPPORT,
    Act,
    Done,
    ReadOnlyAdmin,
    ReasonForm,
    Table,
    act,
    badge,
    link,
    link_column,
    minute_column,
    moment,
    moment_column,
    panel,
    text_column,
)
from wallet import corrections, ledger
from wallet.admin.cells import BUCKETS, NEWEST, VIEWED_BY_ALL, signed_kcash
from wallet.models import Correction, Wallet, WalletTransaction

State = Correction.State


class CorrectForm(ReasonForm):
    bucket = forms.ChoiceField(
        choices=[(bucket, BUCKETS[bucket][0]) for bucket in ledger.SPENDABLE], label="Balance"
    )
    direction = forms.ChoiceField(
        choices=[
            (WalletTransaction.Direction.CREDIT, "give to the gamer"),
            (WalletTransaction.Direction.DEBIT, "take from the gamer"),
        ]
    )
    amount = forms.IntegerField(min_value=1, max_value=ledger.MOST - 1, help_text="Whole KCash.")
    field_order = ["bucket", "direction", "amount", "reason"]


@act(Wallet)
class CorrectBalance(Act[Wallet]):
    name, label, roles = "correct", "Correct balance", (SUPPORT,)

    def form(self, wallet: Wallet, data: QueryDict | None) -> CorrectForm:
        return CorrectForm(data)

    def consequences(self, wallet: Wallet) -> list[str]:
        kept = ledger.balances(wallet.pk)
        now = ", ".join(
            f"{BUCKETS[bucket][0].lower()} {getattr(kept, bucket):,}" for bucket in ledger.SPENDABLE
        )
        return [
            f"{wallet.gamer} has now, in KCash: {now}.",
            "Nothing moves until somebody else of Support or Finance approves it.",
        ]

    def perform(self, request: HttpRequest, wallet: Wallet, data: dict[str, Any]) -> Done:
        asked = corrections.ask(
            wallet=wallet,
            bucket=ledger.Bucket(data["bucket"]),
            direction=WalletTransaction.Direction(data["direction"]),
            amount=data["amount"],
            reason=data["reason"],
            by=_who(request),
            now=timezone.now(),
        )
        return Done(f"Asked for: {asked}. Somebody else must approve it.")


@admin.register(Correction)
class CorrectionAdmin(ReadOnlyAdmin[Correction]):
    roles = VIEWED_BY_ALL
    list_display = ["what", "whose", "state_now", "asker", "asked_on", "decider", "decided_on"]
    list_filter = ["state"]
    search_fields = ["wallet__address__exact", "wallet__gamer__gamer_id__startswith"]
    search_help_text = "Custodial wallet address, or gamer id"
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = [
        "what",
        "whose",
        "in_wallet",
        "state_now",
        "why",
        "asker",
        "asked",
        "decider",
        "decided",
        "why_decided",
        "posted",
    ]

    whose = link_column("wallet__gamer", "gamer")
    in_wallet = link_column("wallet")
    why = text_column("reason", "reason")
    asker = text_column("asked_by", "asked by")
    asked = moment_column("asked_at", "asked")
    asked_on = minute_column("asked_at", "asked")
    decider = text_column("decided_by", "decided by")
    decided = moment_column("decided_at", "decided")
    decided_on = minute_column("decided_at", "decided")
    why_decided = text_column("decision_reason", "reason of the decision")
    posted = link_column("transaction")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Correction]:
        wanted = ("wallet__gamer", "asked_by", "decided_by", "transaction")
        return super().get_queryset(request).select_related(*wanted)

    @admin.display(description="what")
    def what(self, correction: Correction) -> SafeString:
        return what_of(correction)

    @admin.display(description="state")
    def state_now(self, correction: Correction) -> SafeString:
        return correction_badge(correction)


class _Decision(Act[Correction]):
    """Offered to all who may decide; whoever asked is refused with a sentence saying who may."""

    roles = (SUPPORT, FINANCE)

    def is_offered(self, correction: Correction) -> bool:
        return correction.state == State.ASKED


@act(Correction)
class Approve(_Decision):
    name, label = "approve", "Approve"
    is_dangerous = True

    def consequences(self, correction: Correction) -> list[str]:
        before: int = getattr(ledger.balances(correction.wallet_id), correction.bucket)
        after = before + correction.signed_amount
        title = BUCKETS[correction.bucket][0]
        return [
            f"{title} balance of {correction.wallet.gamer}: {before:,} → {after:,} KCash, at once.",
            "The chain follows as with every transaction. It cannot be undone, only corrected again.",
            f"Asked for by {correction.asked_by}, who cannot approve it: {correction.reason}",
        ]

    def perform(self, request: HttpRequest, correction: Correction, data: dict[str, Any]) -> Done:
        corrections.approve(
            correction=correction, reason=data["reason"], by=_who(request), now=timezone.now()
        )
        return Done(f"Posted: {correction}.")


@act(Correction)
class Reject(_Decision):
    name, label = "reject", "Reject"

    def consequences(self, correction: Correction) -> list[str]:
        return [
            "Nothing moves, and the correction is closed.",
            f"Asked for by {correction.asked_by}, who cannot reject it: {correction.reason}",
        ]

    def perform(self, request: HttpRequest, correction: Correction, data: dict[str, Any]) -> Done:
        corrections.reject(
            correction=correction, reason=data["reason"], by=_who(request), now=timezone.now()
        )
        return Done("The correction is rejected.")


@panel(Wallet, "Corrections", order=54)
def corrections_of_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    newest = wallet.corrections.select_related("asked_by", "decided_by").order_by("-pk")[:NEWEST]
    return Table(
        columns=["What", "Why", "State", "Asked", "By", "Decided", "By", "Why decided"],
        rows=[
            (
                link(one, what_of(one)),
                one.reason,
                correction_badge(one),
                moment(one.asked_at),
                one.asked_by,
                moment(one.decided_at),
                one.decided_by or "-",
                one.decision_reason or "-",
            )
            for one in newest
        ],
        empty="None. “Correct balance” asks for one; somebody else decides it.",
    )


def what_of(correction: Correction) -> SafeString:
    return format_html(
        "{}, {}", signed_kcash(correction.signed_amount), BUCKETS[correction.bucket][0].lower()
    )


def correction_badge(correction: Correction) -> SafeString:
    return badge(
        correction.get_state_display(),
        good=correction.state == State.APPROVED,
        busy=correction.state == State.ASKED,
    )


def _who(request: HttpRequest) -> User:
    """Whoever is signed in: the console lets nobody else in."""
    return cast(User, request.user)
