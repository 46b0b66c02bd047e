"""The chain as settlement sees it: a handful of questions, and one way to send.

Importing web3 takes seconds and tens of megabytes, so it is done here (and in `deploying`) alone,
and processes that serve requests import neither.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from json import JSONDecodeError
from typing import Any, Final, Protocol, TypeAlias

from django.conf import settings
from eth_hash.auto import keccak
from eth_typing import ChecksumAddress, HexStr
from web3 import HTTPProvider, Web3
from web3.exceptions import BlockNotFound, ContractLogicError, Web3Exception, Web3RPCError
from web3.types import RPCEndpoint

from wallet.contracts import artifact
from wallet.settlement import calldata, networks, node_errors

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
    block_hash: str
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

    def head(self) -> str:
        """The hash of the newest block: while it is the same, nothing on the chain has changed."""
        ...

    def finalized(self) -> Block:
        """The newest block that is final by the rule of the network."""
        ...

    def finalized_block(self) -> int:
        """Its number."""
        ...

    def block_hash(self, number: int) -> str | None:
        """Of the canonical block with this number; None above the newest one."""
        ...

    def block_hashes(self, numbers: Iterable[int]) -> Mapping[int, str]:
        """Of each of these, as `block_hash`, in one question; those above the newest are left out."""
        ...

    def fees(self) -> Fees: ...

    def nonce(self, address: str, *, block: int | str) -> int:
        """The next nonce as of a block; `pending` counts what waits in the node's pool, too."""
        ...

    def gas_balance(self, address: str) -> int:
        """What an address has to pay gas with, in wei."""
        ...

    def send(self, raw: bytes) -> None: ...

    def receipts(self, tx_hashes: Sequence[str]) -> Mapping[str, Receipt]:
        """By hash, those of the transactions that a block of the canonical chain holds."""
        ...

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


def _topic(signature: str) -> str:
    return "0x" + keccak(signature.encode()).hex()


_SETTLED: Final = _topic("Settled(bytes32,address,address,uint256)")
_TOPICS: Final = {
    _SETTLED: "Settled",
    _topic("Skipped(bytes32,bool)"): "Skipped",
    _topic("Failed(bytes32,bytes)"): "Failed",
    _topic("Voided(bytes32)"): "Voided",
    _topic("Transfer(address,address,uint256)"): "Transfer",
}

