"""Is this the chain that the settings name, with our contracts on it, and does it go on?"""

from datetime import datetime
from typing import Protocol

from django.conf import settings

from wallet.contracts import artifact
from wallet.settlement import networks
from wallet.settlement.chain import Block, Chain, ChainUnavailable


class WrongChain(Exception):
    """The node, or a contract on it, is not the one that the settings name."""


class ChainStale(ChainUnavailable):
    """The node's newest final block is so old that what it says is not the chain's word any more."""


class Finality(Protocol):
    """The part of `Chain` that says how far it is."""

    def finalized(self) -> Block: ...


def refuse_stale(chain: Finality, *, now: datetime) -> None:
    """Nothing is concluded from a node, or a chain, that has stopped. Raises ChainStale."""
    network = networks.of(settings.CHAIN_ID)
    if network.stale_after is None:
        return
    final = chain.finalized()
    if networks.is_stale(network, final_at=final.made_at, now=now):
        raise ChainStale(
            f"The newest final block, {final.number}, is of {final.made_at:%F %T} UTC."
        )


def verify(
    chain: Chain,
    *,
    chain_id: int,
    kcash_address: str,
    settlement_address: str,
    float_address: str,
) -> None:
    """Nothing is signed for a chain that differs in any of these. Raises WrongChain."""
    found = chain.chain_id()
    if found != chain_id:
        raise WrongChain(f"The node is on chain {found}, not {chain_id}.")
    for name, address in (("KCash", kcash_address), ("Settlement", settlement_address)):
        code = chain.code(address)
        if not code:
            raise WrongChain(f"There is no contract at {address}, where {name} should be.")
        if not _is_ours(name, code):
            raise WrongChain(f"The contract at {address} is not the {name} of this release.")
    token, float_wallet = chain.token(settlement_address), chain.float_wallet(settlement_address)
    if token != kcash_address:
        raise WrongChain(f"The contract pays {token}, not KCash at {kcash_address}.")
    if float_wallet != float_address:
        raise WrongChain(f"The contract pays from {float_wallet}, not {float_address}.")


def _is_ours(name: str, code: bytes) -> bool:
    """Whether it is the committed code, but for what the constructor has filled in."""
    compiled = artifact(name)
    ours = bytearray.fromhex(compiled["deployedBytecode"][2:])
    theirs = bytearray(code)
    if len(ours) != len(theirs):
        return False
    for start, length in compiled["immutables"]:
        theirs[start : start + length] = bytes(length)
    return ours == theirs
