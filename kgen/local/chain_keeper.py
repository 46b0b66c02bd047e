"""What anvil does not do for a chain that lives for months: finality while idle, and its storage.

anvil's own `--state FILE --state-interval 1` rewrites the whole file in place every second, also
when nothing has happened: a kill in that moment leaves half a file, and the file grows for ever.
Here the state is stored when it has changed, under another name first, and trimmed.
"""

import gzip
import json
import os
from pathlib import Path
from typing import Any

from kgen.local.devchain import FINALITY_DEPTH, DevChain
from kgen.local.processes import ServiceError

# Blocks (with their transactions and receipts) that survive a start; balances and contracts all do.
KEPT_BLOCKS = 5_000


class ChainKeeper:
    """Called once a second by the supervisor."""

    def __init__(self, chain: DevChain, state: Path) -> None:
        self._chain = chain
        self._state = state
        self.has_loaded()

    def has_loaded(self) -> None:
        """Said after each start of anvil."""
        self._loaded = -1
        self._stored = -1

    def tick(self) -> None:
        """Store what is new, then let a block pass if a transaction waits to be final."""
        newest = self._height()
        if self._loaded < 0:
            # anvil keeps no state of blocks before the one it has loaded, so every reading at
            # `finalized` would be refused until that one is final.
            self._chain.mine(FINALITY_DEPTH)
            self._loaded = newest
            return
        if newest != self._stored:
            self.store()
        waiting = range(max(newest - FINALITY_DEPTH + 1, 0), newest + 1)
        if any(self._has_transactions(number) for number in waiting):
            self._chain.mine()

    def store(self) -> None:
        """Write the chain's state; the file is the old one or the new one, never a half."""
        height = self._height()
        packed: str = self._chain.rpc("anvil_dumpState")
        unfinished = self._state.with_suffix(".new")
        with unfinished.open("wb") as file:
            file.write(gzip.decompress(bytes.fromhex(packed.removeprefix("0x"))))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._state)
        self._stored = height

    def is_long(self) -> bool:
        """Has anvil so many blocks in memory that it should start again from a trimmed file?"""
        return self._stored - self._loaded > KEPT_BLOCKS

    def _height(self) -> int:
        return int(self._chain.rpc("eth_blockNumber"), 16)

    def _has_transactions(self, number: int) -> bool:
        block = self._chain.rpc("eth_getBlockByNumber", hex(number), False)
        return bool(block and block["transactions"])


def newest_state(stored: Path, at_exit: Path) -> Path | None:
    """Trim the newer of the two files into `stored`, from which anvil loads; None for a new chain.

    anvil writes `at_exit` when it ends in good order. If that was cut short, `stored` is whole.
    """
    candidates = [state for path in (stored, at_exit) if (state := _read(path))]
    if not candidates:
        if stored.exists() or at_exit.exists():
            raise ServiceError(
                f"The chain's state in {stored.parent} cannot be read. `make reset` starts over, "
                "with an empty database and a new chain."
            )
        return None
    state = max(candidates, key=lambda found: int(found["best_block_number"]))
    first_kept = int(state["best_block_number"]) - KEPT_BLOCKS
    state["blocks"] = [
        block for block in state["blocks"] if int(block["header"]["number"], 16) >= first_kept
    ]
    state["transactions"] = [
        mined for mined in state["transactions"] if mined["block_number"] >= first_kept
    ]
    unfinished = stored.with_suffix(".new")
    unfinished.write_text(json.dumps(state))
    unfinished.replace(stored)
    at_exit.unlink(missing_ok=True)
    return stored


def _read(path: Path) -> dict[str, Any] | None:
    try:
        state = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and "best_block_number" in state else None
