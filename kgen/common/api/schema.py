"""What the OpenAPI document says of every endpoint, in one place."""

from collections import defaultdict
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from kgen.common.api.exceptions import (
    InvalidRequest,
    PayloadTooLarge,
    UnsupportedMediaType,
    status_of,
)
from kgen.common.api.idempotency import KeyReused, RequestInProgress
from kgen.common.api.rate_limits import RateLimited
from kgen.common.errors import Refusal, Unauthenticated, Unavailable

_ANY_CALL = (InvalidRequest, Unauthenticated, PayloadTooLarge, RateLimited, Unavailable)
_ANY_POST = (UnsupportedMediaType, KeyReused, RequestInProgress)


class ErrorBody(serializers.Serializer[Any]):
    """Every error's body; `error` is the code to act on."""

    statusCode = serializers.IntegerField()  # noqa: N815 - the wire's name
    error = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField()
    request_id = serializers.CharField()


def refusals(*own: type[Refusal], post: bool = False) -> dict[int, OpenApiResponse]:
    """The error answers of an endpoint: its `own` refusals and those that any call can meet.

    For the `responses` of `extend_schema`, beside the good ones.
    """
    codes: defaultdict[int, list[str]] = defaultdict(list)
    for refusal in (*own, *_ANY_CALL, *(_ANY_POST if post else ())):
        known = codes[status_of(refusal)]
        if refusal.code not in known:
            known.append(refusal.code)
    codes[500].append("INTERNAL_ERROR")
    return {
        status: OpenApiResponse(ErrorBody, description=", ".join(known))
        for status, known in sorted(codes.items())
    }


class ApiSchema(AutoSchema):
    """Adds the header that every POST takes."""

    def get_override_parameters(self) -> list[Any]:
        if self.method != "POST":
            return []
        return [
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                description="1 to 64 printable ASCII characters: with the same key and body the"
                " first good answer is given again for 24 hours.",
            )
        ]
