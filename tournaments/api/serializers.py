"""The wire's words for tournaments, boards and events (API contract, section 3)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from kgen.common import strict_json
from kgen.common.api.fields import (
    QueryIntegerField,
    StrictIntegerField,
    StrictTextField,
    TextOrIntegerField,
)
from kgen.common.errors import Refusal
from kgen.common.identifiers import uuid_of
from tournaments.event_batches import Outcome
from tournaments.eventing import Event
from tournaments.leaderboard import Leaderboard
from tournaments.models import Tournament
from tournaments.statistics import PlayedTournament

# In one batch.
MOST_EVENTS = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A timestamp below this is in seconds: as milliseconds it would be before March 1973.
_FIRST_MILLISECONDS = 100_000_000_000


# --- Requests ------------------------------------------------------------------------------------


class JoinRequestSerializer(serializers.Serializer[None]):
    joiningStake = StrictIntegerField()  # noqa: N815 - the wire's spelling


class ActiveQuerySerializer(serializers.Serializer[None]):
    status = serializers.ChoiceField(choices=Tournament.Status.choices, required=False)


class HistoricQuerySerializer(serializers.Serializer[None]):
    limit = QueryIntegerField(min_value=1, max_value=200, default=100)
    offset = QueryIntegerField(default=0)


class FreshQuerySerializer(serializers.Serializer[None]):
    fresh = serializers.ChoiceField(
        choices=["0", "1"],
        default="0",
        help_text="1 reads the truth; otherwise the board may be 0.2 s old.",
    )


class LeaderboardQuerySerializer(FreshQuerySerializer):
    limit = QueryIntegerField(min_value=1, max_value=1000, default=100)
    offset = QueryIntegerField(default=0)


class AroundQuerySerializer(FreshQuerySerializer):
    around = serializers.ChoiceField(choices=["me"])
    limit = QueryIntegerField(min_value=1, max_value=200, default=21)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "offset" in self.initial_data:
            raise serializers.ValidationError({"offset": "Not beside around."})
        return attrs


class MetadataSerializer(serializers.Serializer[None]):
    playerId = TextOrIntegerField()  # noqa: N815 - the wire's spelling
    tournamentId = StrictTextField(required=False)  # noqa: N815
    gameId = StrictTextField(required=False)  # noqa: N815
    matchId = StrictTextField(required=False)  # noqa: N815
    lobbyId = StrictTextField(required=False)  # noqa: N815
    level = StrictIntegerField(required=False)
    areaCode = StrictIntegerField(required=False)  # noqa: N815
    difficulty = StrictIntegerField(required=False)


class IntegerValueSerializer(serializers.Serializer[None]):
    value = StrictIntegerField()


class TextValueSerializer(serializers.Serializer[None]):
    value = StrictTextField(max_length=1024)


class TextsValueSerializer(serializers.Serializer[None]):
    value = serializers.ListField(child=StrictTextField(), max_length=50)


class PayloadSerializer(serializers.Serializer[None]):
    score = IntegerValueSerializer(required=False)
    achievement = IntegerValueSerializer(required=False)
    levelup = TextValueSerializer(required=False)
    progress = TextValueSerializer(required=False)
    matchResult = TextsValueSerializer(required=False)  # noqa: N815
    matchJoined = TextsValueSerializer(required=False)  # noqa: N815
    tournamentJoined = TextsValueSerializer(required=False)  # noqa: N815
    lobbyJoined = TextsValueSerializer(required=False)  # noqa: N815

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Give at least one known key.")
        return attrs


class EventRequestSerializer(serializers.Serializer[None]):
    timestamp = StrictIntegerField()
    metadata = MetadataSerializer()
    payload = PayloadSerializer()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "score" in attrs["payload"] and "tournamentId" not in attrs["metadata"]:
            raise serializers.ValidationError({"metadata": {"tournamentId": "Needed for a score."}})
        return attrs

    def event_of(self, sent: Any) -> Event:
        """The event in our words; of its metadata unknown keys are kept too.

        Raises ValidationError.
        """
        known = self.run_validation(sent)
        metadata, payload = known["metadata"], known["payload"]
        return Event(
            body_hash=sha256(strict_json.canonical(sent)).digest(),
            occurred_at=_instant(known["timestamp"]),
            player_id=metadata["playerId"],
            game_slug=metadata.get("gameId"),
            metadata=sent["metadata"],
            payload=payload,
            tournament_uid=uuid_of(metadata.get("tournamentId", "")),
            score=payload["score"]["value"] if "score" in payload else None,
            joined_uids=tuple(
                uuid_of(text) for text in payload.get("tournamentJoined", {}).get("value", [])
            ),
        )


class EventBatchRequestSerializer(serializers.Serializer[None]):
    """For the schema; each event is read alone, so that a wrong one is answered alone."""

    events = serializers.ListField(
        child=EventRequestSerializer(), min_length=1, max_length=MOST_EVENTS
    )


def _instant(timestamp: int) -> datetime:
    try:
        if timestamp < _FIRST_MILLISECONDS:
            return _EPOCH + timedelta(seconds=timestamp)
        return _EPOCH + timedelta(milliseconds=timestamp)
    except OverflowError:
        # Beyond the calendar, and so beyond any clock's tolerance.
        return datetime.max.replace(tzinfo=UTC)


# --- Answers -------------------------------------------------------------------------------------


@extend_schema_field(OpenApiTypes.DATE)
class UtcDateField(serializers.Field[Any, Any, Any, Any]):
    """The day in UTC of an instant."""

    def to_representation(self, value: datetime) -> str:
        return value.astimezone(UTC).date().isoformat()


class TournamentSerializer(serializers.Serializer[Any]):
    """Renders a `listing.Listed`."""

    tournament_uid = serializers.UUIDField(source="tournament.uid")
    game_uid = serializers.CharField(source="tournament.game.game_uid")
    title = serializers.CharField(source="tournament.title")
    description = serializers.CharField(source="tournament.description", allow_null=True)
    theme = serializers.CharField(source="tournament.theme", allow_null=True)
    mode = serializers.CharField(read_only=True, default="Quick")
    entry_type = serializers.CharField(read_only=True, default="Individual")
    tournament_status = serializers.ChoiceField(source="status", choices=Tournament.Status.choices)
    buy_in_price = serializers.IntegerField(source="tournament.entry_fee")
    price_pool = serializers.IntegerField()
    tournament_size = serializers.IntegerField(source="tournament.tournament_size", allow_null=True)
    participants_count = serializers.IntegerField(source="entrants")
    min_registration_start_limit = serializers.IntegerField(
        source="tournament.min_registration_start_limit"
    )
    total_players_rewarded = serializers.IntegerField(source="rewarded")
    lock_type = serializers.CharField(read_only=True, default="Duration")
    schedules_at_date = UtcDateField(source="tournament.schedules_at")
    schedules_at_timestamp = serializers.DateTimeField(source="tournament.schedules_at")
    moves_to_lobby_at_date = UtcDateField(source="tournament.lobby_at")
    moves_to_lobby_at_timestamp = serializers.DateTimeField(source="tournament.lobby_at")
    starts_at_timestamp = serializers.DateTimeField(source="tournament.starts_at")
    locks_at_date = UtcDateField(source="tournament.locks_at")
    locks_at_timestamp = serializers.DateTimeField(source="tournament.locks_at")
    ends_at_date = UtcDateField(source="tournament.ends_at")
    ends_at_timestamp = serializers.DateTimeField(source="tournament.ends_at")
    created_at = serializers.DateTimeField(source="tournament.created_at")
    updated_at = serializers.DateTimeField(source="tournament.updated_at")
    joined = serializers.BooleanField()


class ResultEntrySerializer(serializers.Serializer[None]):
    gamer_id = serializers.CharField()
    joined_at = serializers.DateTimeField()
    score = serializers.IntegerField(allow_null=True)
    reached_at = serializers.DateTimeField(allow_null=True)
    event = serializers.CharField(
        allow_null=True, help_text="SHA-256 of the event's canonical JSON, as it was sent."
    )


class RecordSerializer(serializers.Serializer[None]):
    format = serializers.CharField()
    tournament = serializers.DictField()
    entries = ResultEntrySerializer(many=True, help_text="In rank order.")
    stakes = serializers.IntegerField()
    pool = serializers.IntegerField()
    prizes = serializers.ListField(child=serializers.IntegerField(), help_text="By rank.")
    platform_rake = serializers.IntegerField()
    developer_rake = serializers.IntegerField()
    remainder = serializers.IntegerField()


class ResultSerializer(serializers.Serializer[None]):
    sha256 = serializers.CharField(help_text="Over the record's canonical JSON.")
    record = RecordSerializer()


class StandingSerializer(serializers.Serializer[None]):
    user_id = serializers.CharField()
    score = serializers.IntegerField()
    rank = serializers.IntegerField()
    username = serializers.CharField(allow_null=True)


class WinnerSerializer(serializers.Serializer[None]):
    user_id = serializers.CharField()
    reward = serializers.IntegerField()
    rank = serializers.IntegerField()
    score = serializers.IntegerField()


class OwnStandingSerializer(serializers.Serializer[None]):
    rank = serializers.IntegerField()
    score = serializers.IntegerField()
    reward = serializers.IntegerField()


class LeaderboardSerializer(serializers.Serializer[None]):
    """For the schema; a board of a thousand rows is rendered by `shown_board`."""

    leaderboard = StandingSerializer(many=True)
    price_pool = serializers.IntegerField()
    winners = WinnerSerializer(many=True)
    total = serializers.IntegerField()
    tournament_status = serializers.ChoiceField(choices=Tournament.Status.choices)
    as_of = serializers.DateTimeField()
    me = OwnStandingSerializer(allow_null=True)


def shown_board(board: Leaderboard) -> dict[str, object]:
    """The board as `LeaderboardSerializer` describes it."""
    own = board.own
    return {
        "leaderboard": [
            {
                "user_id": standing.gamer_id,
                "score": standing.score,
                "rank": standing.rank,
                "username": standing.username,
            }
            for standing in board.standings
        ],
        "price_pool": board.price_pool,
        "winners": [
            {
                "user_id": winner.gamer_id,
                "reward": winner.prize,
                "rank": winner.rank,
                "score": winner.score,
            }
            for winner in board.winners
        ],
        "total": board.total,
        "tournament_status": board.status,
        "as_of": board.as_of,
        "me": own and {"rank": own.rank, "score": own.score, "reward": own.prize},
    }


class PlayedTournamentSerializer(serializers.Serializer[Any]):
    type = serializers.CharField(read_only=True, default="Tournament")
    typeValue = serializers.IntegerField(source="number")  # noqa: N815
    result = serializers.SerializerMethodField()
    occurredAtText = serializers.DateTimeField(source="occurred_at")  # noqa: N815
    mode = serializers.CharField(read_only=True, default="Quick")
    buyInStake = serializers.IntegerField(source="entry_fee")  # noqa: N815
    amountWon = serializers.IntegerField(source="prize")  # noqa: N815
    tournament_uid = serializers.UUIDField()
    rank = serializers.IntegerField(allow_null=True)

    def get_result(self, played: PlayedTournament) -> str:
        if played.is_cancelled:
            return "Refunded"
        return "Won" if played.prize > 0 else "You Lost"


class RejectedEventSerializer(serializers.Serializer[None]):
    index = serializers.IntegerField(help_text="Its place among the events sent, from 0 on.")
    error = serializers.CharField(help_text="As a single event's `error`.")
    message = serializers.CharField()


class EventBatchSerializer(serializers.Serializer[None]):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField(help_text="Equal to an event of the last 7 days.")
    rejected = RejectedEventSerializer(many=True)


def shown_batch(outcomes: Sequence[Outcome | Refusal]) -> dict[str, object]:
    """The answer as `EventBatchSerializer` describes it."""
    return {
        "accepted": outcomes.count(Outcome.ACCEPTED),
        "duplicates": outcomes.count(Outcome.DUPLICATE),
        "rejected": [
            {"index": index, "error": outcome.code, "message": _message_of(outcome)}
            for index, outcome in enumerate(outcomes)
            if isinstance(outcome, Refusal)
        ],
    }


def _message_of(refusal: Refusal) -> str:
    """The sentence, and what is wrong with which field, for which a single answer has a place."""
    fields = refusal.details.get("fields")
    if not isinstance(fields, dict):
        return str(refusal)
    return " ".join([str(refusal), *(f"{name}: {reason}" for name, reason in fields.items())])


class MessageSerializer(serializers.Serializer[None]):
    message = serializers.CharField()


class LeftSerializer(MessageSerializer):
    refunded_amount = serializers.IntegerField()
