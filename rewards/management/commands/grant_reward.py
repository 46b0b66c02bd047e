from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.models import Gamer
from kgen.common.errors import Refusal
from kgen.common.management import arguments
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
        amount = arguments.whole(at_least=1)
        reference = arguments.text(at_most=128)
        parser.add_argument("--amount", required=True, type=amount, help="KCash, above 0")
        parser.add_argument("--reference", required=True, type=reference, help="names the reward")
        parser.add_argument(
            "--source",
            type=str.upper,
            choices=[Reward.Source.PROMOTION.value, Reward.Source.ACHIEVEMENT.value],
            default=Reward.Source.PROMOTION.value,
        )

    def handle(self, *args: Any, **options: Any) -> None:
        gamer = Gamer.objects.filter(
            game__client_id=options["client"], gamer_id=options["gamer"]
        ).first()
        if gamer is None:
            raise CommandError("There is no such gamer in that game.")

        try:
            reward = granting.grant(
                gamer=gamer,
                amount=options["amount"],
                source=Reward.Source(options["source"]),
                reference=options["reference"],
                now=timezone.now(),
            )
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(str(reward.uid))
