"""What reaches the chain, by payout, slot and attempt. Staff void and retry a payout; none sends."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from kgen.common.admin import (
    FINANCE,
    SUPPORT,
    Act,
    Done,
    ReadOnlyAdmin,
    Table,
    act,
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
from wallet.admin.cells import (
    NEWEST,
    VIEWED_BY_ALL,
    explorer_link,
    payout_badge,
    payout_title,
    signed_kcash,
    slot_badge,
    sync_badge,
    wei,
)
from wallet.models import Attempt, Payout, Slot
from wallet.models.settlement import MAX_TRIES
from wallet.settlement import voiding


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
        "whose_wallet",
        "state_now",
        "failed",
        "error",
        "origin",
        "destination",
        "waits_until",
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
    whose_wallet = link_column("wallet", "wallet")
    chain_hash = short_column("tx_hash", "on the chain")
    destination = text_column("to_address", "to")
    origin = text_column("from_address", "from")
    waits_until = moment_column("not_before", "not before")
    made = moment_column("created_at", "made")
    changed = moment_column("modified_at", "last change")

    id_ = text_column("uid", "payout id")
    failed = text_column("tries", "failed tries")
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

    @admin.display(description="transaction hash")
    def hash_(self, payout: Payout) -> str | SafeString:
        return explorer_link(payout.tx_hash, payout.tx_hash)

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
                explorer_link(one.tx_hash, short(one.tx_hash)),
                wei(one.max_fee),
                moment(one.first_sent_at),
                moment(one.last_sent_at),
            )
            for one in attempts
        ],
        empty="Not sent to the chain yet.",
    )


@act(Payout)
class Void(Act[Payout]):
    name, label, roles = "void", "Void", (FINANCE,)
    is_dangerous = True

    def is_offered(self, payout: Payout) -> bool:
        return voiding.is_voidable(payout)

    def consequences(self, payout: Payout) -> list[str]:
        if payout.kind == Payout.Kind.WITHDRAW:
            end = (
                f"{payout.amount:,} KCash come back to the earned balance of {payout.wallet.gamer},"
                " who can play with them or withdraw them again."
            )
        else:
            end = (
                "No balance changes: what it was to settle goes back into the queue, and out with"
                " the wallet's next payout."
            )
        if payout.onchain_id is None:
            return ["It was never sent, so it is void at once, for ever.", end]
        return [
            "First its id is made void on the chain, so that it can never be paid. When that is final:",
            end,
            "Should the chain have paid it before, it is completed instead.",
        ]

    def perform(self, request: HttpRequest, payout: Payout, data: dict[str, Any]) -> Done:
        voided = voiding.begin_void(
            payout_uid=payout.pk,
            by=request.user.get_username(),
            reason=data["reason"],
            now=timezone.now(),
        )
        if voided.state == Payout.State.VOIDED:
            return Done("The payout is void.")
        return Done("The payout is being made void on the chain.")


@act(Payout)
class Retry(Act[Payout]):
    name, label, roles = "retry", "Try again", (SUPPORT, FINANCE)

    def is_offered(self, payout: Payout) -> bool:
        return payout.state == Payout.State.FAILED

    def consequences(self, payout: Payout) -> list[str]:
        return [
            f"It failed {payout.tries} times, the last time because of: {payout.error}.",
            f"It is tried up to {MAX_TRIES} times again. Its id stays, and is paid once at most.",
        ]

    def perform(self, request: HttpRequest, payout: Payout, data: dict[str, Any]) -> Done:
        voiding.retry(payout_uid=payout.pk, by=request.user.get_username(), now=timezone.now())
        return Done("The payout is tried again.")


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
