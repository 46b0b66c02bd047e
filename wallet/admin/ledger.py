"""The accounts of the ledger and their transfers: for reading."""

from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from django.contrib import admin
from django.db.models import Case, F, Func, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts.models import Game
from kgen.common.admin import ReadOnlyAdmin, Table, kcash, kcash_column, link, moment, panel, short
from kgen.common.money import AmountField
from wallet.admin.cells import BUCKETS, VIEWED_BY_ALL, signed_kcash, words
from wallet.models import LedgerAccount, Transfer, Wallet

TRANSFERS_PER_PAGE: Final = 50

SYSTEM_ACCOUNTS: Final = {
    "mint": "Mint: where welcome bonuses come from",
    "treasury": "Treasury: where grants come from",
    "platform_rake": "Rake: the platform's half",
    "kgen_out": "Out: withdrawals that have left",
    "chain_supply": "Chain: the other side of what wallets hold there",
}


class LedgerAccountQuerySet(QuerySet[LedgerAccount]):
    def named(self) -> Self:
        """Add what a name is made of, in the same query."""
        wallets = Wallet.objects.filter(pk=OuterRef("owner_id")).values("gamer__gamer_id")
        games = Game.objects.filter(pk=OuterRef("owner_id")).values("name")
        return self.annotate(
            gamer=Case(When(owner_kind="WALLET", then=Subquery(wallets))),
            game=Case(When(owner_kind="GAME", then=Subquery(games))),
        )


def account_name(account: LedgerAccount) -> str:
    """What staff call an account that was read with `named`."""
    named: Any = account
    match account.owner_kind:
        case LedgerAccount.Owner.WALLET:
            return f"{named.gamer}: {BUCKETS[account.bucket][0].lower()}"
        case LedgerAccount.Owner.TOURNAMENT:
            return f"Pool of tournament {str(account.owner_uid)[:8]}"
        case LedgerAccount.Owner.GAME:
            return f"Rake: the developer's half of {named.game}"
        case _:
            return SYSTEM_ACCOUNTS[account.bucket]


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin[LedgerAccount]):
    roles = VIEWED_BY_ALL
    list_display = ["name", "balance_now"]
    list_filter = ["owner_kind", "bucket"]
    search_fields = ["owner_uid__exact"]
    search_help_text = "Tournament id. A gamer's accounts are linked from the wallet's page."
    ordering = ["id"]
    sortable_by = ()
    readonly_fields = ["name", "balance_now", "explained"]

    balance_now = kcash_column("balance_now", "balance")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerAccount]:
        queued = Func(
            F("pk"),
            template="(SELECT sum(amount) FROM ledger.pending_credit"
            " WHERE account_id = %(expressions)s)",
            output_field=AmountField(),
        )
        # From the last closed day on, which is what makes it a short sum.
        unkept = Func(
            F("pk"),
            template="(SELECT balance FROM ledger.unkept_balance(%(expressions)s, clock_timestamp()))",
            output_field=AmountField(),
        )
        named = LedgerAccountQuerySet(LedgerAccount).named()
        return named.annotate(
            balance_now=Case(
                When(mode=LedgerAccount.Mode.NONE, then=unkept),
                default=F("balance") + Coalesce(queued, 0, output_field=AmountField()),
                output_field=AmountField(),
            )
        )

    def title_of(self, row: LedgerAccount) -> str:
        return account_name(row)

    @admin.display(description="account")
    def name(self, account: LedgerAccount) -> str:
        return account_name(account)

    @admin.display(description="how it is kept")
    def explained(self, account: LedgerAccount) -> str:
        return {
            LedgerAccount.Mode.STRICT: "With every transfer; never below 0.",
            LedgerAccount.Mode.QUEUED: "With every transfer out; what comes in is added up. "
            "Never below 0.",
            LedgerAccount.Mode.NONE: "Not with the transfers: summed up from the last closed day on. "
            "Below 0 where it has given more than it got.",
        }[LedgerAccount.Mode(account.mode)]


