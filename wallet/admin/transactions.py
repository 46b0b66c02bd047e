"""Wallet transactions, each with its transfers: for reading."""

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString

from kgen.common.admin import (
    ReadOnlyAdmin,
    Table,
    kcash,
    link,
    link_column,
    moment,
    moment_column,
    panel,
    short_column,
    text_column,
)
from wallet.admin.cells import VIEWED_BY_ALL, payout_title, signed_kcash, sync_badge, words
from wallet.admin.ledger import LedgerAccountQuerySet, account_name
from wallet.models import LedgerAccount, Transfer, WalletTransaction


@admin.register(WalletTransaction)
class WalletTransactionAdmin(ReadOnlyAdmin[WalletTransaction]):
    roles = VIEWED_BY_ALL
    list_display = ["what", "signed", "whose", "sync", "chain_hash", "made"]
    list_select_related = ["wallet__gamer", "payout"]
    list_filter = ["sync_status", "type"]
    search_fields = ["uid__exact", "wallet__address__exact", "payout__tx_hash__exact"]
    search_help_text = "Transaction id, custodial wallet address, or transaction hash"
    ordering = ["-uid"]  # ids begin with the time
    sortable_by = ()
    readonly_fields = [
        "id_",
        "what",
        "type",
        "signed",
        "whose",
        "from_wallet",
        "to_wallet",
        "sync",
        "sync_error",
        "chain_payout",
        "reversed",
        "made",
        "changed",
    ]

    whose = link_column("wallet__gamer", "gamer")
    chain_hash = short_column("payout__tx_hash", "on the chain")
    reversed = link_column("reverses", "takes back")
    id_ = text_column("uid", "transaction id")
    made = moment_column("created_at", "when")
    changed = moment_column("modified_at", "last change")

    def title_of(self, row: WalletTransaction) -> str:
        return self.what(row)

    @admin.display(description="what")
    def what(self, one: WalletTransaction) -> str:
        return one.description or one.name

    @admin.display(description="payout")
    def chain_payout(self, one: WalletTransaction) -> str:
        return link(one.payout, payout_title(one.payout) if one.payout else "-")

    @admin.display(description="amount")
    def signed(self, one: WalletTransaction) -> SafeString:
        return signed_kcash(one.signed_amount)

    @admin.display(description="sync")
    def sync(self, one: WalletTransaction) -> SafeString:
        return sync_badge(one)

    @admin.display(description="from")
    def from_wallet(self, one: WalletTransaction) -> str:
        return one.from_address

    @admin.display(description="to")
    def to_wallet(self, one: WalletTransaction) -> str:
        return one.to_address


@panel(WalletTransaction, "In the ledger")
def transfers_of_transaction(request: HttpRequest, one: WalletTransaction) -> Table:
    of_it = Q(posting_id=one.uid)
    if one.type == WalletTransaction.Type.REVERSAL:
        of_it = Q(posting_id=one.reverses_id, phase=Transfer.Phase.RESOLVE)
    transfers = list(Transfer.objects.filter(of_it).order_by("phase", "leg"))
    touched = {pk for row in transfers for pk in (row.debit_id, row.credit_id)}
    accounts = {
        account.pk: account
        for account in LedgerAccountQuerySet(LedgerAccount).named().filter(pk__in=touched)
    }
    return Table(
        columns=["What", "From", "To", "Amount", "When"],
        rows=[
            (
                words(row.kind),
                link(accounts[row.debit_id], account_name(accounts[row.debit_id])),
                link(accounts[row.credit_id], account_name(accounts[row.credit_id])),
                kcash(row.amount),
                moment(row.created_at),
            )
            for row in transfers
        ],
        empty="No transfers: this should not be.",
    )
