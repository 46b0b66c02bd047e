from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from accounts import clients
from accounts.models import HIGHEST_RATE
from kgen.common.management import arguments


class Command(BaseCommand):
    help = "Make a game and its API client; the last line is `CLIENT_ID CLIENT_SECRET`, once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        amount = arguments.whole(at_least=0)
        rate = arguments.whole(at_least=1, at_most=HIGHEST_RATE)
        parser.add_argument("--name", required=True, type=arguments.text(at_most=100))
        parser.add_argument("--min-withdraw", type=amount, help="KCash; 1000 where left out")
        parser.add_argument("--rate", type=rate, help="requests a second; 100 where left out")
        parser.add_argument("--gamer-rate", type=rate, help="events a second of one gamer; 10")
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
