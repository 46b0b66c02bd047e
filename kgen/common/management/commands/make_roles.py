"""Make the staff groups, or bring their permissions up to date. Part of every deployment."""

from typing import Any

from django.core.management.base import BaseCommand

from kgen.common.admin import make_roles


class Command(BaseCommand):
    help = "Makes the staff groups Operators, Support, Finance and Admins with exactly their permissions."

    def handle(self, *args: Any, **options: Any) -> None:
        for role, permissions in make_roles().items():
            self.stdout.write(f"{role}: {', '.join(permissions)}")