@panel(LedgerAccount, "Transfers, newest first")
def transfers_of_account(request: HttpRequest, account: LedgerAccount) -> Table:
    """One page; the address carries where the next one starts, so that a deep page costs no more."""
    is_strict = account.mode == LedgerAccount.Mode.STRICT
    page_of = _numbered_page if is_strict else _dated_page
    transfers = page_of(account, request.GET.get("before", ""))
    shown = transfers[:TRANSFERS_PER_PAGE]

    others = {row.credit_id if row.debit_id == account.pk else row.debit_id for row in shown}
    names = {
        other.pk: other
        for other in LedgerAccountQuerySet(LedgerAccount).named().filter(pk__in=others)
    }
    rows = []
    for row in shown:
        is_out = row.debit_id == account.pk
        other = names[row.credit_id if is_out else row.debit_id]
        after = row.debit_after if is_out else row.credit_after
        rows.append(
            (
                moment(row.created_at),
                words(row.kind),
                link(other, account_name(other)),
                signed_kcash(-row.amount if is_out else row.amount),
                kcash(after),
                _posting_link(row.posting_id),
            )
        )
    links = []
    if request.GET.get("before"):
        links.append((request.path, "Newest"))
    if len(transfers) > len(shown):
        last = shown[-1]
        number = last.debit_seq if last.debit_id == account.pk else last.credit_seq
        dated = f"{last.created_at.isoformat()}/{last.posting_id}/{last.leg}"
        before = str(number) if is_strict else dated
        links.append((f"?{urlencode({'before': before})}", "Older"))
    return Table(
        columns=["When", "What", "Other account", "Amount", "Balance after", "Posting"],
        rows=rows,
        empty="Nothing has moved yet.",
        links=links,
    )


def _numbered_page(account: LedgerAccount, before: str) -> list[Transfer]:
    """By the numbers that an account gives its transfers under its own lock."""
    out, into = Transfer.objects.filter(debit=account), Transfer.objects.filter(credit=account)
    if before.isascii() and before.isdigit():
        out = out.filter(debit_seq__lt=int(before))
        into = into.filter(credit_seq__lt=int(before))
    transfers = [
        *out.filter(debit_seq__isnull=False).order_by("-debit_seq")[: TRANSFERS_PER_PAGE + 1],
        *into.filter(credit_seq__isnull=False).order_by("-credit_seq")[: TRANSFERS_PER_PAGE + 1],
    ]
    transfers.sort(
        key=lambda row: (row.debit_seq if row.debit_id == account.pk else row.credit_seq) or 0,
        reverse=True,
    )
    return transfers[: TRANSFERS_PER_PAGE + 1]


def _dated_page(account: LedgerAccount, before: str) -> list[Transfer]:
    """By time, where transfers have no number; those of one moment by posting and leg."""
    earlier = _earlier_than(before)
    out = Transfer.objects.filter(earlier, debit=account)
    if account.mode == LedgerAccount.Mode.NONE:
        out = out.filter(debit_seq=None)
    into = Transfer.objects.filter(earlier, credit=account, credit_seq=None)
    order = ("-created_at", "-posting_id", "-leg")
    transfers = [
        *out.order_by(*order)[: TRANSFERS_PER_PAGE + 1],
        *into.order_by(*order)[: TRANSFERS_PER_PAGE + 1],
    ]
    transfers.sort(key=lambda row: (row.created_at, row.posting_id, row.leg), reverse=True)
    return transfers[: TRANSFERS_PER_PAGE + 1]


def _earlier_than(before: str) -> Q:
    try:
        at, posting, leg = before.split("/")
        moment_of, posting_id, leg_no = datetime.fromisoformat(at), UUID(posting), int(leg)
    except ValueError:
        return Q()
    return (
        Q(created_at__lt=moment_of)
        | Q(created_at=moment_of, posting_id__lt=posting_id)
        | Q(created_at=moment_of, posting_id=posting_id, leg__lt=leg_no)
    )


def _posting_link(posting_id: UUID) -> SafeString:
    """The transactions that this posting made, if any: a search, since many make none."""
    every = reverse("admin:wallet_wallettransaction_changelist")
    return format_html('<a href="{}?q={}">{}</a>', every, posting_id, short(str(posting_id)))