# What a node answers: numbers and bytes are text that begins with 0x.
Answer: TypeAlias = Mapping[str, Any]


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
        # It asks for the chain's id before every eth_call.
        web3.middleware_onion.remove("validation")
        self.eth = web3.eth

    def find(self, method: str, *parameters: Any) -> Any:
        """The node's own words, or None: web3 takes ten times as long to put a receipt into its.

        Raises Web3RPCError with what the node says is wrong.
        """
        answer = self.provider.make_request(RPCEndpoint(method), parameters)
        if "error" in answer or "result" not in answer:
            raise Web3RPCError(f"{method}: {answer.get('error', answer)}", rpc_response=answer)
        return answer["result"]

    def ask(self, method: str, *parameters: Any) -> Any:
        """What there always is an answer to. Raises Web3RPCError."""
        answer = self.find(method, *parameters)
        if answer is None:
            raise Web3RPCError(f"{method} was answered with nothing")
        return answer

    def ask_together(self, questions: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """The answers to one batch of questions, each of which may be None. Raises Web3RPCError."""
        if not questions:
            return []
        answers = self.provider.make_batch_request(
            [(RPCEndpoint(method), parameters) for method, parameters in questions]
        )
        # A refusal of the whole batch is no list.
        if isinstance(answers, list) and all("result" in answer for answer in answers):
            return [answer["result"] for answer in answers]
        raise Web3RPCError(f"A batch was answered with {answers!r:.200}")

    def number(self, method: str, *parameters: Any) -> int:
        return int(self.ask(method, *parameters), 16)

    def block(self, at: int | str) -> Answer:
        """Without its transactions. Raises BlockNotFound."""
        found: Answer | None = self.find("eth_getBlockByNumber", _at(at), False)
        if found is None:
            raise BlockNotFound(f"There is no block {at}")
        return found

    def block_hashes(self, numbers: Iterable[int]) -> dict[int, str]:
        asked = sorted(set(numbers))
        blocks = self.ask_together(
            [("eth_getBlockByNumber", [hex(number), False]) for number in asked]
        )
        return {number: block["hash"] for number, block in zip(asked, blocks, strict=True) if block}

    def finalized(self, network: networks.Network) -> Answer:
        block = self.block("finalized" if network.has_finalized_tag else "latest")
        if network.depth:
            deep = max(0, self.number("eth_blockNumber") - network.depth)
            if deep < int(block["number"], 16):
                block = self.block(deep)
        return block

    def is_lost(
        self, network: networks.Network, address: str, nonce: int, tx_hashes: Sequence[str]
    ) -> bool:
        if self.number("eth_chainId") != network.chain_id:
            return False
        final = self.finalized(network)["number"]
        # In one batch: behind an address may be several nodes, some of which are late. All of this
        # has to be the word of one, and of one that has this very block.
        *receipts, count = self.ask_together(
            [
                *(("eth_getTransactionReceipt", [tx_hash]) for tx_hash in tx_hashes),
                ("eth_getTransactionCount", [address, final]),
            ]
        )
        return count is not None and int(count, 16) > nonce and not any(receipts)


def _at(block: int | str | None) -> str:
    return hex(block) if isinstance(block, int) else block or "latest"


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
        self._kcash_address = kcash_address.lower()

    def chain_id(self) -> int:
        with self._asked() as node:
            return node.number("eth_chainId")

    def head(self) -> str:
        with self._asked() as node:
            return str(node.block("latest")["hash"])

    def finalized(self) -> Block:
        with self._asked() as node:
            block = node.finalized(self._network)
        return Block(
            number=int(block["number"], 16),
            hash=block["hash"],
            made_at=datetime.fromtimestamp(int(block["timestamp"], 16), UTC),
        )

    def finalized_block(self) -> int:
        return self.finalized().number

    def block_hash(self, number: int) -> str | None:
        return self.block_hashes([number]).get(number)

    def block_hashes(self, numbers: Iterable[int]) -> Mapping[int, str]:
        with self._asked() as node:
            return node.block_hashes(numbers)

    def fees(self) -> Fees:
        with self._asked() as node:
            history = node.ask("eth_feeHistory", hex(TIP_BLOCKS), "latest", [50])
        tips = sorted(int(block[0], 16) for block in history["reward"])
        return Fees(base=int(history["baseFeePerGas"][-1], 16), tip=tips[len(tips) // 2])

    def nonce(self, address: str, *, block: int | str) -> int:
        with self._asked() as node:
            return node.number("eth_getTransactionCount", address, _at(block))

    def gas_balance(self, address: str) -> int:
        with self._asked() as node:
            return node.number("eth_getBalance", address, "latest")

    def send(self, raw: bytes) -> None:
        with self._asked() as node:
            node.ask("eth_sendRawTransaction", "0x" + raw.hex())

    def receipts(self, tx_hashes: Sequence[str]) -> Mapping[str, Receipt]:
        with self._asked() as node:
            answers = node.ask_together(
                [("eth_getTransactionReceipt", [tx_hash]) for tx_hash in tx_hashes]
            )
            found = [_receipt(answer) for answer in answers if answer is not None]
            # A node may still know the receipt of a block that a reorg has dropped.
            canonical = node.block_hashes(receipt.block_number for receipt in found)
        return {
            receipt.tx_hash: receipt
            for receipt in found
            if canonical.get(receipt.block_number) == receipt.block_hash
        }

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
            logs = self._logs(
                [settlement_address],
                from_block=max(self._start_block, last - self._network.log_blocks + 1),
                to_block=last,
                topics=[_SETTLED, onchain_id],
            )
            if logs:
                tx_hash = logs[0]["transactionHash"]
                return self.receipts([tx_hash]).get(tx_hash)
        return None

    def records(
        self, onchain_ids: Sequence[str], *, settlement_address: str, block: int
    ) -> list[bytes]:
        found: list[bytes] = []
        for start in range(0, len(onchain_ids), RECORDS_AT_ONCE):
            asked = onchain_ids[start : start + RECORDS_AT_ONCE]
            answer = self._read(settlement_address, calldata.records_of(asked), block=block)
            # Behind the word that says where the array starts, and the one that counts it.
            found += [answer[at : at + 32] for at in range(64, len(answer), 32)]
        return found

    def events(self, *, from_block: int, to_block: int, settlement_address: str) -> list[Event]:
        logs = self._logs(
            [settlement_address, self._kcash_address],
            from_block=from_block,
            to_block=to_block,
            topics=[list(_TOPICS)],
        )
        return sorted(map(_event, logs), key=_place)

    def _logs(
        self, addresses: Sequence[str], *, from_block: int, to_block: int, topics: Sequence[Any]
    ) -> list[Answer]:
        with self._asked() as node:
            logs: list[Answer] = node.ask(
                "eth_getLogs",
                {
                    "address": addresses,
                    "fromBlock": hex(from_block),
                    "toBlock": hex(to_block),
                    "topics": topics,
                },
            )
        return logs

    def allowance(self, owner: str, *, settlement_address: str) -> int:
        data = calldata.view("allowance(address,address)", owner, settlement_address)
        return int.from_bytes(self._read(self._kcash_address, data), "big")

    def balances(self, addresses: Sequence[str], *, block: int) -> list[int]:
        found: list[int] = []
        for start in range(0, len(addresses), CALLS_AT_ONCE):
            found += self._balances(addresses[start : start + CALLS_AT_ONCE], hex(block))
        return found

    def _balances(self, addresses: Sequence[str], block: str) -> list[int]:
        questions = [calldata.view("balanceOf(address)", address) for address in addresses]
        with self._asked() as node:
            answers = node.ask_together(
                [
                    ("eth_call", [{"to": self._kcash_address, "data": _hex(data)}, block])
                    for data in questions
                ]
            )
        try:
            return [int(answer, 16) for answer in answers]
        except (TypeError, ValueError) as problem:
            raise ChainUnavailable(f"A balance could not be read: {answers!r:.200}") from problem

    def total_supply(self, *, block: int) -> int:
        answer = self._read(self._kcash_address, calldata.view("totalSupply()"), block=block)
        return int.from_bytes(answer, "big")

    def is_paused(self, settlement_address: str, *, block: int | None = None) -> bool:
        return any(self._read(settlement_address, calldata.view("paused()"), block=block))

    def float_wallet(self, settlement_address: str) -> str:
        return _hex(self._read(settlement_address, calldata.view("floatWallet()"))[-20:])

    def token(self, settlement_address: str) -> str:
        return _hex(self._read(settlement_address, calldata.view("token()"))[-20:])

    def code(self, address: str) -> bytes:
        with self._asked() as node:
            return bytes.fromhex(node.ask("eth_getCode", address, "latest")[2:])

    def _read(self, address: str, data: bytes, *, block: int | None = None) -> bytes:
        """What a contract answers, which is never nothing."""
        with self._asked() as node:
            answer = node.ask("eth_call", {"to": address, "data": _hex(data)}, _at(block))
        if answer == "0x":
            raise ChainUnavailable(f"No contract answers at {address}")
        return bytes.fromhex(answer[2:])

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
        calldata.selector(
            f"{entry['name']}({','.join(given['type'] for given in entry['inputs'])})"
        ): entry["name"]
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


def _receipt(found: Answer) -> Receipt:
    outcomes = {}
    for log in found["logs"]:
        outcome = _outcome(log)
        if outcome is not None:
            outcomes[log["topics"][1]] = outcome
    return Receipt(
        tx_hash=found["transactionHash"],
        block_number=int(found["blockNumber"], 16),
        block_hash=found["blockHash"],
        is_success=int(found["status"], 16) == 1,
        gas_cost=int(found["gasUsed"], 16) * int(found["effectiveGasPrice"], 16),
        outcomes=outcomes,
    )


def _outcome(log: Answer) -> Outcome | None:
    match _TOPICS.get(log["topics"][0]):
        case "Settled":
            return Outcome("Settled")
        case "Skipped":
            return Outcome("Skipped", is_conflict=int(log["data"], 16) == 1)
        case "Failed":
            data = bytes.fromhex(log["data"][2:])
            length = int.from_bytes(data[32:64], "big")  # behind the word that says where it starts
            return Outcome("Failed", reason=data[64 : 64 + length])
        case _:
            return None


def _event(log: Answer) -> Event:
    name, topics = _TOPICS[log["topics"][0]], log["topics"]
    onchain_id = from_address = to_address = amount = None
    if name != "Transfer":
        onchain_id = topics[1]
    if name in ("Transfer", "Settled"):
        from_address, to_address = ("0x" + topic[-40:] for topic in topics[-2:])
        amount = int(log["data"], 16)
    return Event(
        name=name,
        tx_hash=log["transactionHash"],
        log_index=int(log["logIndex"], 16),
        block_number=int(log["blockNumber"], 16),
        block_hash=log["blockHash"],
        onchain_id=onchain_id,
        from_address=from_address,
        to_address=to_address,
        amount=amount,
    )


def _place(event: Event) -> tuple[int, int]:
    return event.block_number, event.log_index


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _checksum(address: str) -> ChecksumAddress:
    return Web3.to_checksum_address(address)


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    # What is no JSON, such as the page of a proxy in between, is no answer either.
    except (OSError, JSONDecodeError, UnicodeDecodeError, Web3Exception) as problem:
        node_errors.count(problem)
        raise ChainUnavailable(f"{type(problem).__name__}: {problem}") from problem
