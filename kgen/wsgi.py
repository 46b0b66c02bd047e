import io
import os
import sys
from typing import Any, Final

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpResponse
from django.urls import get_resolver
from django.utils.http import parse_header_parameters

from kgen.admission import Full, OnConnectionsOfItsOwn, Slots, turned_away
from kgen.common import logs
from kgen.common.api import traffic

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kgen.settings")

# Answered however much is under way: who asks would take silence for death.
_HEALTH: Final = {"/healthz", "/readyz"}


class PlainRequest(WSGIRequest):
    """A request of which nothing is lost and nothing is guessed before our code sees it.

    Django takes a body sent in chunks for an absent one: whoever names rewards to claim in such a
    body would claim all. And it decodes the query string by the charset of the Content-Type, which
    fails over `bz2_codec` before any middleware could answer.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        _read_chunks(environ)
        super().__init__(environ)

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        header = meta.get("CONTENT_TYPE", "")
        try:
            self.content_type, self.content_params = parse_header_parameters(header)
        except ValueError:
            self.content_type, self.content_params = "", {"charset": "unreadable"}


class Application(WSGIHandler):
    request_class = PlainRequest

    def __init__(self) -> None:
        super().__init__()
        self._slots = Slots(
            at_once=settings.REQUESTS_AT_ONCE,
            waiting=settings.REQUESTS_WAITING,
            patience=settings.REQUESTS_PATIENCE,
        )

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] in _HEALTH:
            return OnConnectionsOfItsOwn(super().__call__(environ, start_response))
        # Waited for before a slot is taken: a slow sender keeps nobody else out.
        _read_chunks(environ)
        _read_body(environ)
        try:
            with self._slots.one():
                response = super().__call__(environ, start_response)
                if not isinstance(response, HttpResponse):
                    return OnConnectionsOfItsOwn(response)
                response.close()
                return [response.content]
        except Full:
            traffic.note_turned_away()
            refused = turned_away(environ)
            start_response(f"{refused.status_code} {refused.reason_phrase}", [*refused.items()])
            return [refused.content]


def _read_chunks(environ: dict[str, Any]) -> None:
    if "HTTP_TRANSFER_ENCODING" in environ and environ.get("wsgi.input_terminated"):
        largest: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = environ["wsgi.input"].read(largest + 1)  # one more, to be found too large
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))


def _read_body(environ: dict[str, Any]) -> None:
    """As far as a body of ours may be long; a longer one is refused by its length."""
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length) <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(length)))


django.setup(set_prefix=False)
if "granian" in sys.modules:  # a process that serves, not one that only reads this
    logs.take_over()
# Every view is loaded before the first request comes, which else would keep others waiting.
get_resolver().url_patterns  # noqa: B018 - looked at, so that it is there
application = Application()
