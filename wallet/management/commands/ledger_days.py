from argparse import ArgumentParser, FileType
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError

from wallet import closing


class Command(BaseCommand):
    help = (
        "Print day, number of transfers and SHA-256 of each closed day, to be kept outside the "
        "database; with --compare, hold such a file against the ledger. Exit code 1 if they differ."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--compare",
            type=FileType(),
            metavar="FILE",
            help="printed earlier; - for standard input",
        )

    def handle(self, *args: Any, compare: TextIO | None, **options: Any) -> None:
        if compare is None:
            for line in closing.lines():
                self.stdout.write(line)
            return
        with compare:
            different = closing.differences(compare)
        for line in different:
            self.stdout.write(f"The ledger does not say: {line}")
        if different:
            raise CommandError(f"{len(different)} days are not what they were.")
        self.stdout.write("Every day is as it was.")
