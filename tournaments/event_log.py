"""Looking up the events that games have sent; reads only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from django.db.models import Q, QuerySet

from accounts.models import Gamer
from tournaments.models import GameEvent, Tournament

KINDS: Final = (
    "score",
    "achievement",
    "levelup",
    "progress",
    "matchResult",
    "matchJoined",
    "tournamentJoined",
    "lobbyJoined",
)

# No look goes through more events than this, however few of them are wanted.
LONGEST_LOOK: Final = 5000


@dataclass(frozen=True)
class Key:
    """A place between events: everything older than it lies behind."""

    received_at: datetime
    gamer: int = 0
    body_hash: bytes = b""

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The key that `str` wrote; None for any other text."""
        try:
            received_at, gamer, body_hash = text.split("_")
            key = cls(datetime.fromisoformat(received_at), int(gamer), bytes.fromhex(body_hash))
        except ValueError:
            return None
        is_ours = key.received_at.tzinfo is not None and 0 <= key.gamer < 2**63
        return key if is_ours else None

    def __str__(self) -> str:
        return f"{self.received_at.isoformat()}_{self.gamer}_{self.body_hash.hex()}"


@dataclass(frozen=True)
class Wanted:
    """Which events; what is None or empty does not matter. `until` itself is left out."""

    gamer: Gamer | None = None
    tournament: Tournament | None = None
    kind: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Page:
    events: list[GameEvent]
    older_than: Key | None
    """Where the next page begins; None at the end."""


def page_of(wanted: Wanted, *, size: int, older_than: Key | None = None) -> Page:
    """The newest wanted events by their receipt, at most `size` of them.

    A page may be short, and even empty, though older ones follow: then the wanted ones are few
    among many.
    """
    looked_at = _in_order(wanted, older_than)
    found = _wanted_of(looked_at, wanted)
    horizon = None
    if found is not looked_at:
        times = looked_at.values_list("received_at", flat=True)
        horizon = times[LONGEST_LOOK : LONGEST_LOOK + 1].first()
        if horizon is not None:
            found = found.filter(received_at__gte=horizon)

    events = list(found.prefetch_related("gamer", "tournament")[: size + 1])
    if len(events) > size:
        last = events[size - 1]
        return Page(events[:size], Key(last.received_at, last.gamer_id, bytes(last.body_hash)))
    return Page(events, None if horizon is None else Key(horizon))


def _in_order(wanted: Wanted, older_than: Key | None) -> QuerySet[GameEvent]:
    """What one index gives in order: the events of the gamer, of the tournament, or all."""
    events = GameEvent.objects.order_by("-received_at", "-gamer_id", "-body_hash")
    if wanted.gamer is not None:
        events = events.filter(gamer=wanted.gamer)
    elif wanted.tournament is not None:
        events = events.filter(tournament=wanted.tournament)
    if wanted.since is not None:
        events = events.filter(received_at__gte=wanted.since)
    if wanted.until is not None:
        events = events.filter(received_at__lt=wanted.until)
    if older_than is not None:
        moment, gamer = older_than.received_at, older_than.gamer
        events = events.filter(
            Q(received_at__lt=moment)
            | Q(received_at=moment, gamer_id__lt=gamer)
            | Q(received_at=moment, gamer_id=gamer, body_hash__lt=older_than.body_hash),
            received_at__lte=moment,
        )
    return events


def _wanted_of(events: QuerySet[GameEvent], wanted: Wanted) -> QuerySet[GameEvent]:
    if wanted.gamer is not None and wanted.tournament is not None:
        events = events.filter(tournament=wanted.tournament)
    if wanted.kind:
        events = events.filter(payload__has_key=wanted.kind)
    return events
