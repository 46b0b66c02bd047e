"""Fixtures for every app: the database as the application's login sees it, Valkey, the chain.

- `db` (or the mark `django_db`): a test in a transaction that is rolled back.
- `committed_database`: a database of its own, for tests that commit: threads, crashes, races.
- `anvil`: this worker's development chain; `dev_chain`: the same, put back after the test.
"""

import ipaddress
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
import redis
from django.conf import settings
from django.db import connection
from django.test.utils import setup_databases, teardown_databases
from psycopg2 import sql

from kgen.common.api import rate_limits
from kgen.common.database_roles import owner_settings
from kgen.local.devchain import Anvil, DevChain
from kgen.local.processes import free_port, stop, wait_until
from tournaments import usernames


def _refuse_other_hosts(event: str, arguments: tuple[Any, ...]) -> None:
    """Nothing in the suite may leave this machine."""
    if event != "socket.connect":
        return
    address = arguments[1]
    if not isinstance(address, tuple):
        return  # a Unix socket
    host = str(address[0])
    try:
        is_here = ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if not is_here:
        raise PermissionError(f"Tests may not connect to {host}.")


sys.addaudithook(_refuse_other_hosts)


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: Any,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """Migrate as the owner; from then on every test connects as the application."""
    application = _login(connection.settings_dict)
    owner = _login(owner_settings(connection.settings_dict))
    with django_db_blocker.unblock():
        connection.settings_dict.update(owner)
        databases = setup_databases(verbosity=0, interactive=False)
        _switch_to(application)
    yield
    with django_db_blocker.unblock():
        _switch_to(owner)
        teardown_databases(databases, verbosity=0)


@pytest.fixture(scope="session")
def database_template(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """A copy of the migrated database that nobody ever connects to, so that it can be cloned."""
    migrated = connection.settings_dict["NAME"]
    template = f"{migrated}_template"
    with django_db_blocker.unblock():
        connection.close()
    _as_owner("DROP DATABASE IF EXISTS {0}", template)
    _as_owner("CREATE DATABASE {0} TEMPLATE {1}", template, migrated)
    yield template
    _as_owner("DROP DATABASE {0}", template)


@pytest.fixture
def committed_database(database_template: str, django_db_blocker: Any) -> Iterator[None]:
    """A migrated database of the test's own, where commits are real and threads see each other.

    Dropped afterwards: the application's login may not truncate, so nothing could be flushed.
    Not to be combined with `db`.
    """
    migrated = connection.settings_dict["NAME"]
    clone = f"{migrated}_{uuid.uuid4().hex[:12]}"
    # Copied as files, and not by way of the log.
    _as_owner("CREATE DATABASE {0} TEMPLATE {1} STRATEGY = FILE_COPY", clone, database_template)
    with django_db_blocker.unblock():
        _switch_to({"NAME": clone})
        try:
            yield
        finally:
            _switch_to({"NAME": migrated})
            _as_owner("DROP DATABASE {0} WITH (FORCE)", clone)


@pytest.fixture(autouse=True)
def _empty_valkey() -> None:
    """Limits, locks and names of one test are not the next one's."""
    usernames.forget()
    with redis.Redis.from_url(settings.REDIS_URL) as valkey:
        valkey.flushdb()


@pytest.fixture
def valkey_away(settings: Any) -> Iterator[None]:
    """Nobody listens where Valkey should be."""
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    rate_limits.connect.cache_clear()
    yield
    rate_limits.connect.cache_clear()


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevChain]:
    """This worker's own development chain, started by the first test that asks for it."""
    folder = tmp_path_factory.mktemp("anvil")
    server, log = Anvil(port=free_port(), folder=folder), folder / "anvil.log"
    process = server.start(log)
    try:
        wait_until(server.is_ready, process=process, name="anvil", log=log)
        yield server.chain
    finally:
        stop(process, server.stop_signal, seconds=5)


@pytest.fixture
def dev_chain(anvil: DevChain) -> Iterator[DevChain]:
    """The chain, put back to how it was when the test ends."""
    before = anvil.snapshot()
    yield anvil
    anvil.revert(before)


def _login(settings_dict: dict[str, Any]) -> dict[str, Any]:
    return {key: settings_dict[key] for key in ("USER", "PASSWORD", "HOST", "PORT")}


def _switch_to(changed: dict[str, Any]) -> None:
    """Threads make their connections from these same settings, so they follow."""
    connection.close()
    connection.settings_dict.update(changed)


def _as_owner(statement: str, *names: str) -> None:
    """Run a statement about whole databases, which must be outside of any transaction."""
    owner = owner_settings(connection.settings_dict)
    maintenance = psycopg2.connect(
        user=owner["USER"],
        password=owner["PASSWORD"],
        host=owner["HOST"],
        port=owner["PORT"],
        dbname="postgres",
    )
    try:
        maintenance.autocommit = True
        with maintenance.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
    finally:
        maintenance.close()
