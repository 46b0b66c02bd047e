"""One fault test's world: a chain that mines by itself, a bad line to it, a clock that runs fast,
worker processes, and customers who go through the product's own functions.
"""

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.transaction import atomic
from django.utils import timezone
from eth_account import Account
from web3 import Web3

from kgen.local.devchain import FINALITY_DEPTH, DevChainError
from wallet.models import Payout, Wallet, WalletTransaction
from wallet.settlement.tests.faults.books import assert_books_equal_chain
from wallet.settlement.tests.faults.herd import Herd, Worker
from wallet.settlement.tests.faults.proxy import FaultProxy
from wallet.tests.chain import Bench, new_address
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import give_bonus
from wallet.tests.signer import Signer

# Seconds of the engine's clock in one of ours: it resends after 6 s and offers more after 30 s.
SPEED = 20
BLOCK_SECONDS = 0.1

# What strangers offer for gas: no base fee keeps it waiting, and no lane outbids it.
DEAR = {"maxFeePerGas": hex(10**13), "maxPriorityFeePerGas": hex(10**12)}

# What a worker process must be told; all else it has from the same settings.
_SETTINGS = ("KCASH_ADDRESS", "SETTLEMENT_ADDRESS")


class Miner:
    """Mines a block every moment, empty or not, until it is told to rest."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._is_on = threading.Event()
        self._is_over = threading.Event()
        # Held while a block is made, so that whoever needs the chain to stand still can take it.
        self._lock = threading.Lock()
        bench.chain.rpc("evm_setAutomine", False)
        self._is_on.set()
        self._thread = threading.Thread(target=self._mine)
        self._thread.start()

    def rest(self) -> None:
        self._is_on.clear()
        with self._lock:
            pass

    def go_on(self) -> None:
        self._is_on.set()

    @contextmanager
    def resting(self):
        self.rest()
        try:
            yield
        finally:
            self.go_on()

    def close(self) -> None:
        self._is_over.set()
        self._is_on.set()
        self._thread.join()
        self._bench.chain.rpc("evm_setAutomine", True)

    def _mine(self) -> None:
        while not self._is_over.wait(BLOCK_SECONDS):
            with self._lock:
                if self._is_on.is_set():
                    self._bench.chain.mine()


class Rig:
    def __init__(self, bench: Bench, herd: Herd) -> None:
        self.bench = bench
        self.proxy = FaultProxy(bench.chain.url)
        self.second: FaultProxy | None = None
        self.signer: Signer | None = None
        self.miner = Miner(bench)
        self.workers: list[Worker] = []
        self._herd = herd
        self._base, self._started = timezone.now(), time.time()

    def now(self) -> datetime:
        return self._base + timedelta(seconds=(time.time() - self._started) * SPEED)

    # --- Customers

    def crowd(self, size: int) -> list[Wallet]:
        """Wallets that wait for their welcome bonus on the chain."""
        with atomic():
            wallets = [WalletFactory.create(now=self.now()) for _ in range(size)]
            for wallet in wallets:
                give_bonus(wallet)
        return wallets

    # --- Workers

    def work(self, count: int = 1, **order: Any) -> list[Worker]:
        """Start workers of one lane, that of `key` or of OPERATOR_KEY.

        `point` and `time`, or `rate` and `seed`, say when they die.
        """
        login = {
            name: connection.settings_dict[name]
            for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")
        }
        started = [
            self._herd.start(
                database=login,
                settings={
                    **{name: getattr(settings, name) for name in _SETTINGS},
                    "CHAIN_RPC_URL": self.proxy.url,
                    "SIGNER_SOCKET": str(self.signer.socket) if self.signer else "",
                    "CHAIN_RPC_URL_2": self.second.url if self.second else "",
                    **({"CUSTODY_SEED": ""} if self.signer else {}),
                },
                clock=(self._base.isoformat(), self._started, SPEED),
                **order,
            )
            for _ in range(count)
        ]
        self.workers += started
        return started

    def wait_for_death(self, worker: Worker, *, seconds: float = 30) -> None:
        self._herd.wait_for_end(worker, seconds=seconds)

    def stop(self) -> None:
        self._herd.stop(*self.workers)

    # --- The chain

    def open_second_node(self) -> FaultProxy:
        """The line to another node, for the workers that are started from now on.

        Behind both lines is one and the same: the nodes differ in what their lines make of it.
        """
        self.second = FaultProxy(self.bench.chain.url)
        return self.second

    def start_signer(self, folder: Path) -> Signer:
        """Gamers' keys in a process of their own, for the workers that are started from now on.

        These are not given the seed.
        """
        self.signer = Signer(folder)
        self.signer.start()
        return self.signer

    def open_second_lane(self) -> str:
        """The key of another operator, which may work from now on."""
        key = "04" * 32
        self._let_operate(Account.from_key(key).address)
        return key

    def admit_stranger(self) -> str:
        """The address of somebody else who may call the contract; no lane of ours knows of it."""
        address = Web3.to_checksum_address(new_address())
        self._let_operate(address)
        self.bench.chain.rpc("anvil_impersonateAccount", address)
        return address

    def fence(self, onchain_id: str, *, by: str) -> None:
        """Somebody voids an id on the chain; before its payment, or after it, or never."""
        data = self.bench.settlement.encode_abi("voidIds", args=[[onchain_id]])
        call = {"from": by, "to": self.bench.settlement.address, "data": data, "gas": hex(200_000)}
        self.bench.chain.rpc("eth_sendTransaction", call | DEAR)

    def take_nonce(self, operator: str, nonce: int) -> bool:
        """Somebody with a lane's key sends something else with a nonce, if it is still to be had."""
        bench = self.bench
        bench.chain.rpc("anvil_impersonateAccount", operator)
        call = {"from": operator, "to": operator, "nonce": hex(nonce), "gas": hex(21_000)}
        try:
            bench.chain.rpc("eth_sendTransaction", call | DEAR)
        except DevChainError:
            return False
        return True

    def _let_operate(self, address: str) -> None:
        bench = self.bench
        bench.chain.rpc("anvil_setBalance", address, hex(10**24))
        role = bench.settlement.functions.OPERATOR().call()
        assert bench.call(bench.admin, "grantRole", role, address).is_success
        bench.chain.mine(FINALITY_DEPTH)  # a reorg would take it back

    def reorg(self, depth: int) -> None:
        """The newest blocks are replaced by empty ones; nobody sends again what was in them."""
        with self.miner.resting():
            self.bench.chain.rpc("anvil_reorg", depth, [])

    def pool_is_empty(self) -> bool:
        waiting = self.bench.chain.rpc("txpool_status")
        return bool(waiting == {"pending": "0x0", "queued": "0x0"})

    # --- Rest

    def wait(self, until: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
        self._herd.wait(until, what, seconds=seconds)

    def settle(self, *, seconds: float = 60, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Let the workers go on until every transaction is on the chain, finally; then end them.

        `meanwhile` is what staff have to do for that.
        """

        def is_over() -> bool:
            meanwhile()
            return is_settled()

        try:
            self.wait(is_over, "everything to be settled", seconds=seconds)
        except AssertionError as problem:
            raise AssertionError(f"{problem}; {_where_things_stand()}") from None
        self.stop()

    def assert_books_equal_chain(self, **allowed: Any) -> None:
        assert_books_equal_chain(self.bench, **allowed)

    def close(self) -> None:
        try:
            self.stop()
        finally:
            self.miner.close()
            self.proxy.close()
            if self.signer is not None:
                self.signer.close()
            if self.second is not None:
                self.second.close()


def is_settled() -> bool:
    """Asked of the database anew each time: the workers commit."""
    waiting = WalletTransaction.objects.exclude(sync_status="COMPLETED").exists()
    return not waiting and not Payout.objects.exclude(state__in=["COMPLETED", "VOIDED"]).exists()


def _where_things_stand() -> str:
    rows = Payout.objects.values_list("state", "error").distinct()
    return f"payouts are {sorted(rows)}"
