from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from kgen.common.errors import Refusal
from tournaments import cancelling, settling
from tournaments.models import Tournament


class Command(BaseCommand):
    help = (
        "Settle a tournament whose time is over, or refund it if nobody scored; the last line is "
        "COMPLETED or CANCELLED."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("uid", type=UUID, help="of the tournament")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        try:
            tournament = settling.settle(uid=options["uid"], now=now)
        except settling.NotOver as refusal:
            closes_at = Tournament.objects.get(uid=options["uid"]).closes_at
            raise CommandError(
                f"{refusal} It closes at {closes_at:%Y-%m-%d %H:%M:%S} UTC."
            ) from refusal
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        if tournament.phase == Tournament.Phase.CANCELLED:
            refunded = cancelling.refund_stakes(uid=tournament.uid, now=now)
            self.stdout.write(f"{refunded} stakes given back")
        self.stdout.write(tournament.phase)
