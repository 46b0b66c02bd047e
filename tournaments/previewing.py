"""What would come out, without saving any of it: before publishing, and on the live board."""

from collections.abc import Sequence
from dataclasses import dataclass

from tournaments import leaderboard, settling
from tournaments.joining import NotJoined
from tournaments.leaderboard import Entry
from tournaments.models import Participation, Tournament


@dataclass(frozen=True)
class Change:
    """What a gamer's place and prize would be instead; None is off the board."""

    gamer_id: str
    rank: int
    prize: int
    new_rank: int | None
    new_prize: int


@dataclass(frozen=True)
class WhatIf:
    """Whose prize changes, in today's order. Where either is None, it would be cancelled."""

    gamer_id: str
    changes: list[Change]
    paid: int | None
    would_pay: int | None


def without(*, seat_id: int) -> WhatIf:
    """The prizes if the board stayed as it is now, with a gamer on it and without.

    The stake stays in the pool, as when the gamer is disqualified. Refuses with NotJoined.
    """
    seat = Participation.objects.seated().select_related("tournament").filter(pk=seat_id).first()
    if seat is None:
        raise NotJoined
    tournament = seat.tournament
    stakes = tournament.participations.held().count() * tournament.entry_fee
    entries = leaderboard.entries(tournament)
    others = [entry for entry in entries if entry.seat_id != seat_id]
    before = _prizes(tournament, entries, stakes=stakes)
    after = _prizes(tournament, others, stakes=stakes)
    new_places = {entry.seat_id: (rank, prize) for rank, entry, prize in _ranked(others, after)}
    changes = []
    for rank, entry, prize in _ranked(entries, before):
        new_rank, new_prize = new_places.get(entry.seat_id, (None, 0))
        if prize != new_prize or entry.seat_id == seat_id:
            changes.append(Change(entry.gamer_id, rank, prize, new_rank, new_prize))
    return WhatIf(
        gamer_id=seat.tiebreak,
        changes=changes,
        paid=None if before is None else sum(before),
        would_pay=None if after is None else sum(after),
    )


def _prizes(
    tournament: Tournament, entries: Sequence[Entry], *, stakes: int
) -> tuple[int, ...] | None:
    split = settling.split_among(tournament, entries, stakes=stakes)
    return None if split is None else split.prizes


def _ranked(
    entries: Sequence[Entry], prizes: tuple[int, ...] | None
) -> list[tuple[int, Entry, int]]:
    won = prizes or ()
    return [
        (rank, entry, won[rank - 1] if rank <= len(won) else 0)
        for rank, entry in enumerate(entries, start=1)
    ]
