"""Wallets, their ledger and what reaches the chain: for reading, but for freeze and unfreeze."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from django.contrib import admin
from django.db.models import Case, F, Func, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from accounts.models import Game, Gamer
from kgen.common.admin import (
    FINANCE,
    OPERATORS,
    SUPPORT,
    Act,
    Done,
    ReadOnlyAdmin,
    Table,
    act,
    badge,
    kcash,
    kcash_column,
    link,
    link_column,
    moment,
    moment_column,
    panel,
    short,
    short_column,
    text_column,
)
from kgen.common.money import AmountField
from wallet import ledger
from wallet.models import (
    Attempt,
    KgenWallet,
    LedgerAccount,
    Payout,
    PayoutSwitch,
    ReconciliationRun,
    Slot,
    Transfer,
    Wallet,
    WalletTransaction,
)
from wallet.settlement import pausing

VIEWED_BY_ALL: Final[dict[str, Collection[str]]] = {
    OPERATORS: ("view",),
    SUPPORT: ("view",),
    FINANCE: ("view",),
}

NEWEST: Final = 25
TRANSFERS_PER_PAGE: Final = 50

BUCKETS: Final = {
    "bonus": ("Bonus", "welcome bonus; may be played with, never withdrawn"),
    "bought": ("Bought", "bought KCash; may be played with"),
    "earned": ("Earned", "claimed prizes; may be played with and withdrawn"),
    "claimable": ("To claim", "prizes and rewards that the gamer has not claimed yet"),
    "hold": ("On hold", "withdrawals on their way to the gamer's KGeN wallet"),
    "onchain": ("On the chain", "what the chain has made final in the custodial wallet"),
}


# --- Wallets -------------------------------------------------------------------------------------


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


@act(Wallet)
class Freeze(Act[Wallet]):
    name, label, roles = "freeze", "Freeze", (SUPPORT,)
    is_dangerous = True

    def is_offered(self, wallet: Wallet) -> bool:
        return not wallet.is_frozen

    def consequences(self, wallet: Wallet) -> list[str]:
        return [
            f"{wallet.gamer} can neither claim nor withdraw until the wallet is unfrozen.",
            "Playing, joining and scoring go on; a withdrawal under way is not stopped.",
        ]

    def perform(self, request: HttpRequest, wallet: Wallet, data: dict[str, Any]) -> Done:
        _set_frozen(wallet, True, now=timezone.now())
        return Done("The wallet is frozen.")


@act(Wallet)
class Unfreeze(Act[Wallet]):
    name, label, roles = "unfreeze", "Unfreeze", (SUPPORT,)

    def is_offered(self, wallet: Wallet) -> bool:
        return wallet.is_frozen

    def consequences(self, wallet: Wallet) -> list[str]:
        return [f"{wallet.gamer} can claim and withdraw again at once."]

    def perform(self, request: HttpRequest, wallet: Wallet, data: dict[str, Any]) -> Done:
        _set_frozen(wallet, False, now=timezone.now())
        return Done("The wallet is open again.")


def _set_frozen(wallet: Wallet, frozen: bool, *, now: datetime) -> None:
    Wallet.objects.filter(pk=wallet.pk).update(is_frozen=frozen, modified_at=now)


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


# --- Transactions --------------------------------------------------------------------------------


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


def signed_kcash(amount: int) -> SafeString:
    return format_html('<span class="number">{} KCash</span>', f"{amount:+,}")


def words(kind: str) -> str:
    """`ENTRY_FEE` as people write it."""
    return kind.replace("_", " ").capitalize()


def sync_badge(one: WalletTransaction) -> SafeString:
    status = WalletTransaction.SyncStatus
    return badge(
        one.sync_status,
        good=one.sync_status == status.COMPLETED,
        busy=one.sync_status == status.PROCESSING,
        bad=one.sync_status == status.FAILED,
    )


# --- The ledger ----------------------------------------------------------------------------------

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

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerAccount]:
        queued = Func(
            F("pk"),
            template="(SELECT sum(amount) FROM ledger.pending_credit"
            " WHERE account_id = %(expressions)s)",
            output_field=AmountField(),
        )
        named = LedgerAccountQuerySet(LedgerAccount).named()
        return named.annotate(queued=Coalesce(queued, 0, output_field=AmountField()))

    def title_of(self, row: LedgerAccount) -> str:
        return account_name(row)

    @admin.display(description="account")
    def name(self, account: LedgerAccount) -> str:
        return account_name(account)

    @admin.display(description="balance")
    def balance_now(self, account: LedgerAccount) -> str:
        if account.mode == LedgerAccount.Mode.NONE:
            return "not kept"
        queued: int = getattr(account, "queued")  # noqa: B009 - annotated by `get_queryset`
        return kcash(account.balance + queued)

    @admin.display(description="how it is kept")
    def explained(self, account: LedgerAccount) -> str:
        return {
            LedgerAccount.Mode.STRICT: "With every transfer; never below 0.",
            LedgerAccount.Mode.QUEUED: "With every transfer out; what comes in is added up. "
            "Never below 0.",
            LedgerAccount.Mode.NONE: "No balance is kept: it is the sum of the transfers.",
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


# --- Payouts -------------------------------------------------------------------------------------


@admin.register(Payout)
class PayoutAdmin(ReadOnlyAdmin[Payout]):
    roles = VIEWED_BY_ALL
    list_display = ["what", "how_much", "whose", "state_now", "failed", "chain_hash", "made"]
    list_select_related = ["wallet__gamer"]
    list_filter = ["state", "kind"]
    search_fields = [
        "uid__exact",
        "tx_hash__exact",
        "onchain_id__exact",
        "wallet__address__exact",
        "to_address__exact",
    ]
    search_help_text = "Payout id, transaction hash, wallet address or id on the chain"
    ordering = ["-uid"]  # ids begin with the time
    sortable_by = ()
    readonly_fields = [
        "id_",
        "what",
        "how_much",
        "whose",
        "state_now",
        "failed",
        "error",
        "from_address",
        "to_address",
        "hash_",
        "block_number",
        "gas_cost",
        "chain_id",
        "contract",
        "made",
        "changed",
    ]

    how_much = kcash_column("amount", "amount")
    whose = link_column("wallet__gamer", "gamer")
    chain_hash = short_column("tx_hash", "on the chain")
    made = moment_column("created_at", "made")
    changed = moment_column("modified_at", "last change")

    id_ = text_column("uid", "payout id")
    failed = text_column("tries", "failed tries")
    hash_ = text_column("tx_hash", "transaction hash")
    chain_id = text_column("onchain_id", "id on the chain")
    contract = text_column("settlement_address", "Settlement contract")

    def title_of(self, row: Payout) -> str:
        return payout_title(row)

    @admin.display(description="what")
    def what(self, payout: Payout) -> str:
        return capfirst(payout.get_kind_display())

    @admin.display(description="state")
    def state_now(self, payout: Payout) -> SafeString:
        return payout_badge(payout)

    @admin.display(description="gas cost")
    def gas_cost(self, payout: Payout) -> str:
        return wei(payout.gas_fee)


@panel(Payout, "Wallet transactions that it settles")
def transactions_of_payout(request: HttpRequest, payout: Payout) -> Table:
    return Table(
        columns=["No.", "What", "Amount", "Sync", "When"],
        rows=[
            (
                one.seq,
                link(one, one.description or one.name),
                signed_kcash(one.signed_amount),
                sync_badge(one),
                moment(one.created_at),
            )
            for one in payout.transactions.order_by("seq")[:NEWEST]
        ],
        empty="None: it was voided, and they wait for another payout.",
    )


@panel(Payout, "Attempts")
def attempts_of_payout(request: HttpRequest, payout: Payout) -> Table:
    attempts = (
        Attempt.objects.filter(slot__items__payout=payout)
        .select_related("slot")
        .defer("raw", "slot__calldata")
        .order_by("-slot_id", "-seq")[:NEWEST]
    )
    return Table(
        columns=[
            "Nonce",
            "Slot",
            "Try",
            "Transaction hash",
            "Highest gas price",
            "First sent",
            "Last sent",
        ],
        rows=[
            (
                link(one.slot, one.slot.nonce),
                slot_badge(one.slot),
                one.seq + 1,
                short(one.tx_hash),
                wei(one.max_fee),
                moment(one.first_sent_at),
                moment(one.last_sent_at),
            )
            for one in attempts
        ],
        empty="Not sent to the chain yet.",
    )


@admin.register(Slot)
class SlotAdmin(ReadOnlyAdmin[Slot]):
    roles = VIEWED_BY_ALL
    list_display = ["nonce", "lane", "action", "state_now", "mined_block", "made", "closed"]
    list_select_related = ["operator"]
    list_filter = ["state", "action"]
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = [
        "nonce",
        "lane_address",
        "action",
        "state_now",
        "contract",
        "gas_limit",
        "mined_block",
        "made",
        "closed",
    ]

    lane = short_column("operator__address", "lane")
    lane_address = text_column("operator__address", "lane")
    contract = text_column("settlement_address", "Settlement contract")
    made = moment_column("created_at", "made")
    closed = moment_column("closed_at", "closed")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Slot]:
        return super().get_queryset(request).select_related("operator").defer("calldata")

    def title_of(self, row: Slot) -> str:
        return f"Nonce {row.nonce}: {row.get_action_display().lower()}"

    @admin.display(description="gas limit")
    def gas_limit(self, slot: Slot) -> str:
        return f"{slot.gas:,}"

    @admin.display(description="state")
    def state_now(self, slot: Slot) -> SafeString:
        return slot_badge(slot)


@panel(Slot, "Payouts in it")
def payouts_of_slot(request: HttpRequest, slot: Slot) -> Table:
    items = slot.items.select_related("payout__wallet__gamer").order_by("position")
    return Table(
        columns=["Payout", "Amount", "Gamer", "State"],
        rows=[
            (
                link(item.payout, capfirst(item.payout.get_kind_display())),
                kcash(item.payout.amount),
                link(item.payout.wallet.gamer),
                payout_badge(item.payout),
            )
            for item in items
        ],
        empty="None: it carries a permit.",
    )


@panel(Slot, "Attempts")
def attempts_of_slot(request: HttpRequest, slot: Slot) -> Table:
    return Table(
        columns=["Try", "Transaction hash", "First sent", "Last sent"],
        rows=[
            (
                link(one, one.seq + 1),
                one.tx_hash,
                moment(one.first_sent_at),
                moment(one.last_sent_at),
            )
            for one in slot.attempts.defer("raw").order_by("-seq")
        ],
        empty="Not signed yet.",
    )


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin[Attempt]):
    roles = VIEWED_BY_ALL
    list_display = ["hash_cut", "in_slot", "number", "first_sent", "last_sent"]
    search_fields = ["tx_hash__exact"]
    search_help_text = "Transaction hash"
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = [
        "hash_whole",
        "in_slot",
        "number",
        "highest_fee",
        "tip",
        "made",
        "first_sent",
        "last_sent",
    ]

    hash_cut = short_column("tx_hash", "transaction hash")
    hash_whole = text_column("tx_hash", "transaction hash")
    made = moment_column("created_at", "signed")
    first_sent = moment_column("first_sent_at", "first sent")
    last_sent = moment_column("last_sent_at", "last sent")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return super().get_queryset(request).select_related("slot").defer("raw", "slot__calldata")

    def title_of(self, row: Attempt) -> str:
        return f"Nonce {row.slot.nonce}, try {row.seq + 1}"

    @admin.display(description="nonce")
    def in_slot(self, attempt: Attempt) -> str:
        return link(attempt.slot, attempt.slot.nonce)

    @admin.display(description="try")
    def number(self, attempt: Attempt) -> int:
        return attempt.seq + 1

    @admin.display(description="highest gas price")
    def highest_fee(self, attempt: Attempt) -> str:
        return wei(attempt.max_fee)

    @admin.display(description="of it for the validator")
    def tip(self, attempt: Attempt) -> str:
        return wei(attempt.priority_fee)


def wei(amount: int | None) -> str:
    """A cost on the chain; not KCash."""
    return "-" if amount is None else f"{amount:,} wei"


def payout_title(payout: Payout) -> str:
    return f"{payout.amount:,} KCash, {payout.get_kind_display()}"


def payout_badge(payout: Payout) -> SafeString:
    state = Payout.State
    return badge(
        payout.state,
        good=payout.state == state.COMPLETED,
        busy=payout.state in {state.SUBMITTED, state.CONFIRMING, state.VOIDING},
        bad=payout.state in {state.REVIEW, state.FAILED, state.AWAITING_APPROVAL},
    )


def slot_badge(slot: Slot) -> SafeString:
    state = Slot.State
    return badge(
        slot.state,
        good=slot.state == state.FINAL,
        busy=slot.state == state.OPEN,
        bad=slot.state == state.DEAD,
    )


# --- Reconciliation ------------------------------------------------------------------------------


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(ReadOnlyAdmin[ReconciliationRun]):
    roles = VIEWED_BY_ALL
    list_display = ["started", "what", "result", "found"]
    list_filter = ["scope"]
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = ["started", "finished", "what", "result", "incomplete"]

    started = moment_column("started_at", "started")
    finished = moment_column("finished_at", "finished")
    incomplete = text_column("problem", "left out")

    def title_of(self, row: ReconciliationRun) -> str:
        return f"Run of {row.started_at:%Y-%m-%d %H:%M:%S} UTC"

    @admin.display(description="looked at")
    def what(self, run: ReconciliationRun) -> str:
        return run.get_scope_display()

    @admin.display(description="result")
    def result(self, run: ReconciliationRun) -> SafeString:
        return run_badge(run)

    @admin.display(description="findings")
    def found(self, run: ReconciliationRun) -> int:
        return len(run.findings)


@panel(ReconciliationRun, "Drift: found in both looks")
def findings_of_run(request: HttpRequest, run: ReconciliationRun) -> Table:
    return _findings(run.findings, empty="None.")


@panel(ReconciliationRun, "Suspected in the first look")
def suspects_of_run(request: HttpRequest, run: ReconciliationRun) -> Table:
    return _findings(run.suspects, empty="Nothing.")


@admin.register(PayoutSwitch)
class PayoutSwitchAdmin(ReadOnlyAdmin[PayoutSwitch]):
    roles = VIEWED_BY_ALL
    list_display = ["state", "since", "by", "why"]
    sortable_by = ()
    readonly_fields = ["state", "since", "by", "why"]

    since = moment_column("changed_at", "since")
    by = text_column("changed_by", "turned by")
    why = text_column("reason", "reason")

    @admin.display(description="payouts")
    def state(self, switch: PayoutSwitch) -> SafeString:
        return badge("paused", bad=True) if switch.is_paused else badge("on", good=True)


@panel(PayoutSwitch, "Newest reconciliation", order=10)
def newest_run(request: HttpRequest, switch: PayoutSwitch) -> Table:
    runs = ReconciliationRun.objects.order_by("-pk")[:NEWEST]
    return Table(
        columns=["Started", "Looked at", "Result", "Findings"],
        rows=[
            (
                link(run, f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC"),
                run.get_scope_display(),
                run_badge(run),
                len(run.findings),
            )
            for run in runs
        ],
        empty="None yet: it runs every 45 s.",
    )


@panel(PayoutSwitch, "Drift of the newest run", order=20)
def newest_drift(request: HttpRequest, switch: PayoutSwitch) -> Table:
    finished = ReconciliationRun.objects.filter(finished_at__isnull=False)
    run = finished.order_by("-pk").first()
    return _findings(run.findings if run else [], empty="None.")


@act(PayoutSwitch)
class Pause(Act[PayoutSwitch]):
    name, label, roles = "pause", "Pause payouts", (FINANCE,)
    is_dangerous = True

    def is_offered(self, switch: PayoutSwitch) -> bool:
        return not switch.is_paused

    def consequences(self, switch: PayoutSwitch) -> list[str]:
        return [
            "Nothing new is sent to the chain; what is under way is followed to its end.",
            "Gamers play, claim and withdraw as before; their payouts wait.",
        ]

    def perform(self, request: HttpRequest, switch: PayoutSwitch, data: dict[str, Any]) -> Done:
        pausing.pause(reason=data["reason"], by=request.user.get_username(), now=timezone.now())
        return Done("Payouts are paused.")


@act(PayoutSwitch)
class Resume(Act[PayoutSwitch]):
    name, label, roles = "resume", "Resume payouts", (FINANCE,)
    is_dangerous = True

    def is_offered(self, switch: PayoutSwitch) -> bool:
        return switch.is_paused

    def consequences(self, switch: PayoutSwitch) -> list[str]:
        return [
            "What waits is sent to the chain at once.",
            "A drift that is still there pauses payouts again within about a minute.",
        ]

    def perform(self, request: HttpRequest, switch: PayoutSwitch, data: dict[str, Any]) -> Done:
        pausing.resume(reason=data["reason"], by=request.user.get_username(), now=timezone.now())
        return Done("Payouts are on.")


def run_badge(run: ReconciliationRun) -> SafeString:
    if run.finished_at is None:
        return badge("suspects something; looks again", busy=True)
    if run.findings:
        return badge("drift", bad=True)
    return badge("chain not compared", busy=True) if run.problem else badge("right", good=True)


def _findings(findings: list[dict[str, str]], *, empty: str) -> Table:
    return Table(
        columns=["Audit", "Where", "What is wrong"],
        rows=[(one["audit"], one["subject"], one["problem"]) for one in findings],
        empty=empty,
    )
