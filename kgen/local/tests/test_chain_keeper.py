import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kgen.local import chain_keeper
from kgen.local.chain_keeper import ChainKeeper, newest_state
from kgen.local.devchain import DevChain
from kgen.local.processes import ServiceError, free_port, stop, wait_until
from kgen.local.supervisor import PersistentAnvil

SENDER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"  # anvil's first account
RECEIVER = "0x00000000000000000000000000000000000000aa"


@contextmanager
def running(
    folder: Path, *, end_with: signal.Signals = signal.SIGTERM
) -> Iterator[PersistentAnvil]:
    anvil, log = PersistentAnvil(port=free_port(), folder=folder), folder / "anvil.log"
    folder.mkdir(exist_ok=True)
    process = anvil.start(log)
    try:
        wait_until(anvil.is_ready, process=process, name="anvil", log=log)
        yield anvil
    finally:
        stop(process, end_with, seconds=5)


def pay(chain: DevChain) -> None:
    before = chain.rpc("eth_blockNumber")
    chain.rpc("eth_sendTransaction", {"from": SENDER, "to": RECEIVER, "value": "0x1"})
    while chain.rpc("eth_blockNumber") == before:
        pass  # anvil mines it at once, but not before it answers


def final_balance(chain: DevChain) -> str:
    balance: str = chain.rpc("eth_getBalance", RECEIVER, "finalized")
    return balance


def test_a_transaction_becomes_final_and_the_idle_chain_stays_as_it_is(tmp_path: Path) -> None:
    with running(tmp_path) as anvil:
        anvil.keeper.tick()
        pay(anvil.chain)

        for _ in range(10):
            anvil.keeper.tick()

        assert final_balance(anvil.chain) == "0x1"
        assert anvil.chain.rpc("eth_blockNumber") == hex(4 + 1 + 4)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_the_chain_goes_on_where_it_stopped(tmp_path: Path, end: signal.Signals) -> None:
    with running(tmp_path, end_with=end) as anvil:
        anvil.keeper.tick()
        pay(anvil.chain)
        anvil.keeper.tick()

    with running(tmp_path) as anvil:
        anvil.keeper.tick()

        assert final_balance(anvil.chain) == "0x1"
        assert anvil.chain.rpc("eth_getTransactionCount", SENDER, "finalized") == "0x1"


def test_half_a_file_at_exit_does_not_matter(tmp_path: Path) -> None:
    stored, at_exit = tmp_path / "state.json", tmp_path / "at-exit.json"
    stored.write_text('{"best_block_number": 3, "blocks": [], "transactions": []}')
    at_exit.write_text('{"best_block_number": 4, "blo')

    assert newest_state(stored, at_exit) == stored
    assert json.loads(stored.read_text())["best_block_number"] == 3


def test_a_chain_that_cannot_be_read_is_not_begun_anew(tmp_path: Path) -> None:
    stored, at_exit = tmp_path / "state.json", tmp_path / "at-exit.json"
    stored.write_text("{")

    with pytest.raises(ServiceError, match="cannot be read"):
        newest_state(stored, at_exit)

    assert stored.read_text() == "{"


def test_old_blocks_are_dropped_at_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_keeper, "KEPT_BLOCKS", 5)
    with running(tmp_path) as anvil:
        keeper: ChainKeeper = anvil.keeper
        keeper.tick()
        pay(anvil.chain)
        anvil.chain.mine(30)
        keeper.tick()

        assert keeper.is_long()

    with running(tmp_path) as anvil:
        anvil.keeper.tick()
        anvil.keeper.tick()

        assert not anvil.keeper.is_long()
        assert final_balance(anvil.chain) == "0x1"
    assert len(json.loads((tmp_path / "state.json").read_text())["blocks"]) < 16
