"""The rule that money moves inside somebody's database transaction."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import connection

P = ParamSpec("P")
R = TypeVar("R")


def requires_transaction(function: Callable[P, R]) -> Callable[P, R]:
    """Make `function` refuse to run in autocommit, where half of a movement could stay behind."""

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not connection.in_atomic_block:
            raise RuntimeError(f"{function.__qualname__} must be called inside a transaction")
        return function(*args, **kwargs)

    return checked
