"""The chain's own book of what happened, read to the newest final block, and what each line means.

Reading and understanding are two steps, each of which may stop anywhere, be repeated, or run beside
another one of its kind.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.db.transaction import atomic

from kgen.common.errors import Conflict, Refusal
from wallet import deposits, transactions
from wallet.models import ChainBlock, ChainCursor, ChainEvent, Deposit, Payout, Wallet
from wallet.settlement import networks

if TYPE_CHECKING:
    # Loads web3, which the console's processes, who import this module, can do without.
    from wallet.settlement.chain import Event

logger = logging.getLogger(__name__)

Meaning = ChainEvent.Meaning

EVENTS_AT_ONCE: Final = 1_000
# Longer than any reorg: one that goes deeper is read again from the first block.
HASHES_KEPT: Final = 10_000


class ChainReader(Protocol):
    """The part of `wallet.settlement.chain.Chain` that is asked here."""

    def finalized_block(self) -> int: ...

    def block_hash(self, number: int) -> str | None: ...

    def events(
        self, *, from_block: int, to_block: int, settlement_address: str
    ) -> Sequence["Event"]: ...


class NotUnknown(Conflict):
    code = "EVENT_NOT_UNKNOWN"
    message = "Only an event that nobody has ordered, nor explained yet, needs an explanation."


@dataclass(frozen=True)
class Reading:
    """What one reading has found: how many events, and whether final blocks were replaced."""

    events: int
    is_rewound: bool


# --- Reading -------------------------------------------------------------------------------------


def read(*, chain: ChainReader, now: datetime) -> Reading:
    """Store what the chain told since the last reading, and find out what it means.

    Raises ChainUnavailable; what was stored by then stays.
    """
    finalized = chain.finalized_block()
    found, is_rewound = 0, False
    for cursor in _cursors(now=now):
        is_rewound |= _rewind(cursor, chain, finalized=finalized, now=now)
        found += sum(_read_on(cursor, chain, finalized=finalized, now=now))
    understand(now=now)
    return Reading(events=found, is_rewound=is_rewound)


def was_replaced(chain: ChainReader) -> bool:
    """Whether final blocks, up to which events were read, are others now; `read` goes back then."""
    finalized = chain.finalized_block()
    return any(
        not _is_current(cursor, chain, finalized=finalized)
        for cursor in ChainCursor.objects.filter(chain_id=settings.CHAIN_ID)
    )


def _cursors(*, now: datetime) -> list[ChainCursor]:
    """One for the contract of the settings, and for each that was it before."""
    ChainCursor.objects.get_or_create(
        chain_id=settings.CHAIN_ID,
        settlement_address=settings.SETTLEMENT_ADDRESS,
        defaults={"next_block": settings.CHAIN_START_BLOCK, "read_at": now},
    )
    return list(ChainCursor.objects.filter(chain_id=settings.CHAIN_ID).order_by("pk"))


def _read_on(
    cursor: ChainCursor, chain: ChainReader, *, finalized: int, now: datetime
) -> Iterator[int]:
    step = networks.of(cursor.chain_id).log_blocks
    while cursor.next_block <= finalized:
        last = min(cursor.next_block + step - 1, finalized)
        # A block's hash stands for all blocks below it: the same before and after, so were they.
        block_hash = chain.block_hash(last)
        events = chain.events(
            from_block=cursor.next_block,
            to_block=last,
            settlement_address=cursor.settlement_address,
        )
        if block_hash is None or chain.block_hash(last) != block_hash:
            return
        ours = _of_ours(events)
        if not _store(cursor, ours, last=last, block_hash=block_hash, now=now):
            return
        yield len(ours)


def _store(
    cursor: ChainCursor, events: Iterable["Event"], *, last: int, block_hash: str, now: datetime
) -> bool:
    """False when another reader was faster: then it goes on from there."""
    rows = [_row(cursor, event, now=now) for event in events]
    with atomic():
        if not _advance(cursor, to=last + 1, now=now):
            return False
        ChainEvent.objects.bulk_create(
            rows,
            batch_size=EVENTS_AT_ONCE,
            # The block of a dropped event may be the chain's after all.
            update_conflicts=True,
            update_fields=["dropped_at"],
            unique_fields=["chain_id", "tx_hash", "log_index", "block_hash"],
        )
        ChainBlock.objects.create(cursor=cursor, number=last, hash=block_hash)
        cursor.blocks.filter(number__lt=last - HASHES_KEPT).delete()
    return True


def _advance(cursor: ChainCursor, *, to: int, now: datetime, rewinds: int = 0) -> bool:
    moved = ChainCursor.objects.filter(pk=cursor.pk, next_block=cursor.next_block).update(
        next_block=to, read_at=now, rewinds=F("rewinds") + rewinds
    )
    cursor.next_block = to
    return bool(moved)


def _of_ours(events: Iterable["Event"]) -> list["Event"]:
    """All of Settlement's, and those transfers of KCash that touch an address of ours."""
    told = [event for event in events if event.name != "Transfer" or event.amount]
    sides = {side for event in told for side in (event.from_address, event.to_address)}
    ours = _our_addresses(sides)
    return [
        event
        for event in told
        if event.name != "Transfer" or {event.from_address, event.to_address} & ours
    ]


