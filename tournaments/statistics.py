"""What a gamer has played; reads only (API contract, 3.14)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Case, F, Q, When, Window
from django.db.models.functions import RowNumber

from accounts.models import Gamer
from tournaments.models import Tournament


@dataclass(frozen=True)
class PlayedTournament:
    tournament_uid: UUID
    number: int
    """How many tournaments of the game the gamer had been in by then, this one counted."""
    is_cancelled: bool
    occurred_at: datetime
    entry_fee: int
    prize: int
    rank: int | None


def historic(*, gamer: Gamer, limit: int, offset: int) -> list[PlayedTournament]:
    """The finished tournaments that the gamer was in at the end, newest first."""
    finished = Q(tournament__phase__in=[Tournament.Phase.COMPLETED, Tournament.Phase.CANCELLED])
    seats = (
        gamer.participations.seated()
        .filter(finished)
        .annotate(
            occurred_at=Case(
                When(
                    tournament__phase=Tournament.Phase.CANCELLED,
                    then=F("tournament__cancelled_at"),
                ),
                default=F("tournament__ends_at"),
            )
        )
        .annotate(number=Window(RowNumber(), order_by=[F("occurred_at"), F("id")]))
        .order_by("-number")
        .values_list(
            "tournament__uid",
            "number",
            "tournament__phase",
            "occurred_at",
            "tournament__entry_fee",
            "prize",
            "final_rank",
        )
    )
    return [
        PlayedTournament(
            tournament_uid=uid,
            number=number,
            is_cancelled=phase == Tournament.Phase.CANCELLED,
            occurred_at=occurred_at,
            entry_fee=entry_fee,
            prize=prize or 0,
            rank=rank,
        )
        for uid, number, phase, occurred_at, entry_fee, prize, rank in (
            seats[offset : offset + limit]
        )
    ]
