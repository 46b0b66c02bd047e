"""Throwaway PostgreSQL and Valkey for the test suite (`-p kgen.local.pytest_services`).

They are started before Django reads its settings, once for all xdist workers, and end with the run.
Neither a running platform nor a DATABASE_URL of the environment is ever touched: to test on other
servers give TEST_DATABASE_URL, TEST_MIGRATE_DATABASE_URL and TEST_REDIS_URL.
"""

import atexit
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from kgen.local.devchain import find_anvil
from kgen.local.postgres import Postgres
from kgen.local.processes import ServiceError, free_port, stop, wait_until
from kgen.local.servers import DataFolder
from kgen.local.valkey import Valkey

NAMES = ("DATABASE_URL", "MIGRATE_DATABASE_URL", "REDIS_URL")
# Set for the children of this run: xdist's workers, and commands that tests start.
RUNNING = "KGEN_TEST_SERVICES"
MEMORY = Path("/dev/shm")  # noqa: S108 - the folder below it has a name that nobody can guess
ENOUGH_MEMORY = 4 * 2**30

_folder: Path | None = None
_running: list[tuple[Postgres | Valkey, subprocess.Popen[bytes]]] = []


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(args: list[str]) -> Generator[None]:
    # A wrapper runs before every other plugin's hook, and pytest-django's loads the settings.
    if RUNNING not in os.environ:
        given = {name: os.environ.get(f"TEST_{name}") for name in NAMES}
        try:
            urls = {k: v for k, v in given.items() if v} if all(given.values()) else _start()
        except ServiceError as problem:
            raise pytest.UsageError(str(problem)) from problem
        # The chain of a running platform is as much out of bounds as its database.
        os.environ.update(urls, CHAIN_RPC_URL="", **{RUNNING: "1"})
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker:
        server, _, _ = os.environ["REDIS_URL"].rpartition("/")
        os.environ["REDIS_URL"] = f"{server}/{int(worker.removeprefix('gw')) + 1}"
    return (yield)


def _stop() -> None:
    while _running:
        service, process = _running.pop()
        stop(process, service.stop_signal, seconds=5)
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)


def _start() -> dict[str, str]:
    global _folder
    _remove_leftovers()
    atexit.register(_stop)  # not pytest's own end, which is skipped when the settings do not load
    _folder = Path(tempfile.mkdtemp(prefix=f"kgen-tests-{os.getpid()}-", dir=_quickest_folder()))
    _folder.chmod(0o711)
    data = DataFolder(_folder / "data")
    postgres = Postgres(data, port=free_port(), secret=_folder / "postgres.json", throwaway=True)
    valkey = Valkey(data, port=free_port(), secret=_folder / "valkey.password", throwaway=True)
    for name, service in (("PostgreSQL", postgres), ("Valkey", valkey)):
        log = _folder / f"{name}.log"
        service.prepare(log)
        process = service.start(log)
        _running.append((service, process))
        wait_until(service.is_ready, process=process, name=name, log=log)
    postgres.create_roles()
    with contextlib.suppress(ServiceError):
        find_anvil()  # fetched once, here, if it must be; the fixture says what is wrong
    return {**postgres.urls(), **valkey.urls()}


def _quickest_folder() -> Path:
    """Memory where there is plenty: there a database is cloned in a tenth of the time."""
    with contextlib.suppress(OSError):
        if os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free > ENOUGH_MEMORY:
            return MEMORY
    return Path(tempfile.gettempdir())


def _remove_leftovers() -> None:
    """Folders of test runs that were killed; their servers died with them."""
    for folder in _quickest_folder().glob("kgen-tests-*"):
        owner = folder.name.split("-")[2]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)
