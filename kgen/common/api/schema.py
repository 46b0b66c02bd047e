"""What the OpenAPI document says of every endpoint, in one place."""

from collections import defaultdict
from collections.abc import Callable, Mapping
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


# What every answer carries, by the name of the header.
_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "X-Request-ID": {
        "description": "The caller's own where it is 8 to 64 of A-Z a-z 0-9 and -, else a new one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9-]{8,64}$"},
    },
    "RateLimit-Limit": {
        "description": "Requests a second.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit-Remaining": {
        "description": "Requests that may come at once.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "RateLimit-Reset": {
        "description": "Seconds until all may come again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "Retry-After": {
        "description": "Seconds after which the call is worth making again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Idempotent-Replayed": {
        "description": "`true` where the answer to an earlier call is given again.",
        "schema": {"const": "true"},
    },
    "Location": {
        "description": "Where to go.",
        "required": True,
        "schema": {"type": "string", "format": "uri"},
    },
}
_ON_EVERY_ANSWER = ("X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_ON_ANSWERS = {"307": ("Location",), "429": ("Retry-After",), "503": ("Retry-After",)}


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


def leads_to(**links: Mapping[str, Any]) -> Callable[[H], H]:
    """Name the operations that a handler's good answer leads to, each with its parameters, and under
    `body` its body, as OpenAPI's runtime expressions."""

    def named(handler: H) -> H:
        handler.links = links  # type: ignore[attr-defined]  # a mark of ours
        return handler

    return named


def with_headers(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Name the headers that answers carry; called once the document is made."""
    result["components"]["headers"] = _HEADERS
    for path, operations in result["paths"].items():
        if not path.startswith("/api/v1/"):
            continue
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                names = [*_ON_EVERY_ANSWER, *_ON_ANSWERS.get(status, ())]
                if method == "post" and status.startswith("2"):
                    names.append("Idempotent-Replayed")
                response["headers"] = {
                    name: {"$ref": f"#/components/headers/{name}"} for name in names
                }
    return result


class ApiSchema(AutoSchema):
    """Adds to every operation its error answers, and to every POST its Idempotency-Key."""

    def get_override_parameters(self) -> list[Any]:
        if self.method != "POST":
            return []
        return [
            OpenApiParameter(
                "Idempotency-Key",
                {"type": "string", "pattern": "^[ -~]{1,64}$"},
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
            if links := self._links():
                operation["responses"]["200"]["links"] = links
        return operation

    def _links(self) -> dict[str, Any]:
        links = getattr(self._handler(), "links", {})
        return {
            operation: {
                "operationId": operation,
                "parameters": {name: told for name, told in given.items() if name != "body"},
                **({"requestBody": given["body"]} if "body" in given else {}),
            }
            for operation, given in links.items()
        }

    def _handler(self) -> Any:
        view: Any = self.view
        return getattr(view, view.action)

    def _error_codes(self) -> dict[int, list[str]]:
        view: Any = self.view
        handler = self._handler()
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
