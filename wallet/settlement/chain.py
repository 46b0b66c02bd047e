"""The chain as settlement sees it: a handful of questions, and one way to send.

Importing web3 takes seconds and tens of megabytes, so it is done here (and in `deploying`) alone,
and processes that serve requests import neither.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from eth_hash.auto import keccak
from eth_typing import BlockIdentifier, ChecksumAddress, HexStr
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.exceptions import TransactionNotFound, Web3Exception
from web3.types import LogReceipt, RPCEndpoint, TxReceipt

from wallet.contracts import artifact

CONNECT_SECONDS: Final = 3
ANSWER_SECONDS: Final = 10

# Nodes take batches of JSON-RPC calls, but not endless ones.
CALLS_AT_ONCE: Final = 500

# Blocks over which the usual tip is taken.
TIP_BLOCKS: Final = 4


class ChainUnavailable(Exception):
    """The node did not answer, or answered with an error. What was asked may have happened."""


@dataclass(frozen=True)
class Fees:
    """What the next block asks for, in wei per gas."""

    base: int
    tip: int


@dataclass(frozen=True)
class Outcome:
    """What a batch did with one payout."""

    event: str  # Settled, Skipped or Failed
    is_conflict: bool = False
    reason: bytes = b""


@dataclass(frozen=True)
class Receipt:
    """A transaction in the canonical chain; `outcomes` by payout id."""

    tx_hash: str
    block_number: int
    is_success: bool
    gas_cost: int
    outcomes: Mapping[str, Outcome]

    @property
    def gas_share(self) -> int:
        """What each payout in it cost, in wei."""
        return self.gas_cost // max(1, len(self.outcomes))


class Chain(Protocol):
    def chain_id(self) -> int: ...

    def finalized_block(self) -> int: ...

    def fees(self) -> Fees: ...

    def nonce(self, address: str, *, block: int | str) -> int:
        """The next nonce as of a block; `pending` counts what waits in the node's pool, too."""
        ...

    def send(self, raw: bytes) -> None: ...

    def receipt(self, tx_hash: str) -> Receipt | None: ...

    def settled(self, onchain_id: str, *, settlement_address: str, block: int) -> Receipt | None:
        """The transaction that paid this id at or below a block."""
        ...

    def allowance(self, owner: str, *, settlement_address: str) -> int: ...

    def balances(self, addresses: Sequence[str], *, block: int) -> list[int]:
        """The KCash that each address holds at a block."""
        ...

    def is_paused(self, settlement_address: str) -> bool: ...

    def float_wallet(self, settlement_address: str) -> str: ...


def _topic(signature: str) -> bytes:
    return keccak(signature.encode())


_BALANCE_OF: Final = "0x" + _topic("balanceOf(address)")[:4].hex()
_SETTLED: Final = _topic("Settled(bytes32,address,address,uint256)")
_SKIPPED: Final = _topic("Skipped(bytes32,bool)")
_FAILED: Final = _topic("Failed(bytes32,bytes)")


