"""Which payouts a lane may take next: of each wallet the first in line, and never past it.

A wallet's payouts leave in its order. The first of them that has not ended is its head; whoever holds
the head's row alone decides about the wallet. A withdrawal may ride directly behind its head, a net
payout, in the same slot: what came before it is then paid before it, or both are not.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from kgen.common.transactions import requires_transaction
from wallet import transactions
from wallet.models import Operator, Payout, Permit, SlotItem, WalletTransaction
from wallet.settlement import batching, sandboxes

Kind = Payout.Kind


def pick(*, operator_id: int, batch: int, now: datetime) -> list[Payout]:
    """The oldest payouts that this lane may take now, at most `batch`, each wallet's in its order.

    Nothing is locked: what is to be submitted has to be held first. Where there are several lanes,
    each leaves the oldest to those before it, or all would prepare the same batch and one submit it.
    """
    oldest = _heads(operator_id, now=now).order_by("created_at", "seq")
    left = batch * _lanes_before(operator_id)
    heads = list(oldest[left : left + batch]) or list(oldest[:batch])
    return _together(heads, _riders(heads, now=now), batch=batch)


@requires_transaction
def hold(picked: Sequence[Payout], *, operator_id: int, now: datetime) -> list[Payout]:
    """Those of the picked ones that may still be taken, and now by nobody else.

    Whoever is busy with a payout keeps it; another run takes it.
    """
    asked = [payout.pk for payout in picked]
    heads = list(_locked(_heads(operator_id, now=now).filter(pk__in=asked)))
    riders: list[Payout] = []
    if any(payout.kind == Kind.WITHDRAW for payout in picked):
        riders = list(_locked(_riders(heads, now=now).filter(pk__in=asked)))
    return _together(heads, riders, batch=len(asked))


def _lanes_before(operator_id: int) -> int:
    lanes = Operator.objects.filter(chain_id=settings.CHAIN_ID, is_paused=False)
    return lanes.filter(pk__lt=operator_id).count()


def needs_signature(payout: Payout) -> bool:
    """Only what leaves the float goes unsigned."""
    return payout.kind != Kind.IN


def _heads(operator_id: int, *, now: datetime) -> QuerySet[Payout]:
    ahead = batching.open_payouts_of(OuterRef("wallet")).filter(seq__lt=OuterRef("seq"))
    # A permit has to be mined first: it is final, or has an earlier nonce of this lane.
    elsewhere = Permit.objects.filter(
        wallet=OuterRef("wallet"),
        settlement_address=settings.SETTLEMENT_ADDRESS,
        state=Permit.State.OPEN,
    ).exclude(slot__operator=operator_id)
    # One that fails may leave another one of the wallet in a slot behind it, such as a void.
    under_way = SlotItem.objects.filter(wallet=OuterRef("wallet"), is_open=True)
    return _ready(now=now).filter(
        ~Exists(ahead), ~Exists(_uncovered()), ~Exists(under_way), ~Exists(elsewhere)
    )


def _riders(heads: Collection[Payout], *, now: datetime) -> QuerySet[Payout]:
    nets = {payout.wallet_id: payout.pk for payout in heads if payout.kind != Kind.WITHDRAW}
    ahead = (
        batching.open_payouts_of(OuterRef("wallet"))
        .filter(seq__lt=OuterRef("seq"))
        .exclude(pk__in=nets.values())
    )
    return _ready(now=now).filter(
        ~Exists(ahead), ~Exists(_uncovered()), kind=Kind.WITHDRAW, wallet__in=nets
    )


def _ready(*, now: datetime) -> QuerySet[Payout]:
    return Payout.objects.select_related("wallet").filter(
        batching.is_ready(now=now),
        sandboxes.is_paid(),
        Q(settlement_address__isnull=True) | Q(settlement_address=settings.SETTLEMENT_ADDRESS),
        # A net that goes back to a float wallet of before, whose key may be a thief's, is voided.
        ~Q(kind=Kind.OUT) | Q(to_address=transactions.float_address()),
    )


def _uncovered() -> QuerySet[WalletTransaction]:
    """What the wallet did before a payout and what is not netted yet."""
    return batching.waiting().filter(wallet=OuterRef("wallet"), seq__lt=OuterRef("seq"))


def _locked(payouts: QuerySet[Payout]) -> QuerySet[Payout]:
    return payouts.select_for_update(of=("self",), skip_locked=True, no_key=True)


def _together(
    heads: Sequence[Payout], riders: Collection[Payout] | QuerySet[Payout], *, batch: int
) -> list[Payout]:
    behind = {payout.wallet_id: payout for payout in riders}
    picked: list[Payout] = []
    for head in heads:
        rider = behind.get(head.wallet_id)
        group = [head] if rider is None or rider.pk == head.pk else [head, rider]
        if len(picked) + len(group) <= batch:
            picked += group
        elif not picked:
            # A batch of one cannot take both; the second then follows once the first is final.
            picked = [head]
    return sorted(picked, key=lambda payout: (payout.wallet_id, payout.seq))
