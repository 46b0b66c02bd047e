import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts.models import Game
from kgen.common.errors import Refusal
from kgen.common.management import arguments
from tournaments import lifecycle
from tournaments.lifecycle import Schedule
from tournaments.models import MOST_SEATS

_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    help = "Create a tournament and publish it at once; the last line is its uid."

    def add_arguments(self, parser: ArgumentParser) -> None:
        moment = "ISO 8601, or after the command's start: +20s, +5m, +1h, +2d"
        parser.add_argument("--client", required=True, help="client id of the game")
        parser.add_argument("--title", required=True, type=arguments.text(at_most=200))
        parser.add_argument(
            "--buy-in", required=True, type=arguments.whole(at_least=0), help="entry fee in KCash"
        )
        parser.add_argument("--lobby", required=True, type=_moment, help=moment)
        parser.add_argument("--starts", required=True, type=_moment, help=moment)
        parser.add_argument("--locks", required=True, type=_moment, help=moment)
        parser.add_argument("--ends", required=True, type=_moment, help=moment)
        parser.add_argument(
            "--grace",
            type=_duration,
            default=settings.END_GRACE,
            help="how long after the end scores are taken, like 2s",
        )
        seats = arguments.whole(at_least=1, at_most=MOST_SEATS)
        parser.add_argument("--size", type=seats, help="seats in all; no limit where left out")
        parser.add_argument("--min-entrants", type=seats, default=2)

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        game = Game.objects.filter(client_id=options["client"]).first()
        if game is None:
            raise CommandError(f"There is no client {options['client']}.")

        schedule = Schedule(
            schedules_at=now,
            lobby_at=_after(now, options["lobby"]),
            starts_at=_after(now, options["starts"]),
            locks_at=_after(now, options["locks"]),
            ends_at=_after(now, options["ends"]),
            grace=options["grace"],
        )
        try:
            with transaction.atomic():
                tournament = lifecycle.create(
                    game=game,
                    title=options["title"],
                    entry_fee=options["buy_in"],
                    schedule=schedule,
                    tournament_size=options["size"],
                    min_registration_start_limit=options["min_entrants"],
                    now=now,
                )
                lifecycle.publish(uid=tournament.uid, now=now)
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(str(tournament.uid))


def _after(start: datetime, moment: datetime | timedelta) -> datetime:
    if not isinstance(moment, timedelta):
        return moment
    try:
        return start + moment
    except OverflowError:
        raise CommandError("That time lies beyond the calendar.") from None


def _moment(text: str) -> datetime | timedelta:
    if text.startswith("+"):
        return _duration(text[1:])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is neither a time like +20s nor ISO 8601") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _duration(text: str) -> timedelta:
    parts = _DURATION.fullmatch(text)
    if parts is None:
        raise ArgumentTypeError(f"{text!r} is no duration like 20s, 5m, 1h or 2d")
    number, unit = parts.groups()
    return timedelta(**{_UNITS[unit]: int(number)})
