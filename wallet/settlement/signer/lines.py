"""The signer's log: lines of JSON like the platform's, without the packages that the platform uses."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from types import TracebackType

from kgen.common import scrubbing


class Line(logging.Formatter):
    """One line of JSON in ASCII, scrubbed."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": scrubbing.scrub_text(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = scrubbing.scrub_text(self.formatException(record.exc_info))
        return json.dumps(line)


def begin() -> None:
    """Write every line, warning and uncaught error of this process to standard error."""
    scrubbing.hide_secrets_of(os.environ)
    handler = logging.StreamHandler()
    handler.setFormatter(Line())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.raiseExceptions = False  # or a line that fails is printed in the raw
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        logging.getLogger(__name__).critical("Nobody caught this", exc_info=(kind, error, trace))
