"""Databases of a benchmark's server, and who connects to them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
from django.core.management import call_command
from django.db import connection
from psycopg2 import sql

from kgen.common.database_roles import owner_settings


def migrate() -> None:
    call_command("migrate", verbosity=0)


def use(name: str) -> None:
    """Connect the application to another database of the same server."""
    connection.close()
    connection.settings_dict["NAME"] = name


class Lines:
    """An open connection to each of several databases, to call them in turns without delay."""

    def __init__(self, names: Sequence[str]) -> None:
        self._opened: dict[str, Any] = {}
        for name in names:
            use(name)
            connection.ensure_connection()
            self._opened[name] = connection.connection
            connection.connection = None

    def switch_to(self, name: str) -> None:
        connection.connection = self._opened[name]

    def close(self) -> None:
        for opened in self._opened.values():
            opened.close()
        connection.connection = None


def current() -> str:
    name: str = connection.settings_dict["NAME"]
    return name


@contextmanager
def owner_of(name: str) -> Iterator[Any]:
    """A cursor with the owner's login, each statement committed by itself."""
    login = owner_settings(connection.settings_dict)
    opened = psycopg2.connect(
        user=login["USER"],
        password=login["PASSWORD"],
        host=login["HOST"],
        port=login["PORT"],
        dbname=name,
    )
    try:
        opened.autocommit = True
        with opened.cursor() as cursor:
            yield cursor
    finally:
        opened.close()


def clone(name: str, copy: str) -> None:
    connection.close()
    with owner_of("postgres") as cursor:
        cursor.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(copy), sql.Identifier(name)
            )
        )
