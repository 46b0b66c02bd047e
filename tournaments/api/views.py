import json
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import token_of
from accounts.api.views import GamerViewSet, GameViewSet
from kgen.common import strict_json
from kgen.common.api.exceptions import InvalidRequest, UnsupportedMediaType, refusal_of
from kgen.common.api.schema import leads_to, refuses
from kgen.common.api.views import JSON
from kgen.common.errors import Refusal
from kgen.common.identifiers import uuid_of
from tournaments import (
    event_batches,
    eventing,
    joining,
    leaderboard,
    lifecycle,
    listing,
    results,
    statistics,
    tickets,
)
from tournaments.api.serializers import (
    MOST_EVENTS,
    ActiveQuerySerializer,
    AroundQuerySerializer,
    EventBatchRequestSerializer,
    EventBatchSerializer,
    EventRequestSerializer,
    HistoricQuerySerializer,
    JoinRequestSerializer,
    LeaderboardQuerySerializer,
    LeaderboardSerializer,
    LeftSerializer,
    MessageSerializer,
    PlayedTournamentSerializer,
    ResultSerializer,
    TournamentSerializer,
    shown_batch,
    shown_board,
)
from tournaments.eventing import Event
from tournaments.models import Tournament
from wallet import entry_fees

NDJSON = "application/x-ndjson"


class EventingViewSet(GamerViewSet):
    event_actions = frozenset({"receive"})

    @extend_schema(
        operation_id="send_event",
        request=EventRequestSerializer,
        responses=bool,
    )
    @refuses(
        eventing.PlayerMismatch,
        lifecycle.TournamentNotFound,
        joining.NotJoined,
        lifecycle.TournamentNotLive,
        joining.TournamentFull,
        entry_fees.InsufficientBalance,
    )
    def receive(self, request: Request) -> Response:
        """Tell what happened in the game; an equal event is taken once."""
        event = EventRequestSerializer().event_of(self.json_body())
        eventing.receive(gamer=self.caller.gamer, event=event, now=timezone.now())
        return Response(True)


class EventBatchViewSet(GameViewSet):
    largest_body = 1024 * 1024

    @extend_schema(
        operation_id="send_events",
        request={JSON: EventBatchRequestSerializer, NDJSON: OpenApiTypes.STR},
        responses=EventBatchSerializer,
    )
    def receive(self, request: Request) -> Response:
        """Tell what happened to many gamers, 1 to 1000 events; each is taken or rejected alone.

        As JSON, or as `application/x-ndjson` with one event a line. An event is rejected as it would
        be refused if it were sent alone with its gamer's token, with PLAYER_MISMATCH where the gamer
        is unknown, and with BAD_REQUEST where it is not JSON or carries `tournamentJoined`.
        """
        serializer = EventRequestSerializer()
        outcomes = event_batches.receive(
            game=self.game,
            events=[_event_of(sent, serializer) for sent in self._sent()],
            now=timezone.now(),
        )
        return Response(shown_batch(outcomes))

    def _sent(self) -> list[strict_json.Read]:
        raw, kind = self.raw_body(), self.media_type()
        if kind == NDJSON:
            sent = [_line(line) for line in raw.split(b"\n") if line.strip()]
        elif kind == JSON:
            sent = strict_json.loads_many(raw, under="events")
        else:
            raise UnsupportedMediaType
        if not 1 <= len(sent) <= MOST_EVENTS:
            raise InvalidRequest({"events": f"Give 1 to {MOST_EVENTS} events."})
        return sent


def _line(raw: bytes) -> strict_json.Read:
    try:
        return strict_json.loads(raw)
    except strict_json.BrokenJson as refusal:
        return refusal


def _event_of(sent: strict_json.Read, serializer: EventRequestSerializer) -> Event | Refusal:
    if isinstance(sent, strict_json.BrokenJson):
        return sent
    try:
        return serializer.event_of(sent)
    except ValidationError as error:
        return refusal_of(error)


