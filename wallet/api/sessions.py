"""POST /session: here and not in accounts, because the first one makes the wallet."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import sessions
from accounts.api.views import GameViewSet
from kgen.common.api import idempotency
from kgen.common.api.fields import (
    LARGEST_INTEGER,
    StrictIntegerField,
    StrictTextField,
    TextOrIntegerField,
    text_or_integer,
)
from kgen.common.api.schema import refuses
from kgen.common.api.views import Handler
from wallet import onboarding

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@extend_schema_field(text_or_integer(minLength=1, maxLength=128))
class GamerIdField(TextOrIntegerField):
    """1 to 128 printable characters (contract 0)."""

    default_error_messages = {"not_printable": "Give printable characters."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=128, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        gamer_id = super().to_internal_value(data)
        if not gamer_id.isprintable():
            self.fail("not_printable")
        return gamer_id


@extend_schema_field(text_or_integer(format="date-time"))
class MillisecondsField(StrictIntegerField):
    """Unix milliseconds; ISO 8601 text is taken too, as UTC where it names no zone."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str):
            return super().to_internal_value(data)
        try:
            moment = datetime.fromisoformat(data)
        except ValueError:
            self.fail("invalid")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // _MILLISECOND


@extend_schema_field({"oneOf": [{"type": "object"}, {"type": "string", "maxLength": 256}]})
class LocationField(serializers.Field[Any, Any, Any, Any]):
    """An object of the game's own making, or a text."""

    default_error_messages = {"invalid": "Give an object, or a text of at most 256 characters."}

    def to_internal_value(self, data: Any) -> dict[str, Any] | str:
        if isinstance(data, dict) or (isinstance(data, str) and len(data) <= 256):
            return data
        return self.fail("invalid")


class SessionFields(serializers.Serializer[Any]):
    gamer_id = GamerIdField()
    device_id = StrictTextField(max_length=256, required=False)
    email = StrictTextField(max_length=256, required=False)
    username = StrictTextField(max_length=256, required=False)
    phonenumber = StrictTextField(max_length=256, required=False)
    name = StrictTextField(max_length=256, required=False)
    playertag = StrictTextField(max_length=256, required=False)
    location_name = StrictTextField(max_length=256, required=False)
    level = StrictIntegerField(required=False)
    rank = StrictIntegerField(required=False)
    date_joined = MillisecondsField(required=False)
    location = LocationField(required=False)


class SessionAnswer(serializers.Serializer[Any]):
    gamer_id = serializers.CharField()
    appId = serializers.UUIDField()  # noqa: N815 - the wire's name
    accountId = serializers.UUIDField()  # noqa: N815 - the wire's name
    session_id = serializers.UUIDField()
    wallet_address = serializers.CharField()
    session_start_time = serializers.IntegerField(max_value=LARGEST_INTEGER)
    token = serializers.CharField()
    is_new_user = serializers.BooleanField()
    linked_phone = serializers.CharField()


class SessionViewSet(GameViewSet):
    @extend_schema(
        operation_id="open_session",
        request=SessionFields,
        responses={201: SessionAnswer, 200: SessionAnswer},
    )
    @refuses(sessions.GamerBlocked, onboarding.SessionNotStarted)
    def create(self, request: Request) -> Response:
        """Open the game for a gamer: a session and a fresh token, the first time a wallet too."""
        profile = self.parse(SessionFields)
        gamer_id = profile.pop("gamer_id")
        now = timezone.now()
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return _answer(
                onboarding.open_session(game=self.game, gamer_id=gamer_id, profile=profile, now=now)
            )
        return self._create_under_key(key, gamer_id=gamer_id, profile=profile, now=now)

    def answer(self, handler: Handler) -> HttpResponse:
        """The key waits for the body, which says whose it is."""
        return handler(self.request)

    def _create_under_key(
        self, key: str, *, gamer_id: str, profile: dict[str, Any], now: datetime
    ) -> Response:
        """A token is never kept, so a replay opens the session anew and repeats the first status
        (contract 0)."""
        sessions.refuse_blocked(game=self.game, gamer_id=gamer_id)
        keyed = self.keyed_request(key, str(self.game.uid), gamer_id)
        with transaction.atomic():
            kept = idempotency.first_answer(request=keyed, now=now)
            onboarded = onboarding.open_session(
                game=self.game, gamer_id=gamer_id, profile=profile, now=now
            )
            if kept is not None:
                response = _answer(onboarded, status=kept.status)
                response["Idempotent-Replayed"] = "true"
                return response
            response = _answer(onboarded)
            idempotency.keep(request=keyed, status=response.status_code, body=b"", now=now)
        return response


def _answer(onboarded: onboarding.Onboarded, *, status: int | None = None) -> Response:
    opened = onboarded.opened
    gamer, session = opened.gamer, opened.session
    status = status or (201 if opened.is_new_gamer else 200)
    return Response(
        {
            "gamer_id": gamer.gamer_id,
            "appId": gamer.game.uid,
            "accountId": gamer.uid,
            "session_id": session.uid,
            "wallet_address": onboarded.wallet.address,
            "session_start_time": (session.started_at - _EPOCH) // _MILLISECOND,
            "token": opened.token,
            "is_new_user": status == 201,
            "linked_phone": gamer.kgen_account.phone if gamer.kgen_account else "",
        },
        status=status,
    )
