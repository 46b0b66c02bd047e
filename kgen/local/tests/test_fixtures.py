import socket
import threading

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from kgen.local.devchain import DevChain


@pytest.mark.django_db
def test_the_application_reads_and_writes_but_never_truncates() -> None:
    Group.objects.create(name="operators")

    assert Group.objects.count() == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("kgen_app",)
        cursor.execute("SELECT has_table_privilege('auth_group', 'TRUNCATE')")
        assert cursor.fetchone() == (False,)


@pytest.mark.parametrize("run", [1, 2])
def test_a_committed_database_is_empty_and_shared_by_threads(
    run: int, committed_database: None
) -> None:
    seen = []

    def look() -> None:
        seen.append(Group.objects.count())
        connection.close()

    Group.objects.create(name="operators")
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert seen == [1]


def test_a_snapshot_puts_the_chain_back(anvil: DevChain) -> None:
    height = int(anvil.rpc("eth_blockNumber"), 16)
    as_found = anvil.snapshot()

    anvil.mine(6)
    finalized = int(anvil.rpc("eth_getBlockByNumber", "finalized", False)["number"], 16)
    anvil.revert(as_found)

    assert finalized == height + 2
    assert int(anvil.rpc("eth_blockNumber"), 16) == height


def test_other_machines_are_out_of_reach() -> None:
    with pytest.raises(PermissionError, match=r"Tests may not connect to 192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)


def test_a_connection_that_a_thread_left_open_is_no_hindrance(committed_database: None) -> None:
    opened: list[object] = []

    def leave() -> None:
        connection.ensure_connection()
        opened.append(connection.connection)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()

    assert len(opened) == 1
