from typing import Any

import pytest
from django.conf import settings as project
from django.core.management import CommandError, call_command
from django.db import connection


@pytest.mark.django_db
def test_every_restriction_names_a_table() -> None:
    assert set(project.APPLICATION_GRANTS) <= set(connection.introspection.table_names())


@pytest.mark.django_db
def test_nothing_can_be_truncated_and_the_ledger_is_only_read() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_schema, privilege_type FROM information_schema.table_privileges"
            " WHERE grantee = current_user AND (privilege_type IN ('TRUNCATE', 'TRIGGER')"
            " OR table_schema = 'ledger' AND privilege_type <> 'SELECT')"
        )

        assert cursor.fetchall() == []


@pytest.mark.django_db
def test_the_audit_trail_is_append_only() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT privilege_type FROM information_schema.table_privileges"
            " WHERE grantee = current_user AND table_name = 'common_staffact' ORDER BY 1"
        )

        assert cursor.fetchall() == [("INSERT",), ("SELECT",)]


def test_migrate_without_an_owner_says_what_an_administrator_must_run(
    committed_database: None, settings: Any
) -> None:
    settings.MIGRATE_DATABASE_URL = ""

    with pytest.raises(CommandError) as refusal:
        call_command("migrate")

    assert str(refusal.value).splitlines() == [
        "MIGRATE_DATABASE_URL is not set: the login that owns the tables.",
        "An administrator of the server must run:",
        "    CREATE ROLE \"kgen_owner\" LOGIN PASSWORD '<the password in MIGRATE_DATABASE_URL>';",
        "    CREATE ROLE \"kgen_app\" LOGIN PASSWORD '<the password in DATABASE_URL>';",
        f'    CREATE DATABASE "{connection.settings_dict["NAME"]}" OWNER "kgen_owner";',
    ]


def test_migrate_again_changes_nothing(committed_database: None) -> None:
    call_command("migrate", verbosity=0)

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, has_table_privilege('auth_group', 'UPDATE')")
        assert cursor.fetchone() == ("kgen_app", True)
