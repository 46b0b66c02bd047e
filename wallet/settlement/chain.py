"""The chain as settlement sees it: a handful of questions, and one way to send.

Importing web3 takes seconds and tens of megabytes, so it is done here (and in `deploying`) alone,
and processes that serve requests import neither.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from json import JSONDecodeError
from typing import Any, Final, Protocol, cast

from django.conf import settings
from eth_hash.auto import keccak
from eth_typing import BlockIdentifier, ChecksumAddress, HexStr
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.exceptions import (
    BlockNotFound,
    ContractLogicError,
    TransactionNotFound,
    Web3Exception,
)
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import BlockData, LogReceipt, RPCEndpoint, TxReceipt

from wallet.contracts import artifact
from wallet.settlement import networks

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 3
ANSWER_SECONDS: Final = 10

# Nodes take batches of JSON-RPC calls, but not endless ones.
CALLS_AT_ONCE: Final = 500
# Ids whose records one call asks for.
RECORDS_AT_ONCE: Final = 500

# Blocks over which the usual tip is taken.
TIP_BLOCKS: Final = 4

# What the contract's `record` holds for an id that was neither paid nor voided, and for a voided one.
# For a paid one it holds `payment_record`.
UNUSED: Final = bytes(32)
VOIDED: Final = (1).to_bytes(32, "big")


class ChainUnavailable(Exception):
    """The node did not answer, or answered with an error. What was asked may have happened."""


class CallReverted(Exception):
    """A call that was only tried out would be reverted as a whole; the text names the error."""


@dataclass(frozen=True)
class Fees:
    """What the next block asks for, in wei per gas."""

    base: int
    tip: int


@dataclass(frozen=True)
class Block:
    number: int
    hash: str
    made_at: datetime


@dataclass(frozen=True)
class Outcome:
    """What a batch did with one payout, or would do."""

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


@dataclass(frozen=True)
class Event:
    """One line of the chain's own book. What the event does not have is None."""

    name: str  # Settled, Skipped, Failed or Voided of Settlement; Transfer of KCash
    tx_hash: str
    log_index: int
    block_number: int
    block_hash: str
    onchain_id: str | None = None
    from_address: str | None = None
    to_address: str | None = None
    amount: int | None = None


class Chain(Protocol):
    """Everything may raise ChainUnavailable. Addresses and hashes are lower case, with 0x."""

    def chain_id(self) -> int: ...

    def finalized(self) -> Block:
        """The newest block that is final by the rule of the network."""
        ...

    def finalized_block(self) -> int:
        """Its number."""
        ...

    def block_hash(self, number: int) -> str | None:
        """Of the canonical block with this number; None above the newest one."""
        ...

    def fees(self) -> Fees: ...

    def nonce(self, address: str, *, block: int | str) -> int:
        """The next nonce as of a block; `pending` counts what waits in the node's pool, too."""
        ...

    def gas_balance(self, address: str) -> int:
        """What an address has to pay gas with, in wei."""
        ...

    def send(self, raw: bytes) -> None: ...

    def receipt(self, tx_hash: str) -> Receipt | None: ...

    def is_lost(self, *, address: str, nonce: int, tx_hashes: Sequence[str]) -> bool:
        """Whether another transaction has this nonce for good, and none of these ever can.

        Every node that the settings name has to say so, of its own final blocks; where one does
        not answer, or not so, the answer is no.
        """
        ...

    def preflight(
        self, data: bytes, *, from_address: str, settlement_address: str, gas: int
    ) -> list[Outcome]:
        """What `settle` with this calldata would do with each of its items, in their order.

        It is tried out on the newest block: what waits in a pool, such as the permit in an earlier
        slot, is not seen. Raises CallReverted when the whole batch would be reverted.
        """
        ...

    def settled(self, onchain_id: str, *, settlement_address: str, block: int) -> Receipt | None:
        """The transaction that paid this id at or below a block."""
        ...

    def records(
        self, onchain_ids: Sequence[str], *, settlement_address: str, block: int
    ) -> list[bytes]:
        """What the contract has recorded of each id at a block: UNUSED, VOIDED or a payment."""
        ...

    def events(self, *, from_block: int, to_block: int, settlement_address: str) -> list[Event]:
        """What Settlement and KCash told in these blocks, both included, in the chain's order.

        Nodes refuse too many blocks at once: not more than `networks.Network.log_blocks`.
        """
        ...

    def allowance(self, owner: str, *, settlement_address: str) -> int: ...

    def balances(self, addresses: Sequence[str], *, block: int) -> list[int]:
        """The KCash that each address holds at a block."""
        ...

    def total_supply(self, *, block: int) -> int: ...

    def is_paused(self, settlement_address: str, *, block: int | None = None) -> bool:
        """Whether the contract pays nothing, at a block or else at the newest one."""
        ...

    def float_wallet(self, settlement_address: str) -> str: ...

    def token(self, settlement_address: str) -> str: ...

    def code(self, address: str) -> bytes:
        """The bytecode at an address; empty where there is no contract."""
        ...


