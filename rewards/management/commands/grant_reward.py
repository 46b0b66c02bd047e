from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.models import Gamer
from kgen.common.errors import Refusal
from kgen.common.money import LARGEST_AMOUNT_IN_JSON
from rewards import granting
from rewards.models import Reward


class Command(BaseCommand):
    help = (
        "Promise a gamer a reward to claim; the last line is its id. The same reference again "
        "grants nothing and prints the same id."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--client", required=True, help="client id of the game")
        parser.add_argument("--gamer", required=True, help="the game's own gamer_id")
        parser.add_argument("--amount", required=True, type=int, help="KCash, above 0")
        parser.add_argument("--reference", required=True, help="names the reward, at most 128 long")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 < options["amount"] <= LARGEST_AMOUNT_IN_JSON:
            raise CommandError("The amount must be above 0.")
        if not 0 < len(options["reference"]) <= 128:
            raise CommandError("The reference must be 1 to 128 characters long.")
        gamer = Gamer.objects.filter(
            game__client_id=options["client"], gamer_id=options["gamer"]
        ).first()
        if gamer is None:
            raise CommandError("There is no such gamer in that game.")

        try:
            reward = granting.grant(
                gamer=gamer,
                amount=options["amount"],
                source=Reward.Source.PROMOTION,
                reference=options["reference"],
                now=timezone.now(),
            )
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(str(reward.uid))
