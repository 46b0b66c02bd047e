from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from tournaments.api import streaming


class Command(BaseCommand):
    help = "Send boards as they change to those who watch them, until it is stopped (STREAM_URL)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=9465)

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        streaming.serve(host=host, port=port)
