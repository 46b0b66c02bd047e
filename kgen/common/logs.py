"""How every process of ours writes its log: JSON, a line each, scrubbed, with the request's id.

Knows nothing of Django, as granian's own process uses it too.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter

from kgen.common import scrubbing

Line = MutableMapping[str, Any]

# Ours, from lists that we wrote: looked through for nothing.
_TRUSTED: Final = frozenset({"timestamp", "level", "logger", "route", "task"})
_FIRST: Final = ("timestamp", "level", "logger", "event")

logger = logging.getLogger(__name__)


def config(*, level: str) -> dict[str, Any]:
    """What `logging.config.dictConfig` wants: everything goes to standard error, in our lines."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "kgen.common.logs.formatter"}},
        "handlers": {"lines": {"()": "kgen.common.logs.Lines", "formatter": "line"}},
        "loggers": {
            # Django's own handlers would write each line once more, in words of their own.
            "django": {"handlers": [], "propagate": True},
            # A refusal is an answer, not an event; what nobody expected is logged where it is met.
            "django.request": {"level": "ERROR"},
            # It tells whole addresses of what we ask of others.
            "httpx": {"level": "WARNING"},
            # Who signs in is in the history of staff.
            "axes": {"level": "WARNING"},
        },
        "root": {"handlers": ["lines"], "level": level},
    }


def formatter() -> logging.Formatter:
    """JSON for machines; for a person at a terminal, or with LOG_FORMAT=text, plain text."""
    scrubbing.hide_secrets_of(os.environ)
    wanted = os.environ.get("LOG_FORMAT") or ("text" if sys.stderr.isatty() else "json")
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_fields,
        ],
        processors=[
            _write_exception_out,
            ProcessorFormatter.remove_processors_meta,
            _scrub,
            _in_words if wanted == "text" else _in_json,
        ],
    )


class Lines(logging.StreamHandler[TextIO]):
    """Writes to standard error; what cannot be written is not printed there in the raw."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exc_info()[0]
        reason = error.__name__ if error else "unknown"
        line = {"level": "error", "logger": __name__, "event": f"A line was lost: {reason}"}
        try:
            self.stream.write(json.dumps({**line, "lost_of": record.name}) + "\n")
        except (OSError, ValueError):
            return  # nobody reads any more


def fields(**values: object) -> dict[str, object]:
    """To be given to a logger as `extra`: what a line says besides its text."""
    return {"fields": values}


# --- What was asked for, and by whom --------------------------------------------------------------


def begin(*, request_id: str) -> None:
    """From now on each line of this thread or task is one of this request."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)


def bind(**values: object) -> None:
    """Say more about whatever this thread or task is doing: ids, never anything secret."""
    structlog.contextvars.bind_contextvars(**values)


def end() -> None:
    structlog.contextvars.clear_contextvars()


def request_id() -> str | None:
    """Of the request that this thread or task serves, or that has asked for it."""
    found: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return found


# --- What nobody logs -----------------------------------------------------------------------------


def take_over() -> None:
    """Write warnings and errors that nobody catches as lines too, in a process that serves."""
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.critical("Nobody caught this", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and arguments.exc_type is not SystemExit:
        _log_uncaught(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)


def _log_unraisable(arguments: "sys.UnraisableHookArgs") -> None:
    error = arguments.exc_value
    if error is not None:
        logger.error("Nobody could catch this", exc_info=(type(error), error, error.__traceback__))


# --- One line -------------------------------------------------------------------------------------


def _add_fields(_: object, __: str, line: Line) -> Line:
    record: logging.LogRecord = line["_record"]
    extra = getattr(record, "fields", None)
    if isinstance(extra, Mapping):
        line.update(extra)
    return line


def _write_exception_out(_: object, __: str, line: Line) -> Line:
    """The trace as text, without the values of variables."""
    info = line.pop("exc_info", None)
    line.pop("stack_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[0] is not None:
        line["exception"] = "".join(traceback.format_exception(*info)).rstrip()
    return line


def _scrub(_: object, __: str, line: Line) -> Line:
    return {
        name: (
            value
            if name in _TRUSTED
            else scrubbing.HIDDEN
            if scrubbing.tells(name)
            else scrubbing.scrub(value)
        )
        for name, value in line.items()
    }


def _in_json(_: object, __: str, line: Line) -> str:
    # In ASCII: a line break of any alphabet, or a terminal's command, stays within the line.
    return json.dumps(_in_order(line), ensure_ascii=True, default=str)


def _in_words(_: object, __: str, line: Line) -> str:
    told = _in_order(line)
    exception = told.pop("exception", "")
    head = " ".join(str(told.pop(name, "")) for name in _FIRST)
    rest = "".join(f" {name}={value}" for name, value in told.items() if value not in (None, ""))
    text = _printable(head + rest)
    return text + "".join(f"\n{_printable(part)}" for part in str(exception).splitlines())


def _in_order(line: Line) -> dict[str, Any]:
    first = {name: line[name] for name in _FIRST if name in line}
    return first | {name: value for name, value in line.items() if name not in first}


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
