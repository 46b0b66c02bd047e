import logging
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection
from django.utils import timezone
from prometheus_client import Metric, start_http_server
from prometheus_client.registry import REGISTRY, Collector

from wallet import metrics

logger = logging.getLogger(__name__)


class Figures(Collector):
    """Asked by each scrape, in a thread of its own."""

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: the database may not be there yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        try:
            yield from metrics.collect(now=timezone.now())
        finally:
            connection.close()


class Command(BaseCommand):
    help = "Serve /metrics to a Prometheus on this machine, until it is stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=9464)
        parser.add_argument(
            "--host", default="127.0.0.1", help="who may ask; there is no password (127.0.0.1)"
        )

    def handle(self, *args: Any, port: int, host: str, **options: Any) -> None:
        REGISTRY.register(Figures())
        server, thread = start_http_server(port, addr=host)
        self.stdout.write(f"Metrics are at http://{host}:{port}/metrics")
        self.stdout.flush()
        try:
            thread.join()
        except KeyboardInterrupt:
            server.shutdown()
