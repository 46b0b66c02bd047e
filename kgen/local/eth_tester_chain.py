"""A development chain in pure Python, for a machine that anvil does not come to.

Slow, forgetful, final at once: enough for a demonstration. Needs eth-tester[py-evm], which
`EthTester` of kgen.local.devchain installs beside the project's own packages.
"""

import json
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eth_tester import EthereumTester, PyEVMBackend
from web3 import EthereumTesterProvider, Web3
from web3.datastructures import NamedElementOnion
from web3.middleware.base import Middleware

CHAIN_ID = 31337
MNEMONIC = "test test test test test test test test test test test junk"
RICHES = 10**30
ONE_GWEI = 10**9


class Chain:
    def __init__(self) -> None:
        backend = PyEVMBackend.from_mnemonic(
            MNEMONIC,
            num_accounts=10,
            hd_path="m/44'/60'/0'/0",
            genesis_state_overrides={"balance": RICHES},
        )
        type(backend.chain).chain_id = CHAIN_ID
        self._tester = EthereumTester(backend, auto_mine_transactions=True)
        self._faucet = self._tester.get_accounts()[0]
        provider = EthereumTesterProvider(self._tester)
        no_middleware: NamedElementOnion[str, Middleware] = NamedElementOnion([])
        self._request = provider.request_func(Web3(provider), no_middleware)
        self._one_at_a_time = threading.Lock()

    def answer(self, call: Mapping[str, Any]) -> dict[str, Any]:
        head = {"jsonrpc": "2.0", "id": call.get("id")}
        try:
            with self._one_at_a_time:
                return {**head, "result": plain(self._result(call["method"], call["params"]))}
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is to read it
            return {
                **head,
                "error": {"code": -32000, "message": f"{type(error).__name__}: {error}"},
            }

    def _result(self, method: str, params: list[Any]) -> Any:
        if method == "eth_chainId":
            return CHAIN_ID
        if method in ("anvil_mine", "evm_mine"):
            self._tester.mine_blocks(int(params[0], 16) if params else 1)
            return None
        if method == "hardhat_setBalance":
            gift = {
                "from": self._faucet,
                "to": params[0],
                "value": int(params[1], 16),
                "gas": 21000,
            }
            self._tester.send_transaction(gift)
            return None
        if method in ("eth_call", "eth_estimateGas"):
            params[0].setdefault("from", self._faucet)
        response = self._request(method, params)
        if response.get("error"):
            raise ValueError(response["error"])
        result: Any = response.get("result")
        if method == "eth_feeHistory":  # it has no tips to tell of
            return {**result, "reward": [[ONE_GWEI] for _ in result["gasUsedRatio"]]}
        return result


def plain(value: Any) -> Any:
    """As JSON-RPC writes it: numbers and bytes in hexadecimal."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value)
    if isinstance(value, Mapping):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    return value


def serve(port: int) -> None:
    chain = Chain()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answered = (
                [chain.answer(call) for call in asked]
                if isinstance(asked, list)
                else chain.answer(asked)
            )
            body = json.dumps(answered).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Every call of every second is not worth a line."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
