"""Every refusal and every fault as the one error body of the API contract, section 0."""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import ceil
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.settings import api_settings

from kgen.common.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Refusal,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)

logger = logging.getLogger(__name__)


class MethodNotAllowed(Refusal):
    code = "METHOD_NOT_ALLOWED"
    message = "This address does not answer to that method."


class PayloadTooLarge(Refusal):
    code = "PAYLOAD_TOO_LARGE"
    message = "The body is too large."


class UnsupportedMediaType(Refusal):
    code = "UNSUPPORTED_MEDIA_TYPE"
    message = "The body must be JSON in UTF-8."


class LostRace(Conflict):
    """Two calls of one kind met, and no rule named it: the same call again finds what the other did."""

    code = "REQUEST_IN_PROGRESS"
    message = "Another call like this one is still running. Nothing was changed."


class InvalidRequest(Invalid):
    """A field, header or parameter is not as the API contract describes it."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(details={"fields": dict(fields)})


STATUS_OF_KIND: Mapping[type, int] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    Conflict: 409,
    PayloadTooLarge: 413,
    UnsupportedMediaType: 415,
    Unprocessable: 422,
    TooMany: 429,
    Unavailable: 503,
}

# Of a constraint that refused what no rule did. A broken foreign key is a bug of ours: a 500.
REFUSAL_OF_VIOLATION: Mapping[str, type[Refusal]] = {"23505": LostRace, "23514": Invalid}

# What a status means when nothing better is known: Django's own error pages.
CODE_OF_STATUS: Mapping[int, tuple[str, str]] = {
    400: (Invalid.code, Invalid.message),
    401: (Unauthenticated.code, Unauthenticated.message),
    403: ("FORBIDDEN", "This is not allowed."),
    404: (NotFound.code, NotFound.message),
    405: (MethodNotAllowed.code, MethodNotAllowed.message),
    406: ("NOT_ACCEPTABLE", "There is no answer in the form asked for."),
    413: (PayloadTooLarge.code, PayloadTooLarge.message),
    415: (UnsupportedMediaType.code, UnsupportedMediaType.message),
    429: ("RATE_LIMITED", "Too many requests."),
    500: ("INTERNAL_ERROR", "Something went wrong on our side."),
    503: (Unavailable.code, Unavailable.message),
}


def status_of(refusal: type[Refusal]) -> int:
    """The HTTP status of a kind of refusal, or of a refusal derived from one."""
    return next(STATUS_OF_KIND[kind] for kind in refusal.__mro__ if kind in STATUS_OF_KIND)


def refusal_of(error: ValidationError) -> InvalidRequest:
    """A serializer's complaint as the contract's refusal: each field with its first reason."""
    return InvalidRequest(dict(_reasons(error.detail)))


def exception_handler(exception: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """The answer to whatever an API view raised; what nobody expected is a 500 with its trace."""
    request: Request = context["request"]
    match exception:
        case Refusal():
            return refusal_response(request, exception)
        case ValidationError():
            return refusal_response(request, refusal_of(exception))
        case APIException():
            return plain_response(request, exception.status_code)
        case Http404():
            return plain_response(request, 404)
        case PermissionDenied():
            return plain_response(request, 403)
        case RequestDataTooBig():
            return plain_response(request, 413)
        case SuspiciousOperation() | UnreadablePostError():
            return plain_response(request, 400)
        case IntegrityError() if _sqlstate(exception) in REFUSAL_OF_VIOLATION:
            # The last line of defence held; the rule that should have refused is missing.
            logger.error(
                "No rule refused what the database did: request %s",
                _id_of(request),
                exc_info=exception,
            )
            return refusal_response(request, REFUSAL_OF_VIOLATION[_sqlstate(exception)]())
        case OperationalError() | InterfaceError():
            logger.error(
                "The database did not do its part: request %s", _id_of(request), exc_info=exception
            )
            return refusal_response(request, Unavailable(retry_after=timedelta(seconds=1)))
        case _:
            logger.error("A bug: request %s", _id_of(request), exc_info=exception)
            return plain_response(request, 500)


def refusal_response(request: Request | HttpRequest, refusal: Refusal) -> HttpResponse:
    """The contract's error answer for one refusal."""
    status = status_of(type(refusal))
    retry_after = refusal.retry_after
    if (status == 503 or isinstance(refusal, LostRace)) and retry_after is None:
        retry_after = timedelta(seconds=1)
    return _response(
        request, status, refusal.code, str(refusal), refusal.details, retry_after=retry_after
    )


def plain_response(request: Request | HttpRequest, status: int) -> HttpResponse:
    """The contract's error answer for a bare status."""
    code, message = CODE_OF_STATUS.get(status) or CODE_OF_STATUS[400 if status < 500 else 500]
    retry_after = timedelta(seconds=1) if status in (429, 503) else None
    return _response(request, status, code, message, {}, retry_after=retry_after)


def _response(
    request: Request | HttpRequest,
    status: int,
    code: str,
    message: str,
    details: Mapping[str, object],
    *,
    retry_after: timedelta | None,
) -> HttpResponse:
    body = {
        "statusCode": status,
        "error": code,
        "message": message,
        "details": details,
        "request_id": _id_of(request),
    }
    response = HttpResponse(orjson.dumps(body), status=status, content_type="application/json")
    if retry_after is not None:
        response["Retry-After"] = str(max(1, ceil(retry_after.total_seconds())))
    return response


def _sqlstate(error: Exception) -> str:
    return str(getattr(error.__cause__, "pgcode", ""))


def _id_of(request: Request | HttpRequest) -> str:
    return str(getattr(request, "request_id", ""))


def _reasons(detail: object, path: str = "") -> Sequence[tuple[str, str]]:
    """Each field that was refused with its first reason; inner fields are joined by points."""
    if isinstance(detail, Mapping):
        found: list[tuple[str, str]] = []
        for name, inner in detail.items():
            own = path if name == api_settings.NON_FIELD_ERRORS_KEY else _join(path, name)
            found.extend(_reasons(inner, own))
        return found
    if isinstance(detail, list):
        if detail and all(isinstance(reason, str) for reason in detail):
            return [(path or "body", str(detail[0]))]
        found = []
        for index, inner in enumerate(detail):
            found.extend(_reasons(inner, _join(path, index)))
        return found
    return [(path or "body", str(detail))]


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)
