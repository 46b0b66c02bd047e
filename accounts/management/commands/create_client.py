from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from accounts import clients


class Command(BaseCommand):
    help = "Make a game and its API client; the last line is `CLIENT_ID CLIENT_SECRET`, once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--min-withdraw", type=int, help="KCash; 1000 where left out")
        parser.add_argument("--rate", type=int, help="requests a second; 100 where left out")
        parser.add_argument("--gamer-rate", type=int, help="events a second of one gamer; 10")
        parser.add_argument("--sandbox", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        client = clients.create_game(
            name=options["name"],
            min_withdrawal=options["min_withdraw"],
            rate_limit=options["rate"],
            gamer_event_rate=options["gamer_rate"],
            is_sandbox=options["sandbox"],
            now=timezone.now(),
        )
        self.stdout.write(f"{client.game.client_id} {client.secret}")