def _our_addresses(addresses: Iterable[str | None]) -> set[str]:
    custodial = Wallet.objects.filter(address__in={one for one in addresses if one})
    return {transactions.float_address(), *custodial.values_list("address", flat=True)}


def _row(cursor: ChainCursor, event: "Event", *, now: datetime) -> ChainEvent:
    return ChainEvent(
        chain_id=cursor.chain_id,
        block_number=event.block_number,
        block_hash=event.block_hash,
        tx_hash=event.tx_hash,
        log_index=event.log_index,
        name=event.name,
        settlement_address=None if event.name == "Transfer" else cursor.settlement_address,
        onchain_id=event.onchain_id,
        from_address=event.from_address,
        to_address=event.to_address,
        amount=event.amount,
        read_at=now,
    )


# --- Blocks that were final, and are others now --------------------------------------------------


def _rewind(cursor: ChainCursor, chain: ChainReader, *, finalized: int, now: datetime) -> bool:
    """Go back to the newest block that the chain still has, if it has replaced later ones."""
    if _is_current(cursor, chain, finalized=finalized):
        return False
    before = cursor.next_block
    ancestor = _common_ancestor(cursor, chain)
    with atomic():
        if not _advance(cursor, to=ancestor + 1, now=now, rewinds=1):
            return False
        cursor.blocks.filter(number__gt=ancestor).delete()
        ChainEvent.objects.filter(
            Q(settlement_address=cursor.settlement_address) | Q(settlement_address__isnull=True),
            chain_id=cursor.chain_id,
            block_number__gt=ancestor,
            dropped_at__isnull=True,
        ).update(dropped_at=now)
    logger.error(
        "Final blocks were replaced: %s is read again from block %s, and not from %s",
        cursor.settlement_address,
        ancestor + 1,
        before,
    )
    return True


def _is_current(cursor: ChainCursor, chain: ChainReader, *, finalized: int) -> bool:
    """A node that lags behind, or has forgotten its oldest blocks, is no evidence of anything."""
    newest = cursor.blocks.order_by("-number").first()
    return newest is None or newest.number > finalized or _is_there(newest, chain)


def _common_ancestor(cursor: ChainCursor, chain: ChainReader) -> int:
    for block in cursor.blocks.order_by("-number"):
        if _is_there(block, chain):
            return block.number
    return int(settings.CHAIN_START_BLOCK) - 1


def _is_there(block: ChainBlock, chain: ChainReader) -> bool:
    return chain.block_hash(block.number) in (block.hash, None)


# --- Understanding -------------------------------------------------------------------------------


def understand(*, now: datetime) -> None:
    """Say of each event whose it is, and book the deposits from outside.

    What nobody has ordered is looked at each time again: its payout may come out of a backup.
    """
    waiting = _standing().filter(Q(meaning=Meaning.UNREAD) | _UNEXPLAINED).order_by("pk")
    done = 0
    while page := list(waiting.filter(pk__gt=done)[:EVENTS_AT_ONCE]):
        _understand(page, now=now)
        done = page[-1].pk


@atomic
def explain(*, event_id: int, explanation: str, by: str, now: datetime) -> ChainEvent:
    """A person knows what an unknown event was: it pauses payouts no more. Raises NotUnknown."""
    event = ChainEvent.objects.select_for_update(no_key=True).get(pk=event_id)
    if event.meaning != Meaning.UNKNOWN or event.explained_at is not None:
        raise NotUnknown
    event.explanation, event.explained_by, event.explained_at = explanation, by, now
    event.save(update_fields=["explanation", "explained_by", "explained_at"])
    return event


