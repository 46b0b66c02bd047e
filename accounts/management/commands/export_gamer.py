from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import personal_data
from accounts.models import Gamer
from kgen.common import audit


class Command(BaseCommand):
    help = "Prints all that is kept of a gamer, as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--game", required=True, metavar="GAME_UID")
        parser.add_argument("--gamer-id", required=True)
        parser.add_argument("--by", required=True, help="who asks; kept in the history")
        parser.add_argument("--reason", required=True, help="kept in the history")

    def handle(
        self, *args: Any, game: str, gamer_id: str, by: str, reason: str, **options: Any
    ) -> None:
        gamer = gamer_of(game, gamer_id)
        told = personal_data.export(gamer=gamer)
        audit.record(name="export", label="Export", by_name=by, row=gamer, reason=reason)
        self.stdout.write(told)


def gamer_of(game: str, gamer_id: str) -> Gamer:
    found = (
        Gamer.objects.select_related("game", "kgen_account")
        .filter(game__game_uid=game, gamer_id=gamer_id)
        .first()
    )
    if found is None:
        raise CommandError(f"The game {game} has no gamer {gamer_id}.")
    return found
