"""Statements that PostgreSQL parses and plans once a connection, not once a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# By psycopg2's connection: what it has prepared is forgotten together with it.
_prepared: Final[WeakKeyDictionary[Any, set[str]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Prepared:
    """One statement under a name of its own; `$1` and so on stand for the parameters, of `types`.

    Behind a pooler that changes the server's session between transactions nothing may be prepared:
    there Django wants DISABLE_SERVER_SIDE_CURSORS, and so does this.
    """

    name: str
    types: Sequence[str]
    text: str

    def value(self, *parameters: Any) -> Any:
        """The first column of the only row. Raises what a cursor of Django's would."""
        # Looked up once: `django.db.connection` would look it up at each of its uses.
        database = connections[DEFAULT_DB_ALIAS]
        database.ensure_connection()
        database.validate_no_broken_transaction()
        # Django's cursor takes as long as the driver's whole call. It is for those who watch: who
        # counts queries, or has wrapped their execution.
        is_watched = database.queries_logged or database.execute_wrappers
        open_cursor = database.cursor if is_watched else database.connection.cursor
        # As text each becomes a constant of its type; a number would be cast at every call.
        given = [None if value is None else str(value) for value in parameters]
        with database.wrap_database_errors, open_cursor() as cursor:
            if database.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
                cursor.execute(
                    self._plain, {f"p{at}": value for at, value in enumerate(given, start=1)}
                )
            else:
                if self.name not in _prepared.get(database.connection, ()):
                    self._prepare(database)
                cursor.execute(self._execute, given)
            return cursor.fetchone()[0]

    def _prepare(self, database: BaseDatabaseWrapper) -> None:
        # Not by Django's cursor: who counts the queries of a call does not mean this one.
        with database.connection.cursor() as cursor:
            cursor.execute(f"PREPARE {self.name} ({', '.join(self.types)}) AS {self.text}")
        # It outlives a rollback of the transaction that it was made in.
        _prepared.setdefault(database.connection, set()).add(self.name)

    @cached_property
    def _execute(self) -> str:
        return f"EXECUTE {self.name} ({', '.join(['%s'] * len(self.types))})"

    @cached_property
    def _plain(self) -> str:
        text = self.text
        # From the last one on: `$1` begins `$10`, too.
        for number, kind in reversed(list(enumerate(self.types, start=1))):
            text = text.replace(f"${number}", f"%(p{number})s::{kind}")
        return text
