"""Calls made at the same moment from threads with database connections of their own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection


def in_parallel(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each call returned, or the exception that it raised. Needs `committed_database`."""
    barrier = Barrier(len(calls))

    def make(call: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait(timeout=10)
            return call()
        except Exception as error:  # noqa: BLE001 - an outcome like any other
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


def kinds(outcomes: Sequence[Any]) -> list[str]:
    """The outcomes as the names of their types, sorted."""
    return sorted(type(outcome).__name__ for outcome in outcomes)
