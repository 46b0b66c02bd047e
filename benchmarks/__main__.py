"""Run a benchmark on a PostgreSQL server of its own: python -m benchmarks ledger_history [options].

The server is as durable as in production (it waits for the disk) and is thrown away afterwards.
"""

import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import django

from benchmarks.reports import Report
from kgen.local.postgres import Postgres
from kgen.local.processes import free_port, stop, wait_until
from kgen.local.servers import DataFolder
from kgen.local.valkey import Valkey

BENCHMARKS = (
    "api",
    "leaderboard",
    "ledger_history",
    "ledger_posting",
    "overload",
    "settlement",
    "streaming",
)
WITH_VALKEY = ("api", "leaderboard", "overload", "streaming")


def main() -> int:
    name, *options = sys.argv[1:] or [""]
    if name not in BENCHMARKS:
        print("Which benchmark? One of:", *BENCHMARKS, file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="kgen-benchmark-", dir="/var/tmp"))
    folder.chmod(0o711)
    try:
        return _run(name, options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(name: str, options: list[str], folder: Path) -> int:
    data = DataFolder(folder / "data")
    server = Postgres(data, port=free_port(), secret=folder / "postgres.json", throwaway=False)
    valkey = Valkey(data, port=free_port(), secret=folder / "valkey.password", throwaway=True)
    services: list[Postgres | Valkey] = [server, valkey] if name in WITH_VALKEY else [server]
    running = []
    try:
        for service in services:
            log = folder / f"{service.name}.log"
            service.prepare(log)
            running.append((service, service.start(log)))
            wait_until(service.is_ready, process=running[-1][1], name=service.name, log=log)
        server.create_roles()
        # Where Valkey has no part, and for a chain, which is started by who needs it, nothing
        # listens.
        os.environ.update(
            {"REDIS_URL": "redis://127.0.0.1:1/0"},
            **server.urls(),
            **(valkey.urls() if name in WITH_VALKEY else {}),
            CHAIN_RPC_URL="",
            DJANGO_SETTINGS_MODULE="kgen.settings_test",
            PGBENCH=str(data.postgres_binaries() / "pgbench"),
        )
        django.setup()
        # Only now that the settings are there can a benchmark import the apps.
        report: Report = importlib.import_module(f"benchmarks.{name}").measure(options)
    finally:
        for service, process in reversed(running):
            stop(process, service.stop_signal, seconds=60)
    report.save(name)
    print(report)
    return 0 if report.all_goals_met else 1


if __name__ == "__main__":
    sys.exit(main())
