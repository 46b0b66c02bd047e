"""Tournaments, the seats taken in them, and the events that games send."""

from tournaments.models.events import GameEvent
from tournaments.models.formats import Format
from tournaments.models.results import ResultRecord
from tournaments.models.seats import (
    NO_SCORE_YET,
    Participation,
    ParticipationQuerySet,
    QuarantinedScore,
    ScoreMinute,
)
from tournaments.models.series import Series
from tournaments.models.tournaments import MOST_SEATS, Setback, Tournament, TournamentQuerySet

__all__ = [
    "MOST_SEATS",
    "NO_SCORE_YET",
    "Format",
    "GameEvent",
    "Participation",
    "ParticipationQuerySet",
    "QuarantinedScore",
    "ResultRecord",
    "ScoreMinute",
    "Series",
    "Setback",
    "Tournament",
    "TournamentQuerySet",
]
