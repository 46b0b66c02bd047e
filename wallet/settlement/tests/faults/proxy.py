"""A bad line to a node: it loses, refuses, delays or dates back what it is told to, or at random."""

import json
import random
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from kgen.local.devchain import FINALITY_DEPTH
from kgen.local.processes import LOOPBACK

Call = dict[str, Any]


class Fault(StrEnum):
    NONE = "none"
    CALL_LOST = "call lost"
    REPLY_LOST = "reply lost"
    TOO_MANY_REQUESTS = "429"
    SERVER_ERROR = "500"
    SLOW = "slow"
    STALE = "stale"
    # Of a node, rather than of the line to it.
    AWAY = "away"
    FORGETFUL = "forgets receipts"


_REFUSALS: Final = {Fault.TOO_MANY_REQUESTS: 429, Fault.SERVER_ERROR: 500}
_HEADS: Final = ("latest", "pending", "safe")
# Which of a method's parameters names the block that it asks about.
_BLOCK_PARAMETER: Final = {
    "eth_call": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
    "eth_getBlockByNumber": 0,
    "eth_feeHistory": 1,
}


class FaultProxy:
    """An address that forwards JSON-RPC to a node, with faults by script or by dice.

    >>> proxy.next("eth_sendRawTransaction", Fault.REPLY_LOST)
    >>> proxy.at_random({Fault.CALL_LOST: 0.02}, seed=7)
    """

    def __init__(self, upstream: str) -> None:
        self.slow_seconds = 0.3
        self.blocks_behind = 3
        self.seen: Counter[Fault] = Counter()
        self.calls: Counter[str] = Counter()
        self._script: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._rates: Mapping[Fault, float] = {}
        self._only: Collection[str] = ()
        self._dice = random.Random(0)  # noqa: S311 - dice
        self._lock = threading.Lock()
        self._upstream = urlsplit(upstream)
        self._server = _Server((LOOPBACK, 0), _handler(self))
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # --- What goes wrong

    def next(self, method: str, *faults: Fault) -> None:
        """What happens to the next calls of a method, one after the other."""
        with self._lock:
            self._script[method] += faults

    def always(self, fault: Fault, *methods: str) -> None:
        """Until `heal`; `*` stands for every method."""
        with self._lock:
            self._always |= dict.fromkeys(methods or ("*",), fault)

    def at_random(
        self, rates: Mapping[Fault, float], *, seed: int, only: Collection[str] = ()
    ) -> None:
        """The chance of each fault for a call that no script names, of `only` these methods."""
        with self._lock:
            self._rates, self._only = rates, only
            self._dice = random.Random(seed)  # noqa: S311 - dice

    def recover(self) -> None:
        """No longer always; what is scripted or at random goes on."""
        with self._lock:
            self._always.clear()

    def heal(self) -> None:
        with self._lock:
            self._script.clear()
            self._always.clear()
            self._rates = {}

    def _fault(self, method: str) -> Fault:
        with self._lock:
            fault = self._choose(method)
            self.calls[method] += 1
            if fault != Fault.NONE:
                self.seen[fault] += 1
        return fault

    def _choose(self, method: str) -> Fault:
        if self._script[method]:
            return self._script[method].popleft()
        for name in (method, "*"):
            if name in self._always:
                return self._always[name]
        if self._only and method not in self._only:
            return Fault.NONE
        thrown = self._dice.random()
        for fault, rate in self._rates.items():
            if thrown < rate:
                return fault
            thrown -= rate
        return Fault.NONE

    # --- The node behind it

    def connect(self) -> HTTPConnection:
        return HTTPConnection(str(self._upstream.hostname), self._upstream.port, timeout=30)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients are killed in the middle of a question; that is what they are here for."""


def ask(node: HTTPConnection, body: bytes) -> bytes:
    node.request("POST", "/", body, {"Content-Type": "application/json"})
    return node.getresponse().read()


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            self.node = proxy.connect()

        def finish(self) -> None:
            self.node.close()
            super().finish()

        def do_POST(self) -> None:
            try:
                self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))
            except (OSError, ValueError):  # the client was killed, or the node has gone
                self.close_connection = True

        def _pass_on(self, body: bytes) -> None:
            asked = json.loads(body)
            calls = asked if isinstance(asked, list) else [asked]
            fault = proxy._fault(calls[0]["method"])
            if fault in _REFUSALS:
                self._answer(b"", _REFUSALS[fault])
                return
            if fault in (Fault.CALL_LOST, Fault.AWAY):
                self.close_connection = True
                return
            if fault == Fault.SLOW:
                time.sleep(proxy.slow_seconds)
            if fault == Fault.STALE:
                answers = [self._answer_from_the_past(call) for call in calls]
                answered = json.dumps(answers if isinstance(asked, list) else answers[0]).encode()
            elif fault == Fault.FORGETFUL:
                answers = [self._answer_without_receipts(call) for call in calls]
                answered = json.dumps(answers if isinstance(asked, list) else answers[0]).encode()
            else:
                answered = ask(self.node, body)
            if fault == Fault.REPLY_LOST:
                self.close_connection = True
                return
            self._answer(answered)

        def _answer(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _rpc(self, call: Call) -> Call:
            answer: Call = json.loads(ask(self.node, json.dumps(call).encode()))
            return answer

        def _answer_without_receipts(self, call: Call) -> Call:
            if call["method"] == "eth_getTransactionReceipt":
                return {"jsonrpc": "2.0", "id": call["id"], "result": None}
            return self._rpc(call)

        def _answer_from_the_past(self, call: Call) -> Call:
            """As a node that has not heard of the newest blocks yet."""
            newest = self._rpc({**call, "method": "eth_blockNumber", "params": []})
            head = max(0, int(newest["result"], 16) - proxy.blocks_behind)
            method, params = call["method"], list(call.get("params", []))
            if method == "eth_blockNumber":
                return {**newest, "result": hex(head)}
            if method == "eth_getLogs":
                to_block = params[0].get("toBlock", "latest")
                end = head if to_block in _HEADS else min(head, _number(to_block))
                return self._rpc({**call, "params": [{**params[0], "toBlock": hex(end)}]})
            if method in _BLOCK_PARAMETER:
                place = _BLOCK_PARAMETER[method]
                if params[place] in _HEADS:
                    params[place] = hex(head)
                elif params[place] == "finalized":
                    params[place] = hex(max(0, head - FINALITY_DEPTH))
                elif params[place].startswith("0x") and _number(params[place]) > head:
                    error = {"code": -32000, "message": "header not found"}
                    return {"jsonrpc": "2.0", "id": call["id"], "error": error}
                return self._rpc({**call, "params": params})
            answer = self._rpc(call)
            found = answer.get("result")
            if method == "eth_getTransactionReceipt" and found:
                return (
                    answer if _number(found["blockNumber"]) <= head else {**answer, "result": None}
                )
            return answer

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _number(quantity: str) -> int:
    return int(quantity, 16)
