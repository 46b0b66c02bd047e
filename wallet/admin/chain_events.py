"""What the chain did, whose it was, and reorgs past finality."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from kgen.common.admin import (
    FINANCE,
    Act,
    Done,
    ReadOnlyAdmin,
    Table,
    act,
    badge,
    kcash_column,
    link,
    minute_column,
    moment,
    moment_column,
    panel,
    short,
    short_column,
    text_column,
)
from wallet import chain_events
from wallet.admin.cells import VIEWED_BY_ALL, payout_badge, payout_title, slot_badge
from wallet.models import ChainEvent, LostPayout, Payout, Reorg
from wallet.settlement import reopening

Meaning = ChainEvent.Meaning


@admin.register(ChainEvent)
class ChainEventAdmin(ReadOnlyAdmin[ChainEvent]):
    roles = VIEWED_BY_ALL
    list_display = ["what", "whose", "how_much", "sender", "receiver", "block_number"]
    list_filter = ["meaning", "name"]
    search_fields = ["tx_hash__exact", "onchain_id__exact"]
    search_help_text = "Transaction hash or id on the chain"
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = [
        "what",
        "whose",
        "how_much",
        "from_address",
        "to_address",
        "payout_id_",
        "contract",
        "hash_",
        "log_index",
        "block_number",
        "block_hash",
        "read",
        "dropped",
        "explanation",
        "explained_by",
        "explained",
    ]

    what = text_column("name", "event")
    how_much = kcash_column("amount", "amount")
    sender = short_column("from_address", "from")
    receiver = short_column("to_address", "to")
    hash_ = text_column("tx_hash", "transaction hash")
    payout_id_ = text_column("onchain_id", "id on the chain")
    contract = text_column("settlement_address", "Settlement contract")
    read = moment_column("read_at", "read")
    dropped = moment_column("dropped_at", "dropped by a reorg")
    explained = moment_column("explained_at", "explained")

    @admin.display(description="whose")
    def whose(self, event: ChainEvent) -> SafeString:
        is_open = event.meaning == Meaning.UNKNOWN and not event.explained_at
        return badge(event.get_meaning_display(), bad=is_open and not event.dropped_at)


@act(ChainEvent)
class Explain(Act[ChainEvent]):
    name, label, roles = "explain", "Explain", (FINANCE,)

    def is_offered(self, event: ChainEvent) -> bool:
        return event.meaning == Meaning.UNKNOWN and event.explained_at is None

    def consequences(self, event: ChainEvent) -> list[str]:
        return [
            "The event counts as known from now on: it pauses payouts no more.",
            "Nothing moves, and payouts that are paused stay so until somebody resumes them.",
        ]

    def perform(self, request: HttpRequest, event: ChainEvent, data: dict[str, Any]) -> Done:
        chain_events.explain(
            event_id=event.pk,
            explanation=data["reason"],
            by=request.user.get_username(),
            now=timezone.now(),
        )
        return Done("The event is explained.")


@admin.register(Reorg)
class ReorgAdmin(ReadOnlyAdmin[Reorg]):
    roles = VIEWED_BY_ALL
    list_display = ["lane", "found", "state", "confirmed"]
    list_select_related = ["operator"]
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = ["lane_address", "found", "state", "confirmed", "confirmed_by", "reason"]

    lane = short_column("operator__address", "lane")
    lane_address = text_column("operator__address", "lane")
    found = minute_column("found_at", "found")
    confirmed = minute_column("confirmed_at", "confirmed")

    @admin.display(description="state")
    def state(self, reorg: Reorg) -> SafeString:
        if reorg.confirmed_at is None:
            return badge("waits for somebody's word", bad=True)
        lost = LostPayout.objects.filter(lost_slot__reorg=reorg)
        if lost.exclude(payout__state=Payout.State.COMPLETED).exists():
            return badge("is sent again", busy=True)
        return badge("paid again", good=True)


@panel(Reorg, "Lost slots", order=10)
def slots_of_reorg(request: HttpRequest, reorg: Reorg) -> Table:
    lost = reorg.lost_slots.select_related("slot").defer("slot__calldata").order_by("slot__nonce")
    return Table(
        columns=["Nonce", "What", "State", "Open again since"],
        rows=[
            (
                link(one.slot, one.slot.nonce),
                one.slot.get_action_display(),
                slot_badge(one.slot),
                moment(one.reopened_at),
            )
            for one in lost
        ],
        empty="None.",
    )


@panel(Reorg, "Lost payouts", order=20)
def payouts_of_reorg(request: HttpRequest, reorg: Reorg) -> Table:
    lost = LostPayout.objects.filter(lost_slot__reorg=reorg).select_related("payout")
    return Table(
        columns=["Payout", "State", "Was paid by", "In block", "Is sent again since"],
        rows=[
            (
                link(one.payout, payout_title(one.payout)),
                payout_badge(one.payout),
                short(one.tx_hash),
                f"{one.block_number:,}",
                moment(one.reopened_at),
            )
            for one in lost.order_by("pk")
        ],
        empty="None: the slots carried permits, or what had failed.",
    )


@act(Reorg)
class ConfirmReorg(Act[Reorg]):
    name, label, roles = "confirm", "It was a reorg: send again", (FINANCE,)
    is_dangerous = True

    def is_offered(self, reorg: Reorg) -> bool:
        return reorg.confirmed_at is None

    def consequences(self, reorg: Reorg) -> list[str]:
        return [
            f"{reorg.lost_slots.count()} slots are open again, and the bytes that they had are sent.",
            "The contract pays each id once, however often it is sent.",
            "The lane stays paused for what is new until somebody resumes it.",
            "First see with another node or an explorer that the transactions are really gone.",
        ]

    def perform(self, request: HttpRequest, reorg: Reorg, data: dict[str, Any]) -> Done:
        reopening.confirm(
            reorg_id=reorg.pk,
            by=request.user.get_username(),
            reason=data["reason"],
            now=timezone.now(),
        )
        return Done("The lost slots are sent again.")
