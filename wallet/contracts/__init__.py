"""The Solidity contracts, and their committed artifacts: Python never compiles."""

import json
from functools import cache
from pathlib import Path
from typing import Any

_ARTIFACTS = Path(__file__).resolve().parent / "artifacts"


@cache
def artifact(name: str) -> dict[str, Any]:
    """What `recompile.py` wrote for a contract: `abi` and `bytecode`, with their origin."""
    contents: dict[str, Any] = json.loads((_ARTIFACTS / f"{name}.json").read_text())
    return contents
