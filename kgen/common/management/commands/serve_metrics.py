import logging
import os
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.utils import timezone
from django.utils.module_loading import import_string
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from kgen.common import logs

logger = logging.getLogger(__name__)


class Figures(Collector):
    """What each app tells; asked by each scrape, in a thread of its own."""

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: the database may not be there yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        try:
            for name in settings.METRICS:
                yield from import_string(name)(now=timezone.now())
        except DatabaseError:
            logger.exception("The database does not answer: its figures are left out")
        finally:
            connection.close()


class Traffic(Collector):
    """What the web processes have written of their requests, those that are over too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        for file in self.folder.glob("gauge_live*_*.db"):
            pid = int(file.stem.rpartition("_")[2])
            if not _is_alive(pid):
                # What it had under way when it was killed is under way no more.
                mark_process_dead(pid, str(self.folder))  # type: ignore[no-untyped-call]
        collector: Any = MultiProcessCollector
        yield from collector(CollectorRegistry(), str(self.folder)).collect()


class Command(BaseCommand):
    help = "Serve /metrics to a Prometheus on this machine, until it is stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=9464)
        parser.add_argument(
            "--host", default="127.0.0.1", help="who may ask; there is no password (127.0.0.1)"
        )

    def handle(self, *args: Any, port: int, host: str, **options: Any) -> None:
        logs.take_over()
        registry = CollectorRegistry()
        registry.register(Figures())
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if folder:
            registry.register(Traffic(Path(folder)))
        server, thread = start_http_server(port, addr=host, registry=registry)
        logger.info("Metrics are at http://%s:%s/metrics", host, port)
        try:
            thread.join()
        except KeyboardInterrupt:
            server.shutdown()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True
