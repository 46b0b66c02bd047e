import io
import os
import sys
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

from kgen.common import logs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kgen.settings")


class PlainRequest(WSGIRequest):
    """A request of which nothing is lost and nothing is guessed before our code sees it.

    Django takes a body sent in chunks for an absent one: whoever names rewards to claim in such a
    body would claim all. And it decodes the query string by the charset of the Content-Type, which
    fails over `bz2_codec` before any middleware could answer.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        if "HTTP_TRANSFER_ENCODING" in environ and environ.get("wsgi.input_terminated"):
            largest: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            body = environ["wsgi.input"].read(largest + 1)  # one more, to be found too large
            environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        super().__init__(environ)

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        header = meta.get("CONTENT_TYPE", "")
        try:
            self.content_type, self.content_params = parse_header_parameters(header)
        except ValueError:
            self.content_type, self.content_params = "", {"charset": "unreadable"}


class Application(WSGIHandler):
    request_class = PlainRequest


django.setup(set_prefix=False)
if "granian" in sys.modules:  # a process that serves, not one that only reads this
    logs.take_over()
application = Application()
