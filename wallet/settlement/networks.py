"""The networks that settlement knows, a row each: when a block is final, and what gas may cost."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

GWEI: Final = 10**9


class UnknownNetwork(Exception):
    """Settlement does not guess when a block is final: a network needs a row in the table."""


@dataclass(frozen=True)
class Network:
    chain_id: int
    name: str
    is_mainnet: bool
    # Final is what the node's `finalized` tag says, where there is one, and never a block with
    # fewer than `depth` others on top.
    has_finalized_tag: bool
    depth: int
    # Time between blocks, as they should be.
    block_time: timedelta
    # In wei per gas: the least tip that gets mined, and the most that we ever offer for base fee
    # and tip together.
    tip_floor: int
    fee_cap: int
    # Since the newest price was first offered.
    bump_after: timedelta
    # A final block older than this means that finality, or the node, has stopped; None where an
    # idle chain makes no blocks.
    stale_after: timedelta | None
    # Blocks whose events may be asked for at once.
    log_blocks: int
    # Where people look at a transaction, with its hash behind it; empty where there is no such place.
    explorer: str


def _ms(milliseconds: int) -> timedelta:
    return timedelta(milliseconds=milliseconds)


def _s(seconds: int) -> timedelta:
    return timedelta(seconds=seconds)


# Where the figures are from:
# Polygon PoS, Amoy: the tag follows the milestones, some seconds behind (PIP-11). Chainlink's
#   Polygon_Mainnet.toml notes that it was violated more than once, and waits 500 blocks of a second
#   instead; we take the tag and a minute's blocks on top of it. The same file and Polygon_Amoy.toml
#   have the least prices that providers take, 30 and 25 gwei.
# BNB Smart Chain: 0.45 s since the Fermi upgrade (BEP-619), block n final by n + 2 (BEP-126; "BSC API
#   list" of docs.bnbchain.org), later where votes are missing. The base fee is 0, and validators take
#   nothing below 0.05 gwei.
# Kaia: blocks of a second, final at once, so that its nodes read `finalized` as `latest`
#   (kaiachain/kaia, networks/rpc/types.go). The base fee has an upper bound of 750 gkei (KIP-71), and
#   without congestion nobody needs a tip (KIP-162).
# eth_getLogs: QuickNode, for one, takes 10,000 blocks at once.
# The caps are ours: a batch of 100 claims, 3.7 million gas, costs at most 7.4 POL, 0.037 BNB, 6 KAIA.
# fmt: off
_TABLE: Final = (
    #       id     name               main   tag   depth block      tip floor       fee cap       bump    stale    logs    explorer
    Network(137,   "Polygon PoS",     True,  True,  64, _ms(1000), 30 * GWEI,      2_000 * GWEI, _s(30), _s(600), 1_000,  "https://polygonscan.com/tx/"),
    Network(80002, "Polygon Amoy",    False, True,  64, _ms(1000), 25 * GWEI,      2_000 * GWEI, _s(30), _s(600), 1_000,  "https://amoy.polygonscan.com/tx/"),
    Network(56,    "BNB Smart Chain", True,  True,   0, _ms(450),  GWEI // 20,     10 * GWEI,    _s(15), _s(600), 1_000,  "https://bscscan.com/tx/"),
    Network(8217,  "Kaia",            True,  True,   0, _ms(1000), 0,              1_600 * GWEI, _s(15), _s(600), 1_000,  "https://kaiascan.io/tx/"),
    # anvil of `make run` and of the tests: four blocks on top make one final.
    Network(31337, "development",     False, True,   0, _ms(1000), 1 * GWEI,       1_000 * GWEI, _s(30), None,    10_000, ""),
)
# fmt: on

NETWORKS: Final = {network.chain_id: network for network in _TABLE}


def of(chain_id: int) -> Network:
    """The row of a chain. Raises UnknownNetwork."""
    try:
        return NETWORKS[chain_id]
    except KeyError:
        raise UnknownNetwork(
            f"Chain {chain_id} has no row in wallet/settlement/networks.py."
        ) from None


def is_stale(network: Network, *, final_at: datetime, now: datetime) -> bool:
    """Whether the newest final block is so old that finality, or the node, must have stopped."""
    return network.stale_after is not None and now - final_at > network.stale_after
