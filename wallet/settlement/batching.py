"""Which wallet transactions go out together: a wallet's payouts are made here, in its own order.

All that a wallet did since its last payout is one payout, of the net. A wallet has one such group
under way; the next is made once that is final, so that what a wallet does never overtakes itself.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Case, Exists, F, Min, OuterRef, Q, QuerySet, Subquery, Sum, When
from django.db.transaction import atomic
from eth_hash.auto import keccak

from kgen.common.transactions import requires_transaction
from wallet import ledger, transactions
from wallet.models import Payout, Wallet, WalletTransaction
from wallet.settlement import sandboxes

State = Payout.State
SyncStatus = WalletTransaction.SyncStatus

WALLETS_AT_ONCE: Final = 400

# A payout in one of these stands in nobody's way any more.
ENDED: Final = (State.COMPLETED, State.VOIDED)

# These come onto the chain another way: a reversal ends together with what it reverses, and a
# withdrawal has a payout of its own from the start. A deposit that was sent on the chain never
# waits; one that was bought is paid out like a bonus.
_PAID_OTHERWISE: Final = (
    WalletTransaction.Type.REVERSAL,
    WalletTransaction.Type.WITHDRAW,
)


def group_transactions(*, now: datetime, limit: int = WALLETS_AT_ONCE) -> int:
    """Net what waits in up to `limit` wallets where that is due; says for how many it was done.

    It is due for a withdrawal that waits behind it, after NET_WINDOW_SECONDS if it comes to
    NET_THRESHOLD, and after NET_MAX_HOURS whatever it comes to.
    """
    with atomic():
        # A wallet that is busy is skipped, so nobody ever waits for this; the next run takes it.
        wallets = (
            Wallet.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(pk__in=_due(now=now)[:limit])
            .order_by("pk")
        )
        locked = {wallet.pk: wallet for wallet in wallets}
        return _net(locked, now=now) if locked else 0


@requires_transaction
def open_withdrawal(
    *,
    transaction: WalletTransaction,
    wallet: Wallet,
    to_address: str,
    now: datetime,
    state: Payout.State = State.PENDING,
    not_before: datetime | None = None,
) -> Payout:
    """Make the payout of a withdrawal, under the same uid; the caller holds the wallet's lock.

    What the wallet did before goes out before it, as one net payout of the same slot.
    """
    payout = Payout.objects.create(
        uid=transaction.uid,
        kind=Payout.Kind.WITHDRAW,
        wallet=wallet,
        seq=transaction.seq,
        last_seq=transaction.seq,
        from_address=wallet.address,
        to_address=to_address,
        amount=transaction.amount,
        state=state,
        not_before=not_before,
        created_at=now,
        modified_at=now,
    )
    transaction.payout = payout
    transaction.save(update_fields=["payout"])
    return payout


def waiting() -> QuerySet[WalletTransaction]:
    """The transactions that no payout covers yet and that need one."""
    return WalletTransaction.objects.filter(
        payout__isnull=True, sync_status=SyncStatus.PENDING
    ).exclude(type__in=_PAID_OTHERWISE)


def open_payouts_of(wallet: OuterRef | F) -> QuerySet[Payout]:
    return Payout.objects.filter(wallet=wallet).exclude(state__in=ENDED)


def is_ready(*, now: datetime) -> Q:
    """Of a payout: nobody's approval and no moment is waited for."""
    return Q(state=State.PENDING) & (Q(not_before__isnull=True) | Q(not_before__lte=now))


def _first_in_line() -> QuerySet[WalletTransaction]:
    """What waits, and everything before it is final."""
    in_the_way = open_payouts_of(OuterRef("wallet")).filter(seq__lt=OuterRef("seq"))
    return waiting().filter(~Exists(in_the_way), sandboxes.is_paid())


def _due(*, now: datetime) -> QuerySet[WalletTransaction, int]:
    """The wallets whose net is due, those that have waited longest first."""
    withdrawal = open_payouts_of(OuterRef("wallet")).order_by("seq")
    is_withdrawing = Payout.objects.filter(
        is_ready(now=now), pk=Subquery(withdrawal.values("pk")[:1])
    )
    return (
        _first_in_line()
        .annotate(
            signed=Case(
                When(direction=WalletTransaction.Direction.CREDIT, then=F("amount")),
                default=-F("amount"),
            )
        )
        .values("wallet_id")
        .annotate(since=Min("created_at"), net=Sum("signed"))
        .filter(
            Q(since__lte=now - timedelta(hours=settings.NET_MAX_HOURS))
            | Q(since__lte=now - timedelta(seconds=settings.NET_WINDOW_SECONDS))
            # Nothing to send is no reason to wait.
            & (Q(net=0) | Q(net__gte=settings.NET_THRESHOLD) | Q(net__lte=-settings.NET_THRESHOLD))
            | Exists(is_withdrawing.filter(wallet=OuterRef("wallet_id")))
        )
        .order_by("since")
        .values_list("wallet_id", flat=True)
    )


