"""Many events of one game at once, each on its own feet (API contract, section 7)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeAlias

from django.db import connection, transaction
from psycopg2.extras import Json

from accounts.models import Game, Gamer
from accounts.sessions import GamerBlocked
from kgen.common.errors import Invalid, Refusal
from tournaments import eventing, scoring
from tournaments.eventing import Event
from tournaments.scoring import Score

# Sorted, so that two batches with the same events wait for each other in one order alone. An equal
# event is known as in `eventing`.
_STORE: Final = """
INSERT INTO tournaments_gameevent AS known
    (event_day, gamer_id, body_hash, occurred_at, received_at, tournament_id, metadata, payload)
SELECT sent.day, sent.gamer, sent.body_hash, sent.occurred_at, sent.received_at,
    tournament.id, sent.metadata, sent.payload
FROM unnest(
    %(day)s::date[], %(gamer)s::bigint[], %(body_hash)s::bytea[], %(occurred_at)s::timestamptz[],
    %(received_at)s::timestamptz[], %(tournament)s::uuid[], %(metadata)s::jsonb[],
    %(payload)s::jsonb[]
) AS sent (
    day, gamer, body_hash, occurred_at, received_at, tournament, metadata, payload
)
LEFT JOIN tournaments_tournament AS tournament
    ON tournament.uid = sent.tournament AND tournament.game_id = %(game)s
ORDER BY sent.day, sent.gamer, sent.body_hash
ON CONFLICT (event_day, gamer_id, body_hash) DO UPDATE SET received_at = EXCLUDED.received_at
WHERE known.received_at < %(repeated_since)s
RETURNING gamer_id, body_hash
"""

_KNOWN: Final = """
SELECT known.gamer_id, known.body_hash
FROM tournaments_gameevent AS known
JOIN unnest(%(day)s::date[], %(gamer)s::bigint[], %(body_hash)s::bytea[])
    AS sent (day, gamer, body_hash)
    ON (known.event_day, known.gamer_id, known.body_hash) = (sent.day, sent.gamer, sent.body_hash)
