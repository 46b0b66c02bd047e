import time
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


def wait_until_blocked() -> None:
    """Until another connection to this database waits for a lock."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            # Who is connected is otherwise remembered until the transaction ends.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT count(*) FROM pg_locks"
                " JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            )
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waits")
