"""The two database logins: the owner migrates, the application lives with what it is granted."""

from typing import Any

import environ
from django.conf import settings
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError, ProgrammingError
from psycopg2 import sql

EVERY_TABLE = "SELECT, INSERT, UPDATE, DELETE"


class AdministratorNeededError(Exception):
    """The owner's login may not do this itself; the message holds the statements that are missing."""

    def __init__(self, problem: str, *statements: str) -> None:
        self.statements = statements
        lines = "".join(f"\n    {statement}" for statement in statements)
        super().__init__(f"{problem}\nAn administrator of the server must run:{lines}")


def application_login() -> tuple[str, str]:
    """Name and password of DATABASE_URL, whatever login the connection has at the moment."""
    application = environ.Env().db("DATABASE_URL")
    return application["USER"], application["PASSWORD"]


def owner_settings(application: dict[str, Any]) -> dict[str, Any]:
    """The application's connection settings with the owner's login; the database stays its own."""
    owner = environ.Env.db_url_config(settings.MIGRATE_DATABASE_URL)
    return {**application, **{key: owner[key] for key in ("USER", "PASSWORD", "HOST", "PORT")}}


def check_owner(connection: BaseDatabaseWrapper) -> None:
    """Raise `AdministratorNeededError` unless this login can make tables, schemas and grants."""
    application, _ = application_login()
    owner, database = connection.settings_dict["USER"], connection.settings_dict["NAME"]
    if owner == application:
        raise AdministratorNeededError(
            f'DATABASE_URL and MIGRATE_DATABASE_URL name the same login, "{owner}". The application '
            "must not own its tables, or it could rewrite the ledger.",
            *missing_logins(owner=f"{owner}_owner", application=application, database=database),
        )
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT has_database_privilege(current_database(), 'CREATE')"
                " AND has_schema_privilege('public', 'CREATE')"
            )
            may_create = cursor.fetchone()[0]
    except OperationalError as error:
        raise AdministratorNeededError(
            f"Cannot connect with MIGRATE_DATABASE_URL: {error}".strip(),
            *missing_logins(owner=owner, application=application, database=database),
        ) from error
    if not may_create:
        raise AdministratorNeededError(
            f'The login "{owner}" may not create tables and schemas in "{database}".',
            f'ALTER DATABASE "{database}" OWNER TO "{owner}";',
        )


def create_application_login(connection: BaseDatabaseWrapper) -> None:
    """Make the login named in DATABASE_URL unless it exists."""
    name, password = application_login()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
        if cursor.fetchone():
            return
        try:
            cursor.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(name), sql.Literal(password)
                )
            )
        except ProgrammingError as error:
            raise AdministratorNeededError(
                f'The login "{name}" of DATABASE_URL does not exist, and the owner may not make it.',
                f"CREATE ROLE \"{name}\" LOGIN PASSWORD '<the password in DATABASE_URL>';",
            ) from error


def grant_to_application(connection: BaseDatabaseWrapper) -> None:
    """Give the application's login exactly what it needs, and take back whatever else it had.

    TRUNCATE is granted nowhere. What settings.APPLICATION_GRANTS says of a table replaces the
    usual rights. A partition is reached through its table alone.
    """
    name, _ = application_login()
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:

        def run(statement: str, *names: str, rights: str = "") -> None:
            cursor.execute(
                sql.SQL(statement).format(
                    *map(sql.Identifier, names), role=sql.Identifier(name), rights=sql.SQL(rights)
                )
            )

        run("GRANT CONNECT ON DATABASE {} TO {role}", connection.settings_dict["NAME"])
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname IN ('public', 'ledger')")
        for (schema,) in cursor.fetchall():
            run("GRANT USAGE ON SCHEMA {} TO {role}", schema)
            run("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {role}", schema)
            if schema == "ledger":
                run("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {role}", schema)
                run("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {} TO {role}", schema)
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition"
        )
        for (table,) in cursor.fetchall():
            rights = settings.APPLICATION_GRANTS.get(table, EVERY_TABLE)
            run("GRANT {rights} ON TABLE public.{} TO {role}", table, rights=rights)
        run("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")


def missing_logins(*, owner: str, application: str, database: str) -> list[str]:
    """What to run on a server that has nothing yet; `migrate` then does the rest."""
    return [
        f"CREATE ROLE \"{owner}\" LOGIN PASSWORD '<the password in MIGRATE_DATABASE_URL>';",
        f"CREATE ROLE \"{application}\" LOGIN PASSWORD '<the password in DATABASE_URL>';",
        f'CREATE DATABASE "{database}" OWNER "{owner}";',
    ]