class Web3Chain:
    """A node reached over HTTP JSON-RPC."""

    def __init__(self, url: str, *, kcash_address: str) -> None:
        # web3 would retry by itself; here each step is run again anyway, with fresh knowledge.
        self._provider = HTTPProvider(
            url,
            request_kwargs={"timeout": (CONNECT_SECONDS, ANSWER_SECONDS)},
            exception_retry_configuration=None,
        )
        self._web3 = Web3(self._provider)
        self._kcash: Contract = self._web3.eth.contract(
            address=_checksum(kcash_address), abi=artifact("KCash")["abi"]
        )

    def chain_id(self) -> int:
        with _answers():
            return int(self._web3.eth.chain_id)

    def finalized_block(self) -> int:
        with _answers():
            return int(self._web3.eth.get_block("finalized")["number"])

    def fees(self) -> Fees:
        with _answers():
            history = self._web3.eth.fee_history(TIP_BLOCKS, "latest", [50])
        tips = sorted(int(block[0]) for block in history["reward"])
        return Fees(base=int(history["baseFeePerGas"][-1]), tip=tips[len(tips) // 2])

    def nonce(self, address: str, *, block: int | str) -> int:
        at = cast(BlockIdentifier, block)
        with _answers():
            return int(self._web3.eth.get_transaction_count(_checksum(address), at))

    def send(self, raw: bytes) -> None:
        with _answers():
            self._web3.eth.send_raw_transaction(raw)

    def receipt(self, tx_hash: str) -> Receipt | None:
        with _answers():
            try:
                found = self._web3.eth.get_transaction_receipt(HexStr(tx_hash))
            except TransactionNotFound:
                return None
            # A node may still know the receipt of a block that a reorg has dropped.
            canonical = self._web3.eth.get_block(found["blockNumber"])
        return _receipt(found) if canonical["hash"] == found["blockHash"] else None

    def settled(self, onchain_id: str, *, settlement_address: str, block: int) -> Receipt | None:
        with _answers():
            logs = self._web3.eth.get_logs(
                {
                    "address": _checksum(settlement_address),
                    "fromBlock": 0,
                    "toBlock": block,
                    "topics": [HexStr("0x" + _SETTLED.hex()), HexStr(onchain_id)],
                }
            )
        return self.receipt("0x" + logs[0]["transactionHash"].hex()) if logs else None

    def allowance(self, owner: str, *, settlement_address: str) -> int:
        call = self._kcash.functions.allowance(_checksum(owner), _checksum(settlement_address))
        with _answers():
            return int(call.call())

    def balances(self, addresses: Sequence[str], *, block: int) -> list[int]:
        found: list[int] = []
        for start in range(0, len(addresses), CALLS_AT_ONCE):
            found += self._balances(addresses[start : start + CALLS_AT_ONCE], hex(block))
        return found

    def _balances(self, addresses: Sequence[str], block: str) -> list[int]:
        # By hand: a contract object would take milliseconds to build each of the calls.
        calls: list[tuple[RPCEndpoint, Any]] = [
            (
                RPCEndpoint("eth_call"),
                [
                    {"to": self._kcash.address, "data": _BALANCE_OF + address[2:].rjust(64, "0")},
                    block,
                ],
            )
            for address in addresses
        ]
        with _answers():
            answers = self._provider.make_batch_request(calls)
        try:
            return [int(answer["result"], 16) for answer in answers]  # type: ignore[index]
        except (KeyError, TypeError, ValueError) as problem:
            raise ChainUnavailable(f"A balance could not be read: {answers!r:.200}") from problem

    def is_paused(self, settlement_address: str) -> bool:
        with _answers():
            return bool(self._settlement(settlement_address).functions.paused().call())

    def float_wallet(self, settlement_address: str) -> str:
        with _answers():
            address = self._settlement(settlement_address).functions.floatWallet().call()
        return str(address).lower()

    def _settlement(self, address: str) -> Contract:
        return self._web3.eth.contract(
            address=_checksum(address), abi=artifact("Settlement")["abi"]
        )


def error_name(reason: bytes) -> str:
    """The name of the Solidity error that a payout failed with."""
    return _ERRORS.get(reason[:4], f"0x{reason[:4].hex()}" if reason else "no reason given")


def _errors() -> dict[bytes, str]:
    entries = [
        entry
        for name in ("KCash", "Settlement")
        for entry in artifact(name)["abi"]
        if entry["type"] == "error"
    ]
    return {
        _topic(f"{entry['name']}({','.join(given['type'] for given in entry['inputs'])})")[
            :4
        ]: entry["name"]
        for entry in entries
    }


_ERRORS: Final = _errors()


def _receipt(found: TxReceipt) -> Receipt:
    outcomes = {}
    for log in found["logs"]:
        outcome = _outcome(log)
        if outcome is not None:
            outcomes["0x" + log["topics"][1].hex()] = outcome
    return Receipt(
        tx_hash="0x" + found["transactionHash"].hex(),
        block_number=int(found["blockNumber"]),
        is_success=found["status"] == 1,
        gas_cost=int(found["gasUsed"]) * int(found["effectiveGasPrice"]),
        outcomes=outcomes,
    )


def _outcome(log: LogReceipt) -> Outcome | None:
    topic, data = bytes(log["topics"][0]), bytes(log["data"])
    if topic == _SETTLED:
        return Outcome("Settled")
    if topic == _SKIPPED:
        return Outcome("Skipped", is_conflict=data[-1] == 1)
    if topic == _FAILED:
        length = int.from_bytes(data[32:64], "big")  # behind the word that says where it starts
        return Outcome("Failed", reason=data[64 : 64 + length])
    return None


def _checksum(address: str) -> ChecksumAddress:
    return Web3.to_checksum_address(address)


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    except (OSError, Web3Exception) as problem:
        raise ChainUnavailable(f"{type(problem).__name__}: {problem}") from problem