class TournamentViewSet(GamerViewSet):
    bodiless_actions = frozenset({"leave"})
    counted_actions = frozenset({"join"})

    @extend_schema(
        operation_id="list_active_tournaments",
        parameters=[ActiveQuerySerializer],
        responses=TournamentSerializer(many=True),
    )
    @leads_to(
        read_tournament={"uid": "$response.body#/0/tournament_uid"},
        join_tournament={
            "uid": "$response.body#/0/tournament_uid",
            "body": {"joiningStake": "$response.body#/0/buy_in_price"},
        },
        read_leaderboard={"uid": "$response.body#/0/tournament_uid"},
        stream_leaderboard={"uid": "$response.body#/0/tournament_uid"},
    )
    def active(self, request: Request) -> Response:
        """Tournaments of this game that are announced, open or running."""
        status = self.query(ActiveQuerySerializer).get("status")
        tournaments = listing.active(
            gamer=self.caller.gamer,
            status=None if status is None else Tournament.Status(status),
            now=timezone.now(),
        )
        return Response(TournamentSerializer(tournaments, many=True).data)

    @extend_schema(
        operation_id="list_joined_tournaments",
        responses={200: {"type": "array", "items": {"type": "string", "format": "uuid"}}},
    )
    @leads_to(
        read_tournament={"uid": "$response.body#/0"},
        leave_tournament={"uid": "$response.body#/0"},
        read_leaderboard={"uid": "$response.body#/0"},
    )
    def joined(self, request: Request) -> Response:
        """Tournaments that the gamer has joined and not left, the newest join first."""
        return Response(listing.joined_uids(gamer=self.caller.gamer))

    @extend_schema(operation_id="read_tournament", responses=TournamentSerializer)
    @refuses(lifecycle.TournamentNotFound)
    def retrieve(self, request: Request, uid: str) -> Response:
        """One tournament of this game."""
        tournament = listing.one(
            gamer=self.caller.gamer, uid=_tournament_uid(uid), now=timezone.now()
        )
        return Response(TournamentSerializer(tournament).data)

    @extend_schema(
        operation_id="join_tournament", request=JoinRequestSerializer, responses=MessageSerializer
    )
    @refuses(
        lifecycle.TournamentNotFound,
        joining.AlreadyJoined,
        lifecycle.TournamentNotLive,
        joining.TournamentFull,
        joining.WrongStake,
        entry_fees.InsufficientBalance,
    )
    def join(self, request: Request, uid: str) -> Response:
        """Take a seat and pay the entry fee."""
        stake = self.parse(JoinRequestSerializer)["joiningStake"]
        joining.join(
            gamer=self.caller.gamer,
            tournament_uid=_tournament_uid(uid),
            stake=stake,
            now=timezone.now(),
        )
        return Response({"message": "user successfully joined the tournament"})

    @extend_schema(operation_id="leave_tournament", request=None, responses=LeftSerializer)
    @refuses(lifecycle.TournamentNotFound, joining.NotJoined, lifecycle.TournamentNotLive)
    def leave(self, request: Request, uid: str) -> Response:
        """Give the seat up; the stake comes back until the first score."""
        refunded = joining.leave(
            gamer=self.caller.gamer, tournament_uid=_tournament_uid(uid), now=timezone.now()
        )
        return Response(
            {"message": "user left the tournament successfully", "refunded_amount": refunded}
        )

    @extend_schema(operation_id="read_result", responses=ResultSerializer)
    @refuses(lifecycle.TournamentNotFound, results.ResultNotFound)
    def result(self, request: Request, uid: str) -> Response:
        """How a settled tournament came out, with all that its prizes follow from."""
        tournament = listing.visible(
            gamer=self.caller.gamer, uid=_tournament_uid(uid), now=timezone.now()
        )
        record = results.of(tournament)
        return Response({"sha256": record.sha256, "record": json.loads(record.canonical)})


class LeaderboardViewSet(GamerViewSet):
    @extend_schema(
        operation_id="read_leaderboard",
        parameters=[
            LeaderboardQuerySerializer,
            OpenApiParameter(
                "around",
                enum=["me"],
                description="`limit` rows, 21 where left out, with the caller in their middle.",
            ),
        ],
        responses=LeaderboardSerializer,
    )
    @refuses(lifecycle.TournamentNotFound, joining.NotJoined)
    def by_tournament(self, request: Request, uid: str) -> Response:
        """Who stands where, from `offset` on or around the caller."""
        now = timezone.now()
        gamer = self.caller.gamer
        is_around = "around" in request.GET
        query = self.query(AroundQuerySerializer if is_around else LeaderboardQuerySerializer)
        tournament = listing.visible(gamer=gamer, uid=_tournament_uid(uid), now=now)
        fresh = query["fresh"] == "1"
        if is_around:
            board = leaderboard.read_around(
                tournament=tournament, gamer=gamer, limit=query["limit"], now=now, fresh=fresh
            )
        else:
            board = leaderboard.read(
                tournament=tournament,
                gamer=gamer,
                limit=query["limit"],
                offset=query["offset"],
                now=now,
                fresh=fresh,
            )
        return Response(shown_board(board))

    @extend_schema(
        operation_id="stream_leaderboard",
        responses={
            307: OpenApiResponse(
                description="The address of the stream: server-sent events, `standings` with the"
                " first 100 of the board whenever it has changed, at most one a second."
            )
        },
    )
    @refuses(lifecycle.TournamentNotFound)
    def stream(self, request: Request, uid: str) -> HttpResponse:
        """Go to where the board is sent as it changes; no client headers are asked for there."""
        tournament = listing.visible(
            gamer=self.caller.gamer, uid=_tournament_uid(uid), now=timezone.now()
        )
        address = tickets.stream_address(tournament, token=token_of(request))
        return HttpResponse(status=307, headers={"Location": address})


class StatisticsViewSet(GamerViewSet):
    @extend_schema(
        operation_id="read_history",
        parameters=[HistoricQuerySerializer],
        responses=PlayedTournamentSerializer(many=True),
    )
    @leads_to(
        read_leaderboard={"uid": "$response.body#/0/tournament_uid"},
        read_result={"uid": "$response.body#/0/tournament_uid"},
    )
    def historic(self, request: Request) -> Response:
        """Finished tournaments that the gamer was in, newest first."""
        query = self.query(HistoricQuerySerializer)
        played = statistics.historic(
            gamer=self.caller.gamer, limit=query["limit"], offset=query["offset"]
        )
        return Response(PlayedTournamentSerializer(played, many=True).data)


def _tournament_uid(text: str) -> UUID:
    uid = uuid_of(text)
    if uid is None:
        raise lifecycle.TournamentNotFound
    return uid
