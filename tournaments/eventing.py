"""Events as games send them: each is stored once, and acted on once (API contract, 3.2)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from psycopg2.extras import Json

from accounts.models import Game, Gamer
from kgen.common.errors import Forbidden, Invalid
from tournaments import joining, scoring
from tournaments.lifecycle import TournamentNotFound

# For so long an equal event is taken for a repetition.
REPEATED_WITHIN = timedelta(days=7)

# Says nothing where an equal event is known, also where it is only now being stored by another.
_STORE = """
INSERT INTO tournaments_gameevent AS known
    (event_day, gamer_id, body_hash, occurred_at, received_at, tournament_id, metadata, payload)
VALUES (
    %(day)s, %(gamer)s, %(body_hash)s, %(occurred_at)s, %(received_at)s,
    (SELECT id FROM tournaments_tournament WHERE uid = %(tournament)s AND game_id = %(game)s),
    %(metadata)s, %(payload)s
)
ON CONFLICT (event_day, gamer_id, body_hash) DO UPDATE SET received_at = EXCLUDED.received_at
WHERE known.received_at < %(repeated_since)s
RETURNING TRUE
"""


class TimestampInFuture(Invalid):
    message = "The timestamp is too far in the future."


class PlayerMismatch(Forbidden):
    code = "PLAYER_MISMATCH"
    message = "The event is about another player or game than the token."


@dataclass(frozen=True)
class Event:
    """One event, its shape checked; `metadata` and `payload` are kept as they came."""

    body_hash: bytes
    occurred_at: datetime
    player_id: str
    game_slug: str | None
    metadata: dict[str, Any]
    payload: dict[str, Any]
    tournament_uid: UUID | None
    """None also where the text sent is no id at all."""
    score: int | None
    joined_uids: tuple[UUID | None, ...]


@transaction.atomic
def receive(*, gamer: Gamer, event: Event, now: datetime) -> None:
    """Store an event and do what it asks: join the listed tournaments first, then apply the score.

    An equal event of the last seven days has no effect. Refuses with TimestampInFuture,
    PlayerMismatch, and whatever joining and scoring refuse; nothing is then stored either.
    """
    refuse_wrong_stamp(event, now=now)
    if event.player_id != gamer.gamer_id:
        raise PlayerMismatch
    refuse_other_game(event, game=gamer.game)
    if not _store(gamer=gamer, event=event, now=now):
        return

    if event.joined_uids:
        joining.ensure_joined(gamer=gamer, tournament_uids=_all_known(event.joined_uids), now=now)
    if event.score is not None:
        if event.tournament_uid is None:
            raise TournamentNotFound
        scoring.apply(
            gamer=gamer,
            tournament_uid=event.tournament_uid,
            value=event.score,
            stamped_at=event.occurred_at,
            body_hash=event.body_hash,
            now=now,
        )


def refuse_wrong_stamp(event: Event, *, now: datetime) -> None:
    """Raises TimestampInFuture."""
    if event.occurred_at > now + settings.FUTURE_CLOCK_TOLERANCE:
        raise TimestampInFuture(details={"reason": "TIMESTAMP_IN_FUTURE"})


def refuse_other_game(event: Event, *, game: Game) -> None:
    """Raises PlayerMismatch."""
    if event.game_slug is not None and event.game_slug != game.game_uid:
        raise PlayerMismatch


def _store(*, gamer: Gamer, event: Event, now: datetime) -> bool:
    """Keep the event; False if an equal one is known."""
    with connection.cursor() as cursor:
        cursor.execute(
            _STORE,
            {
                "day": event.occurred_at.date(),
                "gamer": gamer.pk,
                "game": gamer.game_id,
                "body_hash": event.body_hash,
                "occurred_at": event.occurred_at,
                "received_at": now,
                "repeated_since": now - REPEATED_WITHIN,
                "tournament": event.tournament_uid,
                "metadata": Json(event.metadata),
                "payload": Json(event.payload),
            },
        )
        return cursor.fetchone() is not None


def _all_known(uids: tuple[UUID | None, ...]) -> list[UUID]:
    known = [uid for uid in uids if uid is not None]
    if len(known) < len(uids):
        raise TournamentNotFound
    return known
