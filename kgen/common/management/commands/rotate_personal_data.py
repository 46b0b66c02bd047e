from typing import Any

from django.core.management.base import BaseCommand, CommandError

from kgen.common import rotating
from kgen.common.encryption import EncryptionError


class Command(BaseCommand):
    help = (
        "Encrypts phones and e-mails under the first of PERSONAL_DATA_KEYS. Afterwards the other "
        "keys may go, once no backup needs them. Can be broken off and begun again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for column in rotating.rotate():
                self.stdout.write(f"{column.place}: {column.values}")
        except EncryptionError as error:
            raise CommandError(str(error)) from error
