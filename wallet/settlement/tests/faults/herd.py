"""The test's side of `worker`: worker processes are ordered here, and die as ordered."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kgen.local.processes import PROJECT, die_with_parent, end_group, last_line

STARTED_WITHIN = 60.0

_PROGRAM = (
    "import django; django.setup()\nfrom wallet.settlement.tests.faults.worker import main; main()"
)


class Worker:
    """One worker process; `point` is where it killed itself, `status` how it ended."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.point: str | None = None
        self.status: int | None = None
        self.was_stopped = False

    @property
    def is_alive(self) -> bool:
        return self.status is None

    def kill(self) -> None:
        """SIGKILL from outside, wherever it may be."""
        if self.pid is not None and self.is_alive:
            # Its parent reaps it only after it is killed, so the number is still its own or nobody's.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Herd:
    def __init__(self, log: Path) -> None:
        self._log = log
        self._workers: dict[int, Worker] = {}
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-W", "ignore", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=PROJECT,
                env={**os.environ, "DJANGO_SETTINGS_MODULE": "kgen.settings_test"},
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL),
            )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def start(self, **order: Any) -> Worker:
        worker = Worker()
        number = len(self._workers)
        self._workers[number] = worker
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({**order, "worker": number}).encode() + b"\n")
        self._process.stdin.flush()
        self.wait(lambda: worker.pid is not None, "a worker to start", seconds=STARTED_WITHIN)
        return worker

    def stop(self, *workers: Worker) -> None:
        """There is no other way to stop a worker than to kill it."""
        for worker in workers:
            worker.was_stopped = True
            worker.kill()
        for worker in workers:
            self.wait_for_end(worker)

    def wait_for_end(self, worker: Worker, *, seconds: float = 20) -> None:
        self.wait(lambda: not worker.is_alive, "a worker to end", seconds=seconds)
        # Whatever ends a worker but SIGKILL is a fault of ours.
        assert worker.status == -signal.SIGKILL, self.last_words()

    def wait(self, until: Callable[[], bool], what: str, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert self._process.poll() is None, f"The herd has died: {self.last_words()}"
            assert time.monotonic() < deadline, f"Waited in vain for {what}: {self.last_words()}"
            time.sleep(0.005)

    def last_words(self) -> str:
        return f"{last_line(self._log)} (in {self._log})"

    def close(self) -> None:
        end_group(self._process)
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            worker = self._workers[message.pop("worker")]
            for name, value in message.items():
                setattr(worker, name, value)
