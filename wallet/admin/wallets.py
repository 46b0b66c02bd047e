"""Wallets, and the wallet of a gamer: for reading."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts.models import Gamer
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
from wallet import ledger
from wallet.admin.cells import BUCKETS, NEWEST, VIEWED_BY_ALL, signed_kcash, sync_badge
from wallet.models import KgenWallet, LedgerAccount, Wallet


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin[Wallet]):
    roles = VIEWED_BY_ALL
    list_display = ["address", "whose", "game", "state", "moves", "opened"]
    list_select_related = ["gamer__game"]
    list_filter = ["is_frozen"]
    search_fields = ["address__exact", "gamer__gamer_id__startswith"]
    search_help_text = "Custodial wallet address, or gamer id"
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = ["address", "whose", "game", "state", "kgen_wallet", "moves", "opened"]

    whose = link_column("gamer")
    game = link_column("gamer__game", "game")
    opened = moment_column("created_at", "opened")
    moves = text_column("last_seq", "transactions")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Wallet]:
        wanted = ("gamer__game", "gamer__kgen_account__wallet")
        return super().get_queryset(request).select_related(*wanted)

    @admin.display(description="state")
    def state(self, wallet: Wallet) -> SafeString:
        return badge("frozen", bad=True) if wallet.is_frozen else badge("open", good=True)

    @admin.display(description="KGeN wallet")
    def kgen_wallet(self, wallet: Wallet) -> str:
        outside = _kgen_wallet_of(wallet.gamer)
        return outside.address if outside else "not linked yet"


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
        rows.append(
            ("Lazy balance", kcash(kept.lazy), "bonus + bought + earned: what may be spent")
        )
        rows.append(("Delta", kcash(kept.delta), "lazy balance - on the chain"))
    return Table(columns=["Bucket", "Amount", "What it is"], rows=rows, empty="No accounts.")


@panel(Wallet, "Newest transactions", order=20)
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


@panel(Gamer, "Wallet", order=10)
def wallet_of_gamer(request: HttpRequest, gamer: Gamer) -> Table:
    wallet = Wallet.objects.filter(gamer=gamer).first()
    if wallet is None:
        return Table(columns=[], rows=[], empty="Opened with the gamer's first session.")
    kept = ledger.balances(wallet.pk)
    outside = _kgen_wallet_of(gamer)
    return Table(
        columns=[
            "Custodial wallet",
            "State",
            "Spendable",
            "of it withdrawable",
            "To claim",
            "On hold",
            "On the chain",
            "KGeN wallet",
        ],
        rows=[
            (
                link(wallet, wallet.address),
                badge("frozen", bad=True) if wallet.is_frozen else badge("open", good=True),
                kcash(kept.lazy),
                kcash(kept.earned),
                kcash(kept.claimable),
                kcash(kept.hold),
                kcash(kept.onchain),
                short(outside.address) if outside else "not linked yet",
            )
        ],
        empty="",
    )


def _kgen_wallet_of(gamer: Gamer) -> KgenWallet | None:
    if gamer.kgen_account is None:
        return None
    wallet: KgenWallet | None = getattr(gamer.kgen_account, "wallet", None)
    return wallet
