"""Each question to the chain, answered by a real node; and by nodes that answer badly."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.conf import settings as django_settings

from kgen.local.devchain import FINALITY_DEPTH
from kgen.local.processes import free_port
from wallet import custody
from wallet.settlement import calldata, networks, node_errors
from wallet.settlement import chain as chains
from wallet.settlement.chain import (
    UNUSED,
    VOIDED,
    CallReverted,
    ChainUnavailable,
    Event,
    Outcome,
    Web3Chain,
    error_name,
    payment_record,
)
from wallet.tests.chain import Bench, new_address, new_id

GAS = 16_000_000


@pytest.fixture
def chain(bench: Bench) -> Web3Chain:
    return chains.connect()


def settled_at(bench: Bench) -> str:
    return str(bench.settlement.address).lower()


# --- Blocks --------------------------------------------------------------------------------------


def test_the_tag_says_what_is_final_where_a_chain_has_it(bench: Bench, chain: Web3Chain):
    bench.chain.mine(10)
    newest = bench.web3.eth.block_number

    found = chain.finalized()

    block = bench.web3.eth.get_block(newest - FINALITY_DEPTH)
    assert found.number == chain.finalized_block() == newest - FINALITY_DEPTH
    assert found.hash == "0x" + block["hash"].hex()
    assert found.made_at.timestamp() == block["timestamp"]


@pytest.mark.parametrize("has_tag", [True, False])
def test_no_block_is_final_before_it_is_as_deep_as_the_network_wants(bench: Bench, has_tag):
    network = replace(networks.of(31337), has_finalized_tag=has_tag, depth=7)
    deep = Web3Chain(bench.chain.url, kcash_address=django_settings.KCASH_ADDRESS, network=network)
    bench.chain.mine(10)

    assert deep.finalized_block() == bench.web3.eth.block_number - 7


def test_a_depth_that_the_tag_already_keeps_changes_nothing(bench: Bench):
    network = replace(networks.of(31337), depth=FINALITY_DEPTH - 1)
    shallow = Web3Chain(
        bench.chain.url, kcash_address=django_settings.KCASH_ADDRESS, network=network
    )
    bench.chain.mine(10)

    assert shallow.finalized_block() == bench.web3.eth.block_number - FINALITY_DEPTH


def test_a_block_may_carry_more_extra_data_than_those_of_ethereum(bench: Bench, bad_node):
    block = bench.chain.rpc("eth_getBlockByNumber", "latest", False)
    block["extraData"] = "0x" + "ab" * 517  # seals of validators, as on Polygon and Kaia
    answer = {"jsonrpc": "2.0", "id": 0, "result": block}

    found = node_at(bad_node(200, json.dumps(answer).encode())).finalized()

    assert (found.number, found.hash) == (int(block["number"], 16), block["hash"])


def test_a_block_has_the_hash_of_the_canonical_chain(bench: Bench, chain: Web3Chain):
    bench.chain.mine()
    newest = bench.web3.eth.block_number
    before = chain.block_hash(newest)

    bench.chain.rpc("anvil_impersonateAccount", bench.operator)
    other = {"from": bench.operator, "to": bench.operator, "value": "0x0"}
    bench.chain.rpc("anvil_reorg", 1, [[other, 0]])

    assert before != chain.block_hash(newest)
    assert chain.block_hash(newest) == "0x" + bench.web3.eth.get_block(newest)["hash"].hex()
    assert chain.block_hash(newest + 1) is None


# --- What the contracts say ----------------------------------------------------------------------


def test_records_tell_what_became_of_ids_at_a_block(bench: Bench, chain: Web3Chain):
    paid, voided, unused = bench.claim(new_address(), 70), new_id(), new_id()
    ids = [paid.onchain_id, voided, unused]
    before = bench.web3.eth.block_number
    bench.settle([paid])
    bench.call(bench.operator, "voidIds", [voided])
    after = bench.web3.eth.block_number

    records = chain.records(ids, settlement_address=settled_at(bench), block=after)

    payment = payment_record(from_address=paid.from_address, to_address=paid.to_address, amount=70)
    assert records == [payment, VOIDED, UNUSED]
    assert chain.records(ids, settlement_address=settled_at(bench), block=before) == [UNUSED] * 3
    assert chain.records([], settlement_address=settled_at(bench), block=after) == []


def test_many_records_are_asked_for_in_turn(bench: Bench, chain: Web3Chain, monkeypatch):
    monkeypatch.setattr(chains, "RECORDS_AT_ONCE", 2)
    items = [bench.claim(new_address(), amount) for amount in range(1, 6)]
    bench.settle(items[1:])

    records = chain.records(
        [item.onchain_id for item in items],
        settlement_address=settled_at(bench),
        block=bench.web3.eth.block_number,
    )

    assert records[0] == UNUSED
    assert records[1:] == [
        payment_record(
            from_address=item.from_address, to_address=item.to_address, amount=item.amount
        )
        for item in items[1:]
    ]


def test_events_tell_everything_in_the_order_of_the_chain(bench: Bench, chain: Web3Chain):
    first = bench.web3.eth.block_number + 1
    payee, void = new_address(), new_id()
    claim = bench.claim(payee, 5)
    unsigned = replace(bench.payment(0, payee, 1), signature=None)
    bench.settle([claim, unsigned, claim])
    bench.call(bench.operator, "voidIds", [void])
    last = bench.web3.eth.block_number

    events = chain.events(from_block=first, to_block=last, settlement_address=settled_at(bench))

    float_wallet = bench.float_wallet
    assert [
        (event.name, event.onchain_id, event.from_address, event.to_address, event.amount)
        for event in events
    ] == [
        ("Transfer", None, float_wallet, payee, 5),
        ("Settled", claim.onchain_id, float_wallet, payee, 5),
        ("Failed", unsigned.onchain_id, None, None, None),
        ("Skipped", claim.onchain_id, None, None, None),
        ("Voided", void, None, None, None),
    ]
    assert [(event.block_number, event.log_index) for event in events] == [
        (first, 0),
        (first, 1),
        (first, 2),
        (first, 3),
        (last, 0),
    ]
    assert {event.block_hash for event in events[:4]} == {chain.block_hash(first)}
    receipt = chain.receipts([events[1].tx_hash])[events[1].tx_hash]
    assert receipt.outcomes[unsigned.onchain_id].event == "Failed"
    bench.chain.mine()
    nothing = chain.events(
        from_block=last + 1, to_block=last + 1, settlement_address=settled_at(bench)
    )
    assert nothing == []


def test_transfers_that_others_make_are_events_too(bench: Bench, chain: Web3Chain):
    payee = new_address()
    data = bench.kcash.encode_abi("transfer", args=[bench.web3.to_checksum_address(payee), 9])
    bench.chain.rpc("anvil_impersonateAccount", bench.admin)
    tx_hash = bench.chain.rpc(
        "eth_sendTransaction", {"from": bench.admin, "to": bench.kcash.address, "data": data}
    )
    block = bench.web3.eth.wait_for_transaction_receipt(tx_hash)["blockNumber"]

    events = chain.events(from_block=block, to_block=block, settlement_address=settled_at(bench))

    assert events == [
        Event(
            name="Transfer",
            tx_hash=tx_hash,
            log_index=0,
            block_number=block,
            block_hash=chain.block_hash(block) or "",
            from_address=bench.admin.lower(),
            to_address=payee,
            amount=9,
        )
    ]


def test_the_payment_of_an_id_is_found_however_long_ago(bench: Bench):
    network = replace(networks.of(31337), log_blocks=3)
    chain = Web3Chain(bench.chain.url, kcash_address=django_settings.KCASH_ADDRESS, network=network)
    item = bench.claim(new_address(), 5)
    bench.settle([item])
    paid_in = bench.web3.eth.block_number
    bench.chain.mine(7)
    where = {"settlement_address": settled_at(bench)}

    receipt = chain.settled(item.onchain_id, **where, block=bench.web3.eth.block_number)

    assert receipt is not None
    assert (receipt.block_number, receipt.outcomes) == (
        paid_in,
        {item.onchain_id: Outcome("Settled")},
    )
    assert chain.settled(item.onchain_id, **where, block=paid_in - 1) is None


def test_figures(bench: Bench, chain: Web3Chain):
    bench.chain.rpc("anvil_setBalance", bench.operator, hex(12_345))
    block = bench.web3.eth.block_number

    assert chain.gas_balance(bench.operator.lower()) == 12_345
    assert chain.total_supply(block=block) == bench.kcash.functions.totalSupply().call()
    assert chain.float_wallet(settled_at(bench)) == bench.float_wallet
    assert chain.token(settled_at(bench)) == bench.kcash.address.lower()
    assert chain.code(settled_at(bench)) == bytes(bench.web3.eth.get_code(bench.settlement.address))
    assert chain.code(new_address()) == b""


# --- Trying a batch out --------------------------------------------------------------------------


def preflight(bench: Bench, chain: Web3Chain, items, *, sender=None, gas=GAS):
    return chain.preflight(
        calldata.settle(items),
        from_address=(sender or bench.operator).lower(),
        settlement_address=settled_at(bench),
        gas=gas,
    )


def test_a_preflight_foresees_each_item_and_moves_nothing(bench: Bench, chain: Web3Chain):
    payer, payee = bench.fund(0, 10), new_address()
    paid = bench.claim(payee, 1)
    bench.settle([paid])
    items = [
        bench.claim(payee, 5),
        bench.payment(0, payee, 11),
        paid,
        replace(paid, amount=2),
        replace(bench.payment(0, payee, 1), signature=None),
        bench.payment(0, payee, 10),
    ]

    foreseen = preflight(bench, chain, items)

    assert [(one.event, one.is_conflict, error_name(one.reason)) for one in foreseen] == [
        ("Settled", False, "no reason given"),
        ("Failed", False, "ERC20InsufficientBalance"),
        ("Skipped", False, "no reason given"),
        ("Skipped", True, "no reason given"),
        ("Failed", False, "BadSignature"),
        ("Settled", False, "no reason given"),
    ]
    assert (bench.balance(payer), bench.balance(payee)) == (10, 1)
    done = bench.settle(items)
    assert [event for event, _, _ in done.events] == [one.event for one in foreseen]


def test_a_preflight_foresees_that_the_whole_batch_would_be_reverted(
    bench: Bench, chain: Web3Chain
):
    items = [bench.claim(new_address(), 1) for _ in range(5)]

    with pytest.raises(CallReverted, match="StarvedOfGas"):
        preflight(bench, chain, items, gas=200_000)
    with pytest.raises(CallReverted, match="AccessControlUnauthorizedAccount"):
        preflight(bench, chain, items, sender=new_address())
    bench.call(bench.admin, "pause")
    with pytest.raises(CallReverted, match="EnforcedPause"):
        preflight(bench, chain, items)


# --- Nodes that answer badly ---------------------------------------------------------------------


class BadNode:
    """A node that answers every request with one status and body, or not before it is closed."""

    def __init__(self, status: int, body: bytes, *, answers: bool = True) -> None:
        self.may_answer = threading.Event()
        if answers:
            self.may_answer.set()
        may_answer = self.may_answer

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if not may_answer.is_set():
                    may_answer.wait()
                    return
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.may_answer.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def bad_node() -> Iterator[Any]:
    nodes = []

    def start(status: int, body: bytes, **how: Any) -> str:
        nodes.append(BadNode(status, body, **how))
        return nodes[-1].url

    yield start
    for node in nodes:
        node.close()


def node_at(url: str, second_url: str = "") -> Web3Chain:
    return Web3Chain(url, second_url=second_url, kcash_address=django_settings.KCASH_ADDRESS)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, b'{"error": "too many requests"}'),
        (500, b"oops"),
        (200, b"<html>busy</html>"),
        (200, b"\xff\xfe"),
        (200, b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "limit"}}'),
        (200, b'{"jsonrpc": "2.0", "id": 1, "result": null}'),
    ],
)
def test_whatever_is_no_answer_is_a_chain_that_is_not_available(
    bench: Bench, bad_node, status, body
):
    chain = node_at(bad_node(status, body))

    with pytest.raises(ChainUnavailable):
        chain.finalized()
    with pytest.raises(ChainUnavailable):
        chain.balances([new_address()], block=1)
    with pytest.raises(ChainUnavailable):
        chain.send(b"\x02")


def test_a_node_that_does_not_answer_is_given_up(bench: Bench, bad_node, monkeypatch):
    monkeypatch.setattr(chains, "ANSWER_SECONDS", 0.2)
    chain = node_at(bad_node(200, b"{}", answers=False))

    with pytest.raises(ChainUnavailable, match=r"[Tt]imed out"):
        chain.chain_id()


def counted() -> dict[str, int]:
    counts = node_errors.counts()
    assert counts is not None
    return {kind: number for kind, number in counts.items() if number}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, b'{"error": "too many requests"}', "http_429"),
        (403, b"{}", "http_4xx"),
        (502, b"oops", "http_5xx"),
        (200, b"<html>busy</html>", "answer"),
        (200, b"\xff\xfe", "answer"),
        (200, b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "no"}}', "answer"),
    ],
)
def test_a_failed_question_is_counted_by_how_it_failed(bench: Bench, bad_node, status, body, kind):
    chain = node_at(bad_node(status, body))

    for _ in range(2):
        with pytest.raises(ChainUnavailable):
            chain.chain_id()

    assert counted() == {kind: 2}


def test_a_node_that_is_away_or_slow_is_counted_apart(bench: Bench, bad_node, monkeypatch):
    monkeypatch.setattr(chains, "ANSWER_SECONDS", 0.2)
    slow, away = bad_node(200, b"{}", answers=False), f"http://127.0.0.1:{free_port()}"

    for url in (slow, away, away, bench.chain.url):
        with suppress(ChainUnavailable):
            node_at(url).chain_id()

    assert counted() == {"timeout": 1, "connection": 2}


def test_what_cannot_be_counted_fails_as_before(bench: Bench, valkey_away, caplog):
    with pytest.raises(ChainUnavailable, match="ConnectionError"):
        node_at(f"http://127.0.0.1:{free_port()}").chain_id()

    assert node_errors.counts() is None
    assert "a node's error is not counted" in caplog.text


def test_the_second_node_is_asked_while_the_first_is_out_of_reach(bench: Bench, bad_node):
    chain = node_at(bad_node(500, b""), bench.chain.url)

    with pytest.raises(ChainUnavailable):
        chain.chain_id()

    assert chain.chain_id() == 31337
    assert chain.finalized_block() == node_at(bench.chain.url).finalized_block()


def test_an_error_that_the_node_tells_is_an_answer(bench: Bench):
    chain = node_at(bench.chain.url, f"http://127.0.0.1:{free_port()}")

    with pytest.raises(ChainUnavailable):
        chain.send(b"\x02\x00")

    assert chain.chain_id() == 31337


# --- Is a nonce lost for good --------------------------------------------------------------------


def use_nonce(bench: Bench) -> tuple[int, str]:
    """A transaction of the operator's address that is none of ours: its nonce and hash."""
    nonce = bench.web3.eth.get_transaction_count(bench.operator)
    bench.chain.rpc("anvil_impersonateAccount", bench.operator)
    bench.chain.rpc("anvil_setBalance", bench.operator, hex(10**24))
    tx_hash = bench.chain.rpc(
        "eth_sendTransaction", {"from": bench.operator, "to": bench.operator, "value": "0x0"}
    )
    bench.web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)
    return nonce, tx_hash


