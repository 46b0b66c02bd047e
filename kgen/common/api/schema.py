"""What the OpenAPI document says of every endpoint, in one place."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
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

H = TypeVar("H", bound=Callable[..., Any])

_ANY_CALL = (InvalidRequest, Unauthenticated, PayloadTooLarge, RateLimited, Unavailable)
_ANY_POST = (UnsupportedMediaType, KeyReused, RequestInProgress)


class ErrorBody(serializers.Serializer[Any]):
    """Every error's body; `error` is the code to act on."""

    statusCode = serializers.IntegerField()  # noqa: N815 - the wire's name
    error = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField()
    request_id = serializers.CharField()


def refuses(*own: type[Refusal]) -> Callable[[H], H]:
    """Name what a handler refuses, for the document; what any call can meet is added to it."""

    def named(handler: H) -> H:
        handler.refusals = own  # type: ignore[attr-defined]  # a mark of ours
        return handler

    return named


class ApiSchema(AutoSchema):
    """Adds to every operation its error answers, and to every POST its Idempotency-Key."""

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

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            body = self.resolve_serializer(ErrorBody, "response").ref
            for status, codes in sorted(self._error_codes().items()):
                operation["responses"][str(status)] = {
                    "description": ", ".join(codes),
                    "content": {"application/json": {"schema": body}},
                }
        return operation

    def _error_codes(self) -> dict[int, list[str]]:
        view: Any = self.view
        handler = getattr(view, view.action)
        codes: defaultdict[int, list[str]] = defaultdict(list)
        for refusal in (
            *getattr(handler, "refusals", ()),
            *view.common_refusals,
            *_ANY_CALL,
            *(_ANY_POST if self.method == "POST" else ()),
        ):
            known = codes[status_of(refusal)]
            if refusal.code not in known:
                known.append(refusal.code)
        codes[500].append("INTERNAL_ERROR")
        return codes
