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

BENCHMARKS = ("ledger_history", "ledger_posting", "settlement")


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
    log = folder / "postgres.log"
    server.prepare(log)
    process = server.start(log)
    try:
        wait_until(server.is_ready, process=process, name="PostgreSQL", log=log)
        server.create_roles()
        # Valkey has no part in this, and who needs a chain starts one: nothing listens there.
        os.environ.update(
            server.urls(),
            REDIS_URL="redis://127.0.0.1:1/0",
            CHAIN_RPC_URL="",
            DJANGO_SETTINGS_MODULE="kgen.settings_test",
            PGBENCH=str(data.postgres_binaries() / "pgbench"),
        )
        django.setup()
        # Only now that the settings are there can a benchmark import the apps.
        report: Report = importlib.import_module(f"benchmarks.{name}").measure(options)
    finally:
        stop(process, server.stop_signal, seconds=60)
    report.save(name)
    print(report)
    return 0 if report.all_goals_met else 1


if __name__ == "__main__":
    sys.exit(main())
