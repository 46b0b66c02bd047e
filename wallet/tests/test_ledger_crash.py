"""PostgreSQL is killed under load, again and again: what it acknowledged is there when it is back."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from uuid import UUID

import psycopg2
import pytest
from django.core.management import call_command
from django.db import InterfaceError, OperationalError, connection, transaction

from kgen.common.identifiers import uuid7
from kgen.local.postgres import Postgres
from kgen.local.processes import end_group, free_port, stop, wait_until
from kgen.local.servers import DataFolder
from wallet import ledger
from wallet.models import Transfer
from wallet.tests.factories import WalletFactory
from wallet.tests.soundness import assert_sound

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

CLIENTS, KILLS, BETWEEN_KILLS = 8, 5, 2000


class Server:
    """A PostgreSQL of the test's own, as durable as in production."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "postgres.log"
        data = DataFolder(folder / "data")
        self.postgres = Postgres(
            data, port=free_port(), secret=folder / "postgres.json", throwaway=False
        )
        self.postgres.prepare(self.log)
        self.start()
        self.postgres.create_roles()

    def start(self) -> None:
        self.process = self.postgres.start(self.log)
        wait_until(self.postgres.is_ready, process=self.process, name="PostgreSQL", log=self.log)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        end_group(self.process)


@pytest.fixture
def server(tmp_path_factory, django_db_setup, django_db_blocker, settings) -> Iterator[Server]:
    """The platform's database on a server that the test may kill."""
    folder = tmp_path_factory.mktemp("crash")
    server = Server(folder)
    before = dict(connection.settings_dict)
    urls = server.postgres.urls()
    login = psycopg2.extensions.parse_dsn(urls["DATABASE_URL"])
    settings.MIGRATE_DATABASE_URL = urls["MIGRATE_DATABASE_URL"]
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as environment:
        environment.setenv("DATABASE_URL", urls["DATABASE_URL"])
        connection.close()
        connection.settings_dict.update(
            NAME=login["dbname"],
            USER=login["user"],
            PASSWORD=login["password"],
            HOST=login["host"],
            PORT=login["port"],
        )
        try:
            call_command("migrate", verbosity=0)
            yield server
        finally:
            connection.close()
            connection.settings_dict.update(before)
            stop(server.process, server.postgres.stop_signal, seconds=10)


def test_no_acknowledged_posting_is_lost_when_the_server_is_killed(server):
    with transaction.atomic():
        wallets = [WalletFactory.create(bonus=10**9) for _ in range(CLIENTS)]
        accounts = [ledger.accounts_of(wallet.pk) for wallet in wallets]
        ledger.open_accounts(ledger.Owner.TOURNAMENT, 1)
        pool = ledger.account_of(ledger.Owner.TOURNAMENT, 1, ledger.Bucket.POOL)
    acknowledged: set[UUID] = set()

    for _ in range(KILLS):
        killed_after = len(acknowledged) + BETWEEN_KILLS
        running = []
        with ThreadPoolExecutor(CLIENTS) as threads:
            for client in range(CLIENTS):
                legs = [
                    (accounts[client]["bonus"], accounts[client]["earned"]),
                    (accounts[client]["earned"], pool),
                    (pool, accounts[client - 1]["bonus"]),
                ]
                running.append(threads.submit(post_until_killed, legs, acknowledged))
            while len(acknowledged) < killed_after and not any(map(Future.done, running)):
                time.sleep(0.01)
            server.kill()
        assert [client.exception() for client in running] == [None] * CLIENTS
        connection.close()
        server.start()

    assert len(acknowledged) >= KILLS * BETWEEN_KILLS
    kept = set(Transfer.objects.values_list("posting_id", flat=True))
    assert acknowledged - kept == set()
    assert_sound()


def post_until_killed(moves: list[tuple[int, int]], acknowledged: set[UUID]) -> None:
    """Post one movement after another, and note each id once its commit has been answered."""
    try:
        for debit, credit in cycle(moves):
            posting_id = uuid7()
            leg = ledger.Leg(debit, credit, 1, ledger.Kind.GRANT)
            with transaction.atomic():
                ledger.post([leg], posting_id=posting_id)
            acknowledged.add(posting_id)
    except (OperationalError, InterfaceError):
        pass  # the server is gone
    finally:
        connection.close()
