from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts import personal_data
from accounts.management.commands.export_gamer import gamer_of
from kgen.common import audit
from kgen.common.errors import Refusal


class Command(BaseCommand):
    help = "Forgets who a gamer is. Money, its history and results stay, under a pseudonym."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--game", required=True, metavar="GAME_UID")
        parser.add_argument("--gamer-id", required=True)
        parser.add_argument("--by", required=True, help="who does it; kept in the history")
        parser.add_argument("--reason", required=True, help="kept in the history")
        parser.add_argument(
            "--forfeits", action="store_true", help="leave KCash behind that nobody can reach again"
        )

    def handle(
        self,
        *args: Any,
        game: str,
        gamer_id: str,
        by: str,
        reason: str,
        forfeits: bool,
        **options: Any,
    ) -> None:
        gamer = gamer_of(game, gamer_id)
        try:
            with transaction.atomic():
                erased = personal_data.erase(gamer=gamer, forfeits=forfeits, now=timezone.now())
                audit.record(
                    name="erase",
                    label="Erase",
                    by_name=by,
                    row=erased,
                    details={"forfeits": forfeits},
                    reason=reason,
                )
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(erased.gamer_id)