_UNEXPLAINED: Final = Q(meaning=Meaning.UNKNOWN, explained_at__isnull=True)


def _standing() -> QuerySet[ChainEvent]:
    return ChainEvent.objects.filter(dropped_at__isnull=True)


def _understand(events: Sequence[ChainEvent], *, now: datetime) -> None:
    meanings = _Meanings(events)
    by_meaning: dict[Meaning, list[ChainEvent]] = {}
    for event in events:
        by_meaning.setdefault(meanings.of(event), []).append(event)
    for event in by_meaning.pop(Meaning.DEPOSIT, []):
        try:
            _book(event.pk, now=now)
        except Refusal as refusal:
            logger.error("A deposit could not be booked: %s: %s", event.tx_hash, refusal)
    for event in by_meaning.get(Meaning.UNKNOWN, []):
        if event.meaning == Meaning.UNREAD:
            logger.error("Nobody here has ordered %s in %s", event, event.tx_hash)
    for meaning, alike in by_meaning.items():
        ChainEvent.objects.filter(
            pk__in=[event.pk for event in alike], explained_at__isnull=True
        ).update(meaning=meaning)


class _Meanings:
    """What events mean, found out with few questions for many of them."""

    def __init__(self, events: Sequence[ChainEvent]) -> None:
        settled = list(
            _standing().filter(name="Settled", tx_hash__in={event.tx_hash for event in events})
        )
        payouts = Payout.objects.filter(
            onchain_id__in={event.onchain_id for event in (*events, *settled)}
        )
        self._payouts = {payout.onchain_id: payout for payout in payouts}
        self._ours = _our_addresses(
            {event.from_address for event in events} | {event.to_address for event in events}
        )
        self._paid = {_path(event) for event in settled if self.of(event) == Meaning.PAYOUT}

    def of(self, event: ChainEvent) -> Meaning:
        if event.name == "Transfer":
            return self._of_transfer(event)
        payout = self._payouts.get(event.onchain_id)
        if payout is None or payout.settlement_address != event.settlement_address:
            return Meaning.UNKNOWN
        if event.name != "Settled":
            return Meaning.PAYOUT
        told = (event.from_address, event.to_address, event.amount)
        is_same = told == (payout.from_address, payout.to_address, payout.amount)
        # What is void was given back: it must never be paid, too.
        is_ours = is_same and payout.state != Payout.State.VOIDED
        return Meaning.PAYOUT if is_ours else Meaning.UNKNOWN

    def _of_transfer(self, event: ChainEvent) -> Meaning:
        if _path(event) in self._paid:
            return Meaning.PAYOUT
        if event.from_address in self._ours:
            return Meaning.UNKNOWN
        if event.to_address == transactions.float_address():
            return Meaning.FLOAT
        # Neither side is ours where the float wallet was another one before.
        return Meaning.DEPOSIT if event.to_address in self._ours else Meaning.UNKNOWN


def _path(event: ChainEvent) -> tuple[object, ...]:
    return event.tx_hash, event.from_address, event.to_address, event.amount


@atomic
def _book(event_id: int, *, now: datetime) -> None:
    """Book a deposit, unless it is booked for the block that a reorg has taken it out of."""
    event = ChainEvent.objects.select_for_update(no_key=True).get(pk=event_id)
    if event.meaning == Meaning.DEPOSIT or event.dropped_at is not None or event.amount is None:
        return
    wallet = Wallet.objects.get(address=event.to_address)
    booked = Deposit.objects.filter(
        chain_id=event.chain_id,
        tx_hash=event.tx_hash,
        transaction__wallet=wallet,
        transaction__amount=event.amount,
    )
    alike = _standing().filter(
        chain_id=event.chain_id,
        tx_hash=event.tx_hash,
        to_address=event.to_address,
        amount=event.amount,
        meaning=Meaning.DEPOSIT,
    )
    if booked.count() <= alike.count():
        deposits.receive(
            wallet=wallet,
            amount=event.amount,
            from_address=str(event.from_address),
            event=deposits.ChainEvent(
                chain_id=event.chain_id,
                tx_hash=event.tx_hash,
                log_index=event.log_index,
                block_number=event.block_number,
            ),
            now=now,
        )
    event.meaning = Meaning.DEPOSIT
    event.save(update_fields=["meaning"])
