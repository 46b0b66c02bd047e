"""A wallet's page: what is in it and why, what is on its way, and what reached the chain."""

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from kgen.common import audit
from kgen.common.admin import (
    ReadOnlyAdmin,
    Table,
    badge,
    kcash,
    link,
    link_column,
    moment,
    moment_column,
    panel,
    short,
    text_column,
)
from wallet import explanations, ledger
from wallet.admin import freezing
from wallet.admin.cells import (
    BUCKETS,
    NEWEST,
    VIEWED_BY_ALL,
    payout_badge,
    signed_kcash,
    sync_badge,
    wei,
)
from wallet.admin.timeline import export_of, form_of
from wallet.models import LedgerAccount, Payout, Wallet


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin[Wallet]):
    roles = VIEWED_BY_ALL
    list_display = ["address", "whose", "game", "state", "moves", "opened"]
    list_select_related = ["gamer__game"]
    list_filter = [freezing.FrozenFilter]
    search_fields = ["address__exact", "gamer__gamer_id__startswith"]
    search_help_text = "Custodial wallet address, or gamer id"
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = ["address", "whose", "game", "state", "kgen_wallet", "moves", "opened"]

    whose = link_column("gamer")
    game = link_column("gamer__game", "game")
    opened = moment_column("created_at", "opened")
    moves = text_column("last_seq", "transactions")
    kgen_wallet = text_column("gamer__kgen_account__wallet__address", "KGeN wallet")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Wallet]:
        wanted = ("gamer__game", "gamer__kgen_account__wallet", "freeze")
        return super().get_queryset(request).select_related(*wanted)

    def get_urls(self) -> list[URLPattern]:
        export = path(
            "<path:object_id>/timeline.csv",
            self.admin_site.admin_view(self.export_timeline),
            name="wallet_wallet_timeline",
        )
        return [export, *super().get_urls()]

    def export_timeline(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Write down who takes a gamer's history away, and of which days; then send it."""
        wallet = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, wallet):
            raise PermissionDenied
        if wallet is None:
            raise Http404
        form = form_of(request.GET)
        if not form.is_valid():
            self.message_user(request, "Not exported: see the filter.", level=messages.ERROR)
            page = reverse("admin:wallet_wallet_change", args=[wallet.pk])
            return HttpResponseRedirect(f"{page}?{request.GET.urlencode()}#timeline")
        audit.record(
            name="export",
            label=f"Exported the timeline{'' if form.query else ' (all of it)'}",
            row=wallet,
            details=form.query,
            request=request,
        )
        return export_of(wallet, form.wanted)

    @admin.display(description="state")
    def state(self, wallet: Wallet) -> SafeString:
        return freezing.state_of(wallet)


@panel(Wallet, "Balances", order=10)
def balances_of_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    accounts = {
        account.bucket: account
        for account in LedgerAccount.objects.filter(
            owner_kind=LedgerAccount.Owner.WALLET, owner_id=wallet.pk
        )
    }
    rows: list[tuple[object, ...]] = [
        (link(accounts[bucket], title), kcash(accounts[bucket].balance), meaning)
        for bucket, (title, meaning) in BUCKETS.items()
        if bucket in accounts
    ]
    if rows:
        kept = ledger.Balances(**{name: account.balance for name, account in accounts.items()})
        lazy = f"{kept.bonus:,} bonus + {kept.bought:,} bought + {kept.earned:,} earned"
        delta = f"{kept.lazy:,} lazy balance - {kept.onchain:,} on the chain"
        rows += [
            ("Lazy balance", kcash(kept.lazy), f"= {lazy}: what may be spent"),
            ("Delta", kcash(kept.delta), f"= {delta}: what the chain has yet to follow"),
        ]
    return Table(columns=["Bucket", "Amount", "What it is"], rows=rows, empty="No accounts.")


@panel(Wallet, "Why is my balance this?", order=20)
def reasons_of_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    found = explanations.explanations_of(wallet=wallet)
    every = reverse("admin:wallet_reconciliationrun_changelist")
    return Table(
        columns=["Bucket", "Balance", "Because"],
        rows=[(BUCKETS[one.bucket][0], kcash(one.balance), _because(one)) for one in found],
        empty="No accounts.",
        links=[(every, "Reconciliation runs")] if any(one.drift for one in found) else [],
    )


def _because(one: explanations.Explanation) -> str | SafeString:
    reasons = f"= {one.sum_of_causes}" if one.causes else "Nothing has moved here yet."
    if not one.drift:
        return reasons
    wrong = f"drift of {one.drift:+,} KCash: no transfer accounts for it. Tell finance."
    return format_html("{} {}", reasons, badge(wrong, bad=True))


@panel(Wallet, "Withdrawals on hold", order=25)
def holds_of_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    state = Payout.State
    under_way = wallet.payouts.filter(kind=Payout.Kind.WITHDRAW).exclude(
        state__in=[state.COMPLETED, state.VOIDED]
    )
    return Table(
        columns=["Amount", "Since", "State", "To the KGeN wallet", "Last error"],
        rows=[
            (
                link(payout, kcash(payout.amount)),
                moment(payout.created_at),
                payout_badge(payout),
                payout.to_address,
                payout.error or "-",
            )
            for payout in under_way.order_by("-seq")[:NEWEST]
        ],
        empty="None. A withdrawal stands here until the chain has made it final or it is given"
        " back.",
    )


@panel(Wallet, "Newest transactions", order=40)
def transactions_of_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    newest = wallet.transactions.select_related("payout").order_by("-seq")[:NEWEST]
    every = reverse("admin:wallet_wallettransaction_changelist")
    return Table(
        columns=["No.", "What", "Amount", "Sync", "On the chain", "When"],
        rows=[
            (
                one.seq,
                link(one, one.description or one.name),
                signed_kcash(one.signed_amount),
                sync_badge(one),
                short(one.payout.tx_hash if one.payout else None),
                moment(one.created_at),
            )
            for one in newest
        ],
        empty="Nothing has moved yet.",
        links=[(f"{every}?{urlencode({'wallet__id__exact': wallet.pk})}", "All transactions")],
    )


@panel(Wallet, "Newest payouts", order=50)
def payouts_of_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    every = reverse("admin:wallet_payout_changelist")
    return Table(
        columns=[
            "What",
            "Amount",
            "State",
            "Failed tries",
            "Chain transaction",
            "Block",
            "Gas cost",
            "Made",
        ],
        rows=[
            (
                link(payout, capfirst(payout.get_kind_display())),
                kcash(payout.amount),
                payout_badge(payout),
                payout.tries,
                short(payout.tx_hash),
                payout.block_number or "-",
                wei(payout.gas_fee),
                moment(payout.created_at),
            )
            for payout in wallet.payouts.order_by("-seq")[:NEWEST]
        ],
        empty="None yet: each transaction is given to the chain within about a minute.",
        links=[(f"{every}?{urlencode({'wallet__id__exact': wallet.pk})}", "All payouts")],
    )