def is_lost(bench: Bench, chain: Web3Chain, nonce: int, *tx_hashes: str) -> bool:
    return chain.is_lost(address=bench.operator.lower(), nonce=nonce, tx_hashes=tx_hashes)


def test_a_nonce_is_lost_once_another_transaction_with_it_is_final(bench: Bench, chain: Web3Chain):
    nonce, used_by = use_nonce(bench)
    ours = new_id()

    assert not is_lost(bench, chain, nonce, ours)
    bench.chain.mine(FINALITY_DEPTH)
    assert is_lost(bench, chain, nonce, ours)
    assert not is_lost(bench, chain, nonce, ours, used_by)
    assert not is_lost(bench, chain, nonce + 1, ours)


def test_both_nodes_have_to_say_that_a_nonce_is_lost(bench: Bench, bad_node):
    nonce, _ = use_nonce(bench)
    bench.chain.mine(FINALITY_DEPTH)
    behind = bad_node(200, b'{"jsonrpc": "2.0", "id": 1, "result": "0x1"}')

    assert is_lost(bench, node_at(bench.chain.url, bench.chain.url), nonce, new_id())
    for second in (behind, bad_node(500, b""), f"http://127.0.0.1:{free_port()}"):
        assert not is_lost(bench, node_at(bench.chain.url, second), nonce, new_id())
        assert not is_lost(bench, node_at(second, bench.chain.url), nonce, new_id())


def test_an_allowance_is_asked_for_by_the_address_that_is_stored(bench: Bench, chain: Web3Chain):
    owner = custody.custodial_address(0)
    bench.permit_many([bench.permit(0)])

    assert chain.allowance(owner, settlement_address=settled_at(bench)) == 2**256 - 1
