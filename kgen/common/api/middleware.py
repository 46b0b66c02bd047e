"""What holds for every answer, also for those that no view of ours made."""

import re
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from kgen.common import logs
from kgen.common.api import rate_limits, traffic
from kgen.common.api.exceptions import plain_response
from kgen.common.identifiers import uuid7

GetResponse = Callable[[HttpRequest], HttpResponseBase]

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


def request_id_of(wanted: str) -> str:
    """The id that the caller gave, where it is fit to be repeated; else a new one."""
    return wanted if _REQUEST_ID.fullmatch(wanted) else str(uuid7())


class RequestIdMiddleware:
    """Give each request an id, the caller's own where it is fit to be repeated (contract 0).

    Every line that is logged meanwhile has it, and so has the one that tells of the request itself.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = request_id_of(request.headers.get("X-Request-ID", ""))
        request.request_id = request_id  # type: ignore[attr-defined]  # a plain attribute of ours
        logs.begin(request_id=request_id)
        began = time.perf_counter()
        try:
            with traffic.in_progress():
                response = self.get_response(request)
            response["X-Request-ID"] = request_id
            # By whoever met the fault, or by nobody: a refusal is no error of ours.
            response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark
            traffic.note(request, response, seconds=time.perf_counter() - began)
        finally:
            logs.end()
        return response


class PermissionsPolicyMiddleware:
    """No page of ours uses a camera, a place or a payment, and so nothing planted in one does."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response["Permissions-Policy"] = (
            "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(),"
            " microphone=(), payment=(), usb=()"
        )
        return response


class ApiErrorMiddleware:
    """Turn every error page under /api/ into the contract's JSON, whoever made it.

    Django answers an unknown path, a foreign Host header or a fault outside of the views with HTML
    pages of its own; no view sees those requests.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if not request.path_info.startswith("/api/"):
            return response
        if response.status_code >= 400 and not _is_json(response):
            response = _in_json(request, response)
        response["Cache-Control"] = "no-store"
        if request.path_info.startswith("/api/v1/") and "RateLimit-Limit" not in response:
            for name, value in rate_limits.uncounted().headers().items():
                response[name] = value
        return response


def _in_json(request: HttpRequest, page: HttpResponseBase) -> HttpResponse:
    """The contract's body in place of a page's, under the headers that the page was given."""
    response = plain_response(request, page.status_code)
    for name, value in page.items():
        if name.lower() not in ("content-type", "content-length"):
            response[name] = value
    response["Content-Length"] = str(len(response.content))
    return response


def _is_json(response: HttpResponseBase) -> bool:
    return isinstance(response, HttpResponse) and response.headers.get(
        "Content-Type", ""
    ).startswith("application/json")
