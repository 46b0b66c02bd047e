"""Calling a tournament off and giving every stake back (API contract, section 1)."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from kgen.common.identifiers import uuid7
from tournaments import lifecycle
from tournaments.models import Participation, Setback, Tournament
from wallet import entry_fees

# Refunds of one transaction: few enough that wallets are not held for long.
CHUNK = 100


@transaction.atomic
def cancel(*, uid: UUID, now: datetime) -> Tournament:
    """Cancel by an operator's word; refunds follow. Cancelling twice changes nothing.

    Refuses with TournamentNotFound and AlreadyFinished.
    """
    tournament = lifecycle.locked(uid=uid)
    if tournament.phase != Tournament.Phase.CANCELLED:
        lifecycle.cancel(tournament, now=now)
    return tournament


@transaction.atomic
def cancel_if_short(*, uid: UUID, now: datetime) -> Tournament:
    """Cancel a tournament that has locked with too few entrants; any other stays as it is.

    Refuses with TournamentNotFound.
    """
    tournament = lifecycle.locked(uid=uid)
    is_locked = tournament.phase == Tournament.Phase.PUBLISHED and tournament.locks_at <= now
    needed = tournament.min_registration_start_limit
    if is_locked and tournament.participations.seated().count() < needed:
        lifecycle.cancel(tournament, now=now)
    return tournament


def refund_stakes(*, uid: UUID, now: datetime) -> int:
    """Give back every stake that a cancelled tournament still holds, forfeited ones too.

    Each goes back once and to the buckets it came from. Works in chunks, each a transaction of its
    own: stopped half-way, the next call goes on. Returns how many it gave back.
    """
    refunded = 0
    while given := _refund_chunk(uid=uid, now=now):
        refunded += given

    # Another run may still have stakes in hand; then it, or the next one, finds that all are back.
    owed = Participation.objects.held().filter(tournament=OuterRef("pk"))
    done = Tournament.objects.owing_refunds().filter(~Exists(owed) | Q(entry_fee=0), uid=uid)
    with transaction.atomic():
        if done.update(refunded_at=now, updated_at=now):
            Setback.objects.filter(tournament__uid=uid).delete()
    return refunded


@transaction.atomic
def _refund_chunk(*, uid: UUID, now: datetime) -> int:
    seats = list(
        Participation.objects.held()
        .filter(tournament__uid=uid, tournament__phase=Tournament.Phase.CANCELLED)
        .filter(tournament__entry_fee__gt=0)
        .select_related("tournament")
        # Seats that another run has in hand are its own to refund. In the order of gamers, so that
        # runs over several tournaments take the same wallets in the same order.
        .select_for_update(of=("self",), skip_locked=True)
        .order_by("gamer_id", "id")[:CHUNK]
    )
    for seat in seats:
        seat.refund_posting_id = uuid7()
        entry_fees.refund(
            fee_reference=seat.fee_posting_id,
            reference=seat.refund_posting_id,
            description=f"Refund for {seat.tournament.title}",
            now=now,
        )
    Participation.objects.bulk_update(seats, ["refund_posting_id"])
    return len(seats)