WHERE known.received_at >= %(repeated_since)s
"""


class JoinsOneByOne(Invalid):
    message = "tournamentJoined spends money: send it with the gamer's token."


# An event by its gamer's number and its hash.
_Key: TypeAlias = tuple[int, bytes]
# Whose it is, and when it was received.
_Arrival: TypeAlias = tuple[Gamer, Event, datetime]


class Outcome(Enum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"


class _Refused(Exception):
    """Ends the transaction in which some of the events were refused."""

    def __init__(self, refusals: dict[_Key, Refusal]) -> None:
        self.refusals = refusals


def receive(
    *, game: Game, events: Sequence[Event | Refusal], now: datetime
) -> list[Outcome | Refusal]:
    """Store the events and apply their scores; say of each what became of it, and refuse none.

    An event that is refused leaves nothing behind, and those beside it alone; one that was refused
    before it came here stays so. All is in one transaction, so that what was accepted is so for
    good when this returns.
    """
    gamers = _gamers_of(events, game=game)
    outcomes: list[_Key | Refusal] = []
    arrivals: dict[_Key, _Arrival] = {}
    for place, event in enumerate(events):
        # They are received one after the other.
        received_at = now + timedelta(microseconds=place)
        if isinstance(event, Refusal):
            outcomes.append(event)
            continue
        try:
            gamer = _gamer_of(event, game=game, gamers=gamers, now=received_at)
        except Refusal as refusal:
            outcomes.append(refusal)
            continue
        key = gamer.pk, event.body_hash
        outcomes.append(key)
        arrivals.setdefault(key, (gamer, event, received_at))

    refused, stored = _take(game, arrivals, now=now)
    return [one if isinstance(one, Refusal) else _outcome(one, refused, stored) for one in outcomes]


def _outcome(key: _Key, refused: dict[_Key, Refusal], stored: set[_Key]) -> Outcome | Refusal:
    if key in refused:
        return refused[key]
    if key in stored:
        stored.remove(key)  # the next equal one repeats it
        return Outcome.ACCEPTED
    return Outcome.DUPLICATE


def _gamers_of(events: Sequence[Event | Refusal], *, game: Game) -> dict[str, Gamer]:
    named = {event.player_id for event in events if isinstance(event, Event)}
    found = Gamer.objects.filter(game=game, gamer_id__in=named)
    return {gamer.gamer_id: gamer for gamer in found}


def _gamer_of(event: Event, *, game: Game, gamers: dict[str, Gamer], now: datetime) -> Gamer:
    """Whose event it is, unless it is refused before it is looked up."""
    eventing.refuse_wrong_stamp(event, now=now)
    if "tournamentJoined" in event.payload:
        raise JoinsOneByOne
    gamer = gamers.get(event.player_id)
    if gamer is None:
        raise eventing.PlayerMismatch
    if gamer.is_blocked:
        raise GamerBlocked
    eventing.refuse_other_game(event, game=game)
    gamer.game = game
    return gamer


def _take(
    game: Game, arrivals: dict[_Key, _Arrival], *, now: datetime
) -> tuple[dict[_Key, Refusal], set[_Key]]:
    """What was refused, and what was stored; the rest was known."""
    refused: dict[_Key, Refusal] = {}
    while True:
        taken = {key: arrival for key, arrival in arrivals.items() if key not in refused}
        try:
            with transaction.atomic():
                stored = _store(game, taken, now=now)
                _apply_scores(game, [taken[key] for key in taken if key in stored])
                known = _known({key: arrivals[key] for key in refused}, now=now)
        except _Refused as some:
            # Undone together with all beside it, which is done again without it.
            refused |= some.refusals
        else:
            return {key: refused[key] for key in refused if key not in known}, stored


def _store(game: Game, arrivals: dict[_Key, _Arrival], *, now: datetime) -> set[_Key]:
    """Keep the events; the keys of those that no equal one is known of."""
    if not arrivals:
        return set()
    rows = arrivals.values()
    return _keys(
        _STORE,
        {
            **_identity(arrivals, now=now),
            "game": game.pk,
            "occurred_at": [event.occurred_at for _, event, _ in rows],
            "received_at": [received_at for _, _, received_at in rows],
            "tournament": [
                None if event.tournament_uid is None else str(event.tournament_uid)
                for _, event, _ in rows
            ],
            "metadata": [Json(event.metadata) for _, event, _ in rows],
            "payload": [Json(event.payload) for _, event, _ in rows],
        },
    )


def _known(arrivals: dict[_Key, _Arrival], *, now: datetime) -> set[_Key]:
    """Of events that are refused now, those that were taken before: they are repetitions."""
    return _keys(_KNOWN, _identity(arrivals, now=now)) if arrivals else set()


def _identity(arrivals: dict[_Key, _Arrival], *, now: datetime) -> dict[str, Any]:
    return {
        "day": [event.occurred_at.date() for _, event, _ in arrivals.values()],
        "gamer": [gamer for gamer, _ in arrivals],
        "body_hash": [body_hash for _, body_hash in arrivals],
        "repeated_since": now - eventing.REPEATED_WITHIN,
    }


def _keys(statement: str, parameters: dict[str, Any]) -> set[_Key]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return {(gamer, bytes(body_hash)) for gamer, body_hash in cursor.fetchall()}


def _apply_scores(game: Game, arrivals: Sequence[_Arrival]) -> None:
    """Raises _Refused with all that scoring refuses."""
    scores = [
        Score(
            gamer=gamer,
            tournament_uid=event.tournament_uid,
            value=event.score,
            stamped_at=event.occurred_at,
            body_hash=event.body_hash,
            received_at=received_at,
        )
        for gamer, event, received_at in arrivals
        if event.score is not None
    ]
    if not scores:
        return
    refusals = {
        (score.gamer.pk, score.body_hash): refusal
        for score, refusal in zip(scores, scoring.apply_many(game=game, scores=scores), strict=True)
        if refusal is not None
    }
    if refusals:
        raise _Refused(refusals)
