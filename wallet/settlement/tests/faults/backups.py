"""A test's own database, copied and put back, as a platform is restored from a backup."""

from typing import Any

import psycopg2
from django.db import connection
from psycopg2 import sql

from kgen.common.database_roles import owner_settings


def back_up() -> str:
    """A copy of the database as it is now; nobody else may be connected."""
    database = _name()
    backup = f"{database}_backup"
    connection.close()
    _as_owner("CREATE DATABASE {} TEMPLATE {}", backup, database)
    return backup


def restore(backup: str) -> None:
    """Put the copy in the place of the database. All that was committed since is gone."""
    database = _name()
    connection.close()
    _as_owner("DROP DATABASE {} WITH (FORCE)", database)
    _as_owner("ALTER DATABASE {} RENAME TO {}", backup, database)


def _name() -> str:
    name = str(connection.settings_dict["NAME"])
    # Only what a test has made for itself is ever dropped.
    assert name.startswith("test_"), name
    return name


def _as_owner(statement: str, *names: str) -> None:
    owner: dict[str, Any] = owner_settings(connection.settings_dict)
    maintenance = psycopg2.connect(
        user=owner["USER"],
        password=owner["PASSWORD"],
        host=owner["HOST"],
        port=owner["PORT"],
        dbname="postgres",
    )
    try:
        maintenance.autocommit = True
        with maintenance.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
    finally:
        maintenance.close()