def payment_record(*, from_address: str, to_address: str, amount: int) -> bytes:
    """What the contract records of an id once it has paid this."""
    words = [bytes.fromhex(address[2:]).rjust(32, b"\0") for address in (from_address, to_address)]
    return keccak(b"".join(words) + amount.to_bytes(32, "big"))


def connect() -> "Web3Chain":
    """The chain that the settings name, by its nodes. Raises UnknownNetwork."""
    return Web3Chain(
        settings.CHAIN_RPC_URL,
        second_url=settings.CHAIN_RPC_URL_2,
        kcash_address=settings.KCASH_ADDRESS,
        start_block=settings.CHAIN_START_BLOCK,
    )


def _topic(signature: str) -> bytes:
    return keccak(signature.encode())


_BALANCE_OF: Final = "0x" + _topic("balanceOf(address)")[:4].hex()
_TOPICS: Final = {
    _topic("Settled(bytes32,address,address,uint256)"): "Settled",
    _topic("Skipped(bytes32,bool)"): "Skipped",
    _topic("Failed(bytes32,bytes)"): "Failed",
    _topic("Voided(bytes32)"): "Voided",
    _topic("Transfer(address,address,uint256)"): "Transfer",
}
_SETTLED: Final = _topic("Settled(bytes32,address,address,uint256)")


class _Node:
    """One node over HTTP JSON-RPC."""

    def __init__(self, url: str) -> None:
        # web3 would retry by itself; here each step is run again anyway, with fresh knowledge.
        self.provider = HTTPProvider(
            url,
            request_kwargs={"timeout": (CONNECT_SECONDS, ANSWER_SECONDS)},
            exception_retry_configuration=None,
        )
        web3 = Web3(self.provider)
        # Blocks of Polygon, BNB Smart Chain and Kaia have longer `extraData` than web3 takes.
        web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        # It asks for the chain's id before every eth_call.
        web3.middleware_onion.remove("validation")
        self.eth = web3.eth

    def finalized(self, network: networks.Network) -> BlockData:
        block = self.eth.get_block("finalized" if network.has_finalized_tag else "latest")
        if network.depth:
            deep = max(0, int(self.eth.block_number) - network.depth)
            if deep < block["number"]:
                block = self.eth.get_block(deep)
        return block

    def is_lost(
        self, network: networks.Network, address: str, nonce: int, tx_hashes: Sequence[str]
    ) -> bool:
        if int(self.eth.chain_id) != network.chain_id:
            return False
        final = self.finalized(network)["number"]
        if self.eth.get_transaction_count(_checksum(address), final) <= nonce:
            return False
        # Looked for after the nonce was seen to be gone: what was mined before shows by now.
        return not any(self._knows(tx_hash) for tx_hash in tx_hashes)

    def _knows(self, tx_hash: str) -> bool:
        try:
            self.eth.get_transaction_receipt(HexStr(tx_hash))
        except TransactionNotFound:
            return False
        return True


