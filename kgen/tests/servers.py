"""The web server as `make run` starts it, on the test's own database."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from kgen.local.processes import LOOPBACK, end_group, free_port, start, stop, wait_until
from kgen.local.supervisor import WEB_OPTIONS


class Web:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / "web.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, **changed: str) -> None:
        """Serve; `options` are granian's, and win over those of `make run`."""
        login = connection.settings_dict
        database = (
            f"postgres://{quote(login['USER'])}:{quote(login['PASSWORD'])}"
            f"@{login['HOST']}:{login['PORT']}/{login['NAME']}"
        )
        words = [sys.executable, "-m", "granian", "kgen.local.wsgi:application", *WEB_OPTIONS]
        self.process = start(
            [*words, f"--host={LOOPBACK}", f"--port={self.port}", *options],
            log=self.log,
            environment={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "kgen.settings_test",
                "DATABASE_URL": database,
                "REDIS_URL": settings.REDIS_URL,
                **changed,
            },
        )
        wait_until(self.is_ready, process=self.process, name="web", log=self.log)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/healthz", timeout=5):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process, signal.SIGTERM, seconds=5)
            end_group(self.process)
