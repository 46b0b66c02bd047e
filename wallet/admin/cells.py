"""What the wallet's pages of the console share: who sees them, and how cells are written."""

from collections.abc import Collection
from typing import Final

from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

from kgen.common.admin import FINANCE, OPERATORS, SUPPORT, badge
from wallet.models import Payout, Slot, WalletTransaction
from wallet.settlement import networks

VIEWED_BY_ALL: Final[dict[str, Collection[str]]] = {
    OPERATORS: ("view",),
    SUPPORT: ("view",),
    FINANCE: ("view",),
}

NEWEST: Final = 25

BUCKETS: Final = {
    "bonus": ("Bonus", "welcome bonus; may be played with, never withdrawn"),
    "bought": ("Bought", "bought KCash; may be played with"),
    "earned": ("Earned", "claimed prizes; may be played with and withdrawn"),
    "claimable": ("To claim", "prizes and rewards that the gamer has not claimed yet"),
    "hold": ("On hold", "withdrawals on their way to the gamer's KGeN wallet"),
    "onchain": ("On the chain", "what the chain has made final in the custodial wallet"),
}


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


def wei(amount: int | None) -> str:
    """A cost on the chain; not KCash."""
    return "-" if amount is None else f"{amount:,} wei"


def explorer_link(tx_hash: str | None, text: str | SafeString | None) -> str | SafeString:
    """To where people look at a transaction of our network, if there is such a place."""
    network = networks.NETWORKS.get(settings.CHAIN_ID)
    if tx_hash is None or network is None or not network.explorer:
        return text or "-"
    return format_html(
        '<a href="{}{}" target="_blank" rel="noopener">{}</a>', network.explorer, tx_hash, text
    )


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