class Web3Chain:
    """A chain by one node, or by two of which one answers.

    While the first node cannot be reached the second one is asked, from the step that follows the
    one that failed: what a step decides, it has read from one node.
    """

    def __init__(
        self,
        url: str,
        *,
        kcash_address: str,
        second_url: str = "",
        start_block: int = 0,
        network: networks.Network | None = None,
    ) -> None:
        """Nothing of the contracts is looked for in blocks before `start_block`."""
        self._network = network or networks.of(settings.CHAIN_ID)
        self._nodes = [_Node(given) for given in (url, second_url) if given]
        self._answering = 0
        self._start_block = start_block
        self._kcash_address = _checksum(kcash_address)

    def chain_id(self) -> int:
        with self._asked() as node:
            return int(node.eth.chain_id)

    def finalized(self) -> Block:
        with self._asked() as node:
            block = node.finalized(self._network)
            return Block(
                number=int(block["number"]),
                hash="0x" + block["hash"].hex(),
                made_at=datetime.fromtimestamp(int(block["timestamp"]), UTC),
            )

    def finalized_block(self) -> int:
        return self.finalized().number

    def block_hash(self, number: int) -> str | None:
        with self._asked() as node:
            try:
                return "0x" + node.eth.get_block(number)["hash"].hex()
            except BlockNotFound:
                return None

    def fees(self) -> Fees:
        with self._asked() as node:
            history = node.eth.fee_history(TIP_BLOCKS, "latest", [50])
        tips = sorted(int(block[0]) for block in history["reward"])
        return Fees(base=int(history["baseFeePerGas"][-1]), tip=tips[len(tips) // 2])

    def nonce(self, address: str, *, block: int | str) -> int:
        at = cast(BlockIdentifier, block)
        with self._asked() as node:
            return int(node.eth.get_transaction_count(_checksum(address), at))

    def gas_balance(self, address: str) -> int:
        with self._asked() as node:
            return int(node.eth.get_balance(_checksum(address)))

    def send(self, raw: bytes) -> None:
        with self._asked() as node:
            node.eth.send_raw_transaction(raw)

    def receipt(self, tx_hash: str) -> Receipt | None:
        with self._asked() as node:
            try:
                found = node.eth.get_transaction_receipt(HexStr(tx_hash))
            except TransactionNotFound:
                return None
            # A node may still know the receipt of a block that a reorg has dropped.
            try:
                canonical = node.eth.get_block(found["blockNumber"])
            except BlockNotFound:
                return None
        return _receipt(found) if canonical["hash"] == found["blockHash"] else None

    def is_lost(self, *, address: str, nonce: int, tx_hashes: Sequence[str]) -> bool:
        said = []
        for number, node in enumerate(self._nodes, start=1):
            try:
                with _answers():
                    said.append(node.is_lost(self._network, address, nonce, tx_hashes))
            except ChainUnavailable as problem:
                logger.warning("Node %s does not say who has nonce %s: %s", number, nonce, problem)
                return False
        if len(set(said)) > 1:
            logger.warning("The nodes disagree about nonce %s of %s: %s", nonce, address, said)
        return all(said)

    def preflight(
        self, data: bytes, *, from_address: str, settlement_address: str, gas: int
    ) -> list[Outcome]:
        with self._asked() as node:
            try:
                answer = node.eth.call(
                    {
                        "from": _checksum(from_address),
                        "to": _checksum(settlement_address),
                        "data": HexStr("0x" + data.hex()),
                        "gas": gas,
                    }
                )
            except ContractLogicError as refused:
                raise CallReverted(_revert_name(refused)) from refused
        return _foreseen(bytes(answer))

    def settled(self, onchain_id: str, *, settlement_address: str, block: int) -> Receipt | None:
        # Newest blocks first: what is looked for has rarely been there for long.
        for last in range(block, self._start_block - 1, -self._network.log_blocks):
            with self._asked() as node:
                logs = node.eth.get_logs(
                    {
                        "address": _checksum(settlement_address),
                        "fromBlock": max(self._start_block, last - self._network.log_blocks + 1),
                        "toBlock": last,
                        "topics": [HexStr("0x" + _SETTLED.hex()), HexStr(onchain_id)],
                    }
                )
            if logs:
                return self.receipt("0x" + logs[0]["transactionHash"].hex())
        return None

    def records(
        self, onchain_ids: Sequence[str], *, settlement_address: str, block: int
    ) -> list[bytes]:
        found: list[bytes] = []
        for start in range(0, len(onchain_ids), RECORDS_AT_ONCE):
            asked = onchain_ids[start : start + RECORDS_AT_ONCE]
            found += self._view("Settlement", settlement_address, "recordsOf", asked, block=block)
        return found

    def events(self, *, from_block: int, to_block: int, settlement_address: str) -> list[Event]:
        with self._asked() as node:
            logs = node.eth.get_logs(
                {
                    "address": [_checksum(settlement_address), self._kcash_address],
                    "fromBlock": from_block,
                    "toBlock": to_block,
                    "topics": [[HexStr("0x" + topic.hex()) for topic in _TOPICS]],
                }
            )
        return [_event(log) for log in sorted(logs, key=_place)]

    def allowance(self, owner: str, *, settlement_address: str) -> int:
        between = (_checksum(owner), _checksum(settlement_address))
        return int(self._view("KCash", self._kcash_address, "allowance", *between))

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
                    {"to": self._kcash_address, "data": _BALANCE_OF + address[2:].rjust(64, "0")},
                    block,
                ],
            )
            for address in addresses
        ]
        with self._asked() as node:
            answers = node.provider.make_batch_request(calls)
        try:
            return [int(answer["result"], 16) for answer in answers]  # type: ignore[index]
        except (KeyError, TypeError, ValueError) as problem:
            raise ChainUnavailable(f"A balance could not be read: {answers!r:.200}") from problem

    def total_supply(self, *, block: int) -> int:
        return int(self._view("KCash", self._kcash_address, "totalSupply", block=block))

    def is_paused(self, settlement_address: str, *, block: int | None = None) -> bool:
        return bool(self._view("Settlement", settlement_address, "paused", block=block))

    def float_wallet(self, settlement_address: str) -> str:
        return str(self._view("Settlement", settlement_address, "floatWallet")).lower()

    def token(self, settlement_address: str) -> str:
        return str(self._view("Settlement", settlement_address, "token")).lower()

    def code(self, address: str) -> bytes:
        with self._asked() as node:
            return bytes(node.eth.get_code(_checksum(address)))

    def _view(
        self, name: str, address: str, function: str, *arguments: Any, block: int | None = None
    ) -> Any:
        at: BlockIdentifier = "latest" if block is None else cast(BlockIdentifier, block)
        with self._asked() as node:
            contract: Contract = node.eth.contract(
                address=_checksum(address), abi=artifact(name)["abi"]
            )
            return contract.functions[function](*arguments).call(block_identifier=at)

    @contextmanager
    def _asked(self) -> Iterator[_Node]:
        """The node that answers at present; the next step asks the other one if this fails."""
        answering = self._answering
        try:
            with _answers():
                yield self._nodes[answering]
        except ChainUnavailable as problem:
            # An error that the node itself has told, such as "nonce too low", is an answer.
            if len(self._nodes) > 1 and not isinstance(problem.__cause__, Web3Exception):
                self._answering = (answering + 1) % len(self._nodes)
                logger.warning("Node %s is out of reach: %s", answering + 1, problem)
            raise


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
_SELECTORS: Final = {name: selector for selector, name in _ERRORS.items()}


