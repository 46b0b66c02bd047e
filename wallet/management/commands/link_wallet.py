import logging
import re
from argparse import ArgumentParser
from typing import Any, Final

import phonenumbers
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts import phones
from accounts.models import Gamer, KgenAccount
from accounts.phones import Phone
from kgen.common.errors import Refusal
from wallet import custody, linking

logger = logging.getLogger(__name__)

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


class Command(BaseCommand):
    help = "Link a gamer to an outside address, in place of a KGeN wallet that we hold."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--client", required=True, metavar="CLIENT_ID")
        parser.add_argument("--gamer", required=True, metavar="GAMER_ID")
        parser.add_argument("--phone", required=True, help="with its country, as +12025550143")
        parser.add_argument("--address", required=True, help="0x and 40 hex digits")

    def handle(
        self, *args: Any, client: str, gamer: str, phone: str, address: str, **options: Any
    ) -> None:
        if not _ADDRESS.fullmatch(address):
            raise CommandError("An address is 0x and 40 hex digits.")
        found = Gamer.objects.filter(game__client_id=client, gamer_id=gamer).first()
        if found is None:
            raise CommandError(f"Client {client} has no gamer {gamer}.")
        now = timezone.now()
        try:
            parsed = _phone(phone)
            with transaction.atomic():
                account, _ = KgenAccount.objects.select_for_update().get_or_create(
                    phone_hash=parsed.phone_hash,
                    defaults={"phone": parsed.e164, "created_at": now},
                )
                custody.open_outside_wallet(account=account, address=address, now=now)
                linked = linking.link(gamer=found, phone=parsed, now=now)
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        logger.info(
            "Gamer %s was linked to the outside wallet %s from the command line",
            found.uid,
            linked.address,
        )
        self.stdout.write(linked.address)


def _phone(text: str) -> Phone:
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        raise CommandError("A phone is given with its country, as +12025550143.") from None
    return phones.parse(
        phone_number=str(number.national_number), country_code=f"+{number.country_code}"
    )
