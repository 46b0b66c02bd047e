"""What is noted of each request: one line in the log, and the figures for Prometheus.

Neither holds the query string, which may be a token's address. The figures are labelled with what
our own URL map knows, never with what a caller can choose.
"""

import logging
from contextlib import AbstractContextManager
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Gauge, Histogram

from kgen.common import logs
from kgen.common.client_address import client_address

logger = logging.getLogger(__name__)

UNKNOWN: Final = "unknown"
TURNED_AWAY: Final = "turned away"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Asked every few seconds by those who watch over us.
POLLED: Final = frozenset({"healthz", "readyz"})
LONGEST_PATH: Final = 200

REQUESTS: Final = Counter(
    "kgen_requests", "Requests that were answered.", ["route", "method", "status"]
)
SECONDS: Final = Histogram(
    "kgen_request_seconds",
    "How long the answers took.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
IN_PROGRESS: Final = Gauge(
    "kgen_requests_in_progress", "Requests under way.", multiprocess_mode="livesum"
)


def in_progress() -> AbstractContextManager[Any]:
    """Count a request while it runs."""
    return IN_PROGRESS.track_inprogress()


def note_turned_away() -> None:
    """Count a request that nobody had time for; a line for each would take more of it."""
    REQUESTS.labels(TURNED_AWAY, UNKNOWN, 503).inc()


def note(request: HttpRequest, response: HttpResponseBase, *, seconds: float) -> None:
    """Tell of one request that was answered."""
    route = route_of(request)
    method = request.method if request.method in METHODS else UNKNOWN
    status = response.status_code
    REQUESTS.labels(route, method, status).inc()
    SECONDS.labels(route).observe(seconds)
    level = logging.DEBUG if route in POLLED and status < 400 else logging.INFO
    if not logger.isEnabledFor(level):
        return
    # Not `request.user`, which would ask the database where nobody else has.
    staff = getattr(getattr(request, "_cached_user", None), "pk", None)
    told = logs.fields(
        method=method,
        route=route,
        path=request.path_info[:LONGEST_PATH],
        status=status,
        milliseconds=round(seconds * 1000, 1),
        bytes=_size_of(response),
        address=str(client_address(request) or ""),
        **({"staff": staff} if staff else {}),
    )
    logger.log(level, "request", extra=told)


def route_of(request: HttpRequest) -> str:
    """The address as the URL map has it, with the names of its parts; the console is one address."""
    if request.path_info.startswith(settings.STATIC_URL):
        return "static"
    match = request.resolver_match
    if match is None:
        return UNKNOWN
    return "admin" if match.app_names[:1] == ["admin"] else match.route


def _size_of(response: HttpResponseBase) -> int | None:
    if not response.streaming:
        return len(getattr(response, "content", b""))
    stated = response.headers.get("Content-Length", "")
    return int(stated) if stated.isdecimal() else None