def _foreseen(answer: bytes) -> list[Outcome]:
    """What `settle` returned: an array of words, each of which begins with four bytes."""
    return [_foreseen_outcome(answer[start : start + 4]) for start in range(64, len(answer), 32)]


def _foreseen_outcome(selector: bytes) -> Outcome:
    if selector == bytes(4):
        return Outcome("Settled")
    if selector in (_SELECTORS["AlreadyPaid"], _SELECTORS["Conflict"]):
        return Outcome("Skipped", is_conflict=selector == _SELECTORS["Conflict"])
    return Outcome("Failed", reason=selector)


def _revert_name(refused: ContractLogicError) -> str:
    data = refused.data if isinstance(refused.data, str) else ""
    return error_name(bytes.fromhex(data[2:10])) if len(data) >= 10 else str(refused.message)


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
    data = bytes(log["data"])
    match _TOPICS.get(bytes(log["topics"][0])):
        case "Settled":
            return Outcome("Settled")
        case "Skipped":
            return Outcome("Skipped", is_conflict=data[-1] == 1)
        case "Failed":
            length = int.from_bytes(data[32:64], "big")  # behind the word that says where it starts
            return Outcome("Failed", reason=data[64 : 64 + length])
        case _:
            return None


def _event(log: LogReceipt) -> Event:
    name, topics = _TOPICS[bytes(log["topics"][0])], log["topics"]
    onchain_id = from_address = to_address = amount = None
    if name != "Transfer":
        onchain_id = "0x" + topics[1].hex()
    if name in ("Transfer", "Settled"):
        from_address, to_address = ("0x" + topic.hex()[-40:] for topic in topics[-2:])
        amount = int.from_bytes(bytes(log["data"]), "big")
    return Event(
        name=name,
        tx_hash="0x" + log["transactionHash"].hex(),
        log_index=int(log["logIndex"]),
        block_number=int(log["blockNumber"]),
        block_hash="0x" + log["blockHash"].hex(),
        onchain_id=onchain_id,
        from_address=from_address,
        to_address=to_address,
        amount=amount,
    )


def _place(log: LogReceipt) -> tuple[int, int]:
    return log["blockNumber"], log["logIndex"]


def _checksum(address: str) -> ChecksumAddress:
    return Web3.to_checksum_address(address)


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    # What is no JSON, such as the page of a proxy in between, is no answer either.
    except (OSError, JSONDecodeError, UnicodeDecodeError, Web3Exception) as problem:
        raise ChainUnavailable(f"{type(problem).__name__}: {problem}") from problem
