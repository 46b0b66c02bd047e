"""Tournaments as a gamer sees them; reads only (API contract, 3.3 to 3.5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from accounts.models import Gamer
from tournaments import leaderboard, lifecycle, prizes
from tournaments.lifecycle import TournamentNotFound
from tournaments.models import Tournament, TournamentQuerySet


@dataclass(frozen=True)
class Listed:
    tournament: Tournament
    status: Tournament.Status
    entrants: int
    rewarded: int
    price_pool: int
    joined: bool


def active(*, gamer: Gamer, now: datetime, status: Tournament.Status | None = None) -> list[Listed]:
    """The game's tournaments from SCHEDULED to LOCKED, the first to end first."""
    found = Tournament.objects.active_at(now).seen_by(gamer).order_by("ends_at", "uid")
    return [listed for listed in _listed(found, now=now) if status in {None, listed.status}]


def one(*, gamer: Gamer, uid: UUID, now: datetime) -> Listed:
    """One tournament of the game. Refuses with TournamentNotFound."""
    found = Tournament.objects.visible_at(now).seen_by(gamer).filter(uid=uid)
    for listed in _listed(found, now=now):
        return listed
    raise TournamentNotFound


def visible(*, gamer: Gamer, uid: UUID, now: datetime) -> Tournament:
    """The bare tournament, without its figures. Refuses with TournamentNotFound."""
    found = Tournament.objects.visible_at(now).filter(uid=uid, game_id=gamer.game_id).first()
    if found is None:
        raise TournamentNotFound
    return found


def joined_uids(*, gamer: Gamer) -> list[UUID]:
    """Every tournament that the gamer has joined and not left, the newest join first."""
    seats = gamer.participations.seated().order_by("-joined_at", "-id")
    return list(seats.values_list("tournament__uid", flat=True))


def _listed(tournaments: TournamentQuerySet, *, now: datetime) -> Iterator[Listed]:
    for tournament in tournaments.with_figures().select_related("game"):
        yield Listed(
            tournament=tournament,
            status=tournament.status_at(now),
            entrants=tournament.entrants,
            rewarded=_rewarded(tournament),
            price_pool=leaderboard.price_pool(tournament, stakes=tournament.stakes),
            joined=tournament.joined,
        )


def _rewarded(tournament: Tournament) -> int:
    if tournament.phase == Tournament.Phase.CANCELLED:
        return 0
    if tournament.rewarded_count is not None:
        return tournament.rewarded_count
    return prizes.expected_winners(tournament.entrants, lifecycle.terms_of(tournament))
