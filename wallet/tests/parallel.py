from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from accounts.tests.threads import all_at_once


def in_parallel(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each call, made at the same moment, returned, or the exception that it raised."""
    return all_at_once([partial(_outcome, call) for call in calls])


def kinds(outcomes: Sequence[Any]) -> list[str]:
    """The outcomes as the names of their types, sorted."""
    return sorted(type(outcome).__name__ for outcome in outcomes)


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - an outcome like any other
        return error
