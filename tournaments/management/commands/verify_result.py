"""`manage.py verify_result UID`: work the result of a settled tournament out again."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from kgen.common.errors import Refusal
from kgen.common.identifiers import uuid_of
from tournaments import results
from tournaments.lifecycle import TournamentNotFound
from tournaments.models import ResultRecord


class Command(BaseCommand):
    help = "Recompute a settled tournament from its result record, its rows and the ledger."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("uid", help="the tournament's id")

    def handle(self, *args: Any, **options: Any) -> None:
        uid = uuid_of(options["uid"])
        if uid is None:
            raise CommandError(TournamentNotFound.message)
        try:
            differences = results.verify(uid=uid)
        except Refusal as refusal:
            raise CommandError(refusal.message) from refusal
        for difference in differences:
            self.stderr.write(f"{difference}")
        if differences:
            raise CommandError(f"Differences: {len(differences)}.")
        record = ResultRecord.objects.get(tournament__uid=uid)
        self.stdout.write(f"Right: {record.tournament}, SHA-256 {record.sha256}")
