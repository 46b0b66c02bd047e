"""Taking a seat in a tournament, and giving it up (API contract, 3.15 and 3.16)."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts.models import Gamer
from kgen.common.errors import Conflict, Invalid, NotFound
from kgen.common.identifiers import uuid7
from kgen.common.transactions import requires_transaction
from tournaments.lifecycle import TournamentNotFound, TournamentNotLive
from tournaments.models import Participation, Tournament
from wallet import custody, entry_fees, prize_pools


class AlreadyJoined(Conflict):
    code = "EXISTING_PARTICIPATION_FOUND"
    message = "The gamer is in this tournament already."


class TournamentFull(Conflict):
    code = "TOURNAMENT_IS_FULL"
    message = "Every seat of this tournament is taken."


class WrongStake(Invalid):
    code = "TOURNAMENT_INVALID_JOINING_STAKE"
    message = "The joining stake must equal the tournament's buy-in price."


class NotJoined(NotFound):
    code = "TOURNAMENT_PARTICIPATION_NOT_FOUND"
    message = "The gamer is not in this tournament."


@transaction.atomic
def join(*, gamer: Gamer, tournament_uid: UUID, stake: int, now: datetime) -> Participation:
    """Seat a gamer and take the entry fee; both happen or neither does.

    Refuses, in the order of the contract's 3.15, with TournamentNotFound, AlreadyJoined,
    TournamentNotLive, TournamentFull, WrongStake and the wallet's InsufficientBalance.
    """
    tournament = _lock_for_seats(gamer=gamer, uid=tournament_uid, now=now)
    if _has_place(tournament, gamer):
        raise AlreadyJoined
    _refuse_unless_open(tournament, now=now)
    if stake != tournament.entry_fee:
        raise WrongStake(details={"buy_in_price": tournament.entry_fee})
    seat = _take_seat(tournament, gamer=gamer, now=now)
    _collect_fee(seat)
    return seat


@requires_transaction
def ensure_joined(*, gamer: Gamer, tournament_uids: Sequence[UUID], now: datetime) -> None:
    """Seat a gamer in each listed tournament that they are not in yet, each for its own fee.

    All or none, since a refusal must end the caller's transaction: those of `join` but AlreadyJoined
    and WrongStake (contract 3.2, `tournamentJoined`).
    """
    # Every tournament before any seat, every seat before the wallet, and in one order, so that no
    # two callers can wait for each other.
    tournaments = [
        _lock_for_seats(gamer=gamer, uid=uid, now=now) for uid in sorted(set(tournament_uids))
    ]
    taken = []
    for tournament in tournaments:
        if _has_place(tournament, gamer):
            continue
        _refuse_unless_open(tournament, now=now)
        with suppress(AlreadyJoined), transaction.atomic():
            taken.append(_take_seat(tournament, gamer=gamer, now=now))
    for seat in taken:
        _collect_fee(seat)


@transaction.atomic
def leave(*, gamer: Gamer, tournament_uid: UUID, now: datetime) -> int:
    """Give a seat up and return what was refunded: the whole stake until the first score, then 0.

    Refuses with TournamentNotFound, NotJoined and TournamentNotLive (contract 3.16).
    """
    tournament = _lock_for_seats(gamer=gamer, uid=tournament_uid, now=now)
    seat = tournament.participations.seated().select_for_update().filter(gamer=gamer).first()
    if seat is None:
        raise NotJoined
    if not tournament.seats_change_at(now):
        raise TournamentNotLive

    seat.left_at = now
    # One that is held back for review was a score, too.
    has_scored = seat.score is not None or seat.quarantined.exists()
    if has_scored or tournament.entry_fee == 0:
        seat.save(update_fields=["left_at"])
        return 0
    seat.refund_posting_id = uuid7()
    seat.save(update_fields=["left_at", "refund_posting_id"])
    entry_fees.refund(
        fee_reference=seat.fee_posting_id,
        reference=seat.refund_posting_id,
        description=f"Refund for {tournament.title}",
        now=now,
    )
    return tournament.entry_fee


def _lock_for_seats(*, gamer: Gamer, uid: UUID, now: datetime) -> Tournament:
    """The tournament, held so that it cannot be closed until this transaction ends.

    Shared among joins, so that they do not wait for one another; alone where seats are limited, so
    that two cannot take the last one. A published tournament's limit never changes, which makes it
    safe to choose the lock by it. FOR KEY SHARE would not do: it lets the close pass by.
    """
    unlimited = Tournament.objects.raw(
        "SELECT * FROM tournaments_tournament"
        " WHERE uid = %s AND game_id = %s AND tournament_size IS NULL FOR SHARE",
        [uid, gamer.game_id],
    )
    limited = Tournament.objects.select_for_update(of=("self",)).filter(
        uid=uid, game_id=gamer.game_id
    )
    tournament = next(iter(unlimited), None) or limited.first()
    if tournament is None or not tournament.is_visible_at(now):
        raise TournamentNotFound
    return tournament


def _has_place(tournament: Tournament, gamer: Gamer) -> bool:
    """Whether the gamer is in; who was disqualified stays so, and is not let in again."""
    return tournament.participations.filter(
        Q(left_at=None) | Q(disqualified_at__isnull=False), gamer=gamer
    ).exists()


def _refuse_unless_open(tournament: Tournament, *, now: datetime) -> None:
    if not tournament.seats_change_at(now):
        raise TournamentNotLive
    size = tournament.tournament_size
    if size is not None and tournament.participations.seated().count() >= size:
        raise TournamentFull


def _take_seat(tournament: Tournament, *, gamer: Gamer, now: datetime) -> Participation:
    seat = Participation(tournament=tournament, gamer=gamer, tiebreak=gamer.gamer_id, joined_at=now)
    try:
        seat.save(force_insert=True)
    except IntegrityError as error:
        # A parallel join of the same gamer was first: nothing else here is unique and not fresh.
        raise AlreadyJoined from error
    return seat


def _collect_fee(seat: Participation) -> None:
    tournament = seat.tournament
    if tournament.entry_fee > 0:
        entry_fees.collect(
            wallet=custody.wallet_of(seat.gamer),
            pool=prize_pools.pool_of(tournament_id=tournament.pk, game_id=tournament.game_id),
            amount=tournament.entry_fee,
            reference=seat.fee_posting_id,
            description=f"Entry fee for {tournament.title}",
            now=seat.joined_at,
        )
