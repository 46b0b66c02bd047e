"""`migrate` as the owner of the tables, and the application's rights to them."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import connections

from kgen.common import database_roles


class Command(DjangoMigrate):
    help = (
        "Updates the schema as the login of MIGRATE_DATABASE_URL, makes the application's login "
        "(DATABASE_URL) if it can, and grants it what it needs."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        application = dict(connection.settings_dict)
        try:
            if not settings.MIGRATE_DATABASE_URL:
                raise database_roles.AdministratorNeededError(
                    "MIGRATE_DATABASE_URL is not set: the login that owns the tables.",
                    *database_roles.missing_logins(
                        owner="kgen_owner",
                        application=application["USER"],
                        database=application["NAME"],
                    ),
                )
            connection.close()
            connection.settings_dict.update(database_roles.owner_settings(application))
            database_roles.check_owner(connection)
            database_roles.create_application_login(connection)
            super().handle(*args, **options)
            database_roles.grant_to_application(connection)
        except database_roles.AdministratorNeededError as error:
            raise CommandError(str(error)) from error
        finally:
            connection.close()
            connection.settings_dict.update(application)
