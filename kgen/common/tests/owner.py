from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from django.db import connection

from kgen.common.database_roles import owner_settings


@contextmanager
def owner_of_this_database() -> Iterator[Any]:
    """A cursor with the login that owns the tables; each statement is committed by itself."""
    login = owner_settings(connection.settings_dict)
    opened = psycopg2.connect(
        user=login["USER"],
        password=login["PASSWORD"],
        host=login["HOST"],
        port=login["PORT"],
        dbname=login["NAME"],
    )
    opened.autocommit = True
    try:
        with opened.cursor() as cursor:
            yield cursor
    finally:
        opened.close()
