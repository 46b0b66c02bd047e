"""Let the first Admin into the console, or back into it."""

from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError
from django.core.management.base import CommandParser as ArgumentParser
from django.db import transaction

from accounts import staff
from kgen.common import audit
from kgen.common.admin import ADMINS, make_roles


class Command(BaseCommand):
    help = (
        "Makes an Admin of the console, who makes all other staff there, or hands an Admin who is "
        "locked out a new password, authenticator and backup codes. They are printed this once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--reason", required=True, help="kept in the history")

    @transaction.atomic
    def handle(self, *args: Any, username: str, reason: str, **options: Any) -> None:
        if not reason.strip():
            raise CommandError("Give a reason.")
        make_roles()
        user, is_new = User.objects.get_or_create(username=username, defaults={"is_staff": True})
        if not is_new and not user.groups.filter(name=ADMINS).exists():
            raise CommandError(
                f"{username} is there and no Admin: an Admin sets roles, in the console."
            )
        before = {} if is_new else staff.state_of(user)
        staff.set_roles(user=user, roles=[Group.objects.get(name=ADMINS)])
        staff.set_active(user=user, is_active=True)
        password = staff.hand_out_password(user=user)
        seed = staff.make_authenticator(user=user)
        codes = staff.make_backup_codes(user=user)
        audit.record(
            name="make_admin",
            label="Made an Admin from the command line",
            by_name="command line",
            row=user,
            before=before,
            after=staff.state_of(user),
            reason=reason,
        )
        self.stdout.write(
            f"Name           {username}\n"
            f"Password       {password}\n"
            f"Authenticator  {seed.base32}\n"
            f"               {seed.uri}\n"
            f"Backup codes   {' '.join(codes)}"
        )
