from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

from django.db import connection

R = TypeVar("R")


def all_at_once(calls: Sequence[Callable[[], R]]) -> list[R]:
    """Make every call in a thread of its own, started together; needs `committed_database`."""
    start = Barrier(len(calls))

    def run(call: Callable[[], R]) -> Any:
        start.wait(timeout=10)
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))