def _net(locked: Mapping[int, Wallet], *, now: datetime) -> int:
    # Read anew, now that the wallets stand still: another run may have been here before.
    entries: dict[int, list[WalletTransaction]] = defaultdict(list)
    for entry in _first_in_line().filter(wallet__in=locked).order_by("wallet_id", "seq"):
        entries[entry.wallet_id].append(entry)

    voided = Counter(
        Payout.objects.filter(wallet__in=locked, state=State.VOIDED).values_list("wallet_id", "seq")
    )
    for wallet_id in {wallet_id for wallet_id, _ in voided} & entries.keys():
        entries[wallet_id] = _before_what_was_paid(entries[wallet_id])
    made = []
    for wallet_id, covered in entries.items():
        net = sum(entry.signed_amount for entry in covered)
        if net == 0:
            _complete(covered, now=now)
            continue
        uid = _uid(covered[0], times_voided=voided[wallet_id, covered[0].seq])
        payout = _payout(locked[wallet_id], covered, net, uid=uid, now=now)
        made.append(payout)
        for entry in covered:
            entry.payout = payout
    Payout.objects.bulk_create(made)
    _store_payouts(entry for covered in entries.values() for entry in covered if entry.payout)
    return len(entries)


def _before_what_was_paid(covered: Sequence[WalletTransaction]) -> list[WalletTransaction]:
    """What goes out before a withdrawal that was paid while the net before it was voided.

    What the wallet did later is netted once this is final: the payouts of a wallet never overlap.
    """
    live = Payout.objects.filter(wallet=covered[0].wallet_id).exclude(state=State.VOIDED)
    paid = live.filter(seq__gt=covered[0].seq).aggregate(first=Min("seq"))["first"]
    return [entry for entry in covered if paid is None or entry.seq < paid]


def _uid(first: WalletTransaction, *, times_voided: int) -> UUID:
    """The uid of the first transaction covered, as a withdrawal's payout has its transaction's.

    The id on the chain follows from it. So a payout that a restored backup has lost is made again
    under the same id, which the contract has paid already. What was voided needs another one.
    """
    if times_voided == 0:
        return first.uid
    changed = keccak(first.uid.bytes + times_voided.to_bytes(4, "big"))
    # The time and the version of a uuid7 stay what they were; so does the variant.
    mask = (1 << 62) - 1
    return UUID(int=first.uid.int & ~mask | int.from_bytes(changed, "big") & mask)


def _payout(
    wallet: Wallet, covered: Sequence[WalletTransaction], net: int, *, uid: UUID, now: datetime
) -> Payout:
    addresses = (transactions.float_address(), wallet.address)
    kind, (payer, payee) = (
        (Payout.Kind.IN, addresses) if net > 0 else (Payout.Kind.OUT, addresses[::-1])
    )
    return Payout(
        uid=uid,
        kind=kind,
        wallet=wallet,
        seq=covered[0].seq,
        last_seq=covered[-1].seq,
        from_address=payer,
        to_address=payee,
        amount=abs(net),
        created_at=now,
        modified_at=now,
    )


def _store_payouts(entries: Iterable[WalletTransaction]) -> None:
    # By hand: `bulk_update` takes ten times as long to write its statement.
    pairs = [(entry.pk, entry.payout_id) for entry in entries]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE wallet_wallettransaction AS entry SET payout_id = pair.payout"
            "  FROM unnest(%s::uuid[], %s::uuid[]) AS pair (entry, payout)"
            " WHERE entry.uid = pair.entry",
            [[entry for entry, _ in pairs], [payout for _, payout in pairs]],
        )


@requires_transaction
def _complete(covered: Sequence[WalletTransaction], *, now: datetime) -> None:
    """The chain has nothing to follow: what came and what went is the same."""
    WalletTransaction.objects.filter(pk__in=[entry.pk for entry in covered]).update(
        sync_status=SyncStatus.COMPLETED, modified_at=now
    )
    for entry in covered:
        ledger.confirm_on_chain(
            transaction_uid=entry.uid, wallet_id=entry.wallet_id, signed_amount=entry.signed_amount
        )
