"""How fast payouts come to finality on anvil: lanes that settle batches, against one by one.

The loop that everybody writes first asks for nonce, price and gas, signs, sends and waits for the
receipt, of one transfer at a time. It counts up to its receipt; the lanes count up to the final
block, with everything booked. Both in the same run, on the same server and the same chain, so that
a busy machine slows both alike: what counts is the ratio.
"""

import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from eth_typing import HexStr
from web3 import HTTPProvider, Web3

from benchmarks import databases
from benchmarks.crowd import open_wallets
from benchmarks.reports import Goal, Report
from kgen.common.identifiers import uuid7
from kgen.local.devchain import Anvil, DevChain
from kgen.local.processes import free_port, stop, wait_until
from wallet import claims, ledger, welcome_bonus
from wallet.contracts import artifact
from wallet.models import Payout, Slot, Wallet, WalletTransaction
from wallet.settlement import lane
from wallet.settlement.chain import Web3Chain
from wallet.settlement.deploying import deploy
from wallet.settlement.signing import EnvironmentCustodian, EnvironmentOperator
from wallet.settlement.submitting import BATCH
from wallet.tests.chain import Bench

# Room for eleven full batches to new recipients: what is measured is the engine, not the block.
BLOCK_GAS = 60_000_000
# Between two ticks of a lane, half of what the schedule has: the lanes share the machine.
PAUSE_SECONDS = 1.0
GIVE_UP_SECONDS = 600
POLL_SECONDS = 0.2

Completed = WalletTransaction.SyncStatus.COMPLETED


def measure(options: Sequence[str]) -> Report:
    parser = ArgumentParser(prog="python -m benchmarks settlement", description=__doc__)
    parser.add_argument("--lanes", type=int, default=12, help="where there are several")
    parser.add_argument("--payouts", type=int, default=12000, help="of several lanes")
    parser.add_argument("--rounds", type=int, default=3, help="with blocks at once")
    given = parser.parse_args(options)

    databases.migrate()
    settings.NET_WINDOW_SECONDS = 0
    report = Report(
        f"Payouts to finality, batches of {BATCH}",
        (
            "blocks",
            "what",
            "lanes",
            "payouts",
            "seconds",
            "payouts/s",
            "per lane",
            "CPU ms each",
            "load",
        ),
    )
    with a_chain() as bench:
        wallets = given.payouts + 1100 * given.rounds + 2600
        settler = Settler(bench, report, lanes=given.lanes, wallets=wallets)
        every_second(settler, payouts=given.payouts)
        at_once(settler, rounds=given.rounds)
        gas(settler)
    report.notes += [
        f"Blocks of {BLOCK_GAS // 10**6} million gas. A final block has four others on top.",
        "Load is the machine's, over the last minute; it has the cores that the JSON says.",
    ]
    return report


@contextmanager
def a_chain() -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="kgen-benchmark-", dir="/var/tmp"))
    server, log = Anvil(port=free_port(), folder=folder), folder / "anvil.log"
    process = server.start(log, "--gas-limit", str(BLOCK_GAS))
    try:
        wait_until(server.is_ready, process=process, name="anvil", log=log)
        contracts = deploy(
            server.chain.url,
            admin_key=settings.ADMIN_KEY,
            float_key=settings.FLOAT_KEY,
            operator_address=EnvironmentOperator().address,
        )
        settings.CHAIN_RPC_URL = server.chain.url
        settings.KCASH_ADDRESS = contracts.kcash
        settings.SETTLEMENT_ADDRESS = contracts.settlement
        yield Bench(server.chain, contracts)
    finally:
        stop(process, server.stop_signal, seconds=5)
        shutil.rmtree(folder, ignore_errors=True)


# --- One turn ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    payouts: int
    seconds: float
    # Of the processor, without what PostgreSQL and anvil use of it.
    cpu: float

    @property
    def rate(self) -> float:
        return self.payouts / self.seconds


class Settler:
    """Turns on one chain and one database, each with its own new wallets."""

    def __init__(self, bench: Bench, report: Report, *, lanes: int, wallets: int) -> None:
        self.bench, self.report = bench, report
        self.wallets = iter(open_wallets(wallets))
        self.keys = [keccak(b"lane %d" % number).hex() for number in range(lanes)]
        role = bench.settlement.functions.OPERATOR().call()
        for key in self.keys:
            address = Account.from_key(key).address
            assert bench.call(bench.admin, "grantRole", role, address).is_success
            bench.chain.rpc("anvil_setBalance", address, hex(10**24))

    def lanes(self, blocks: str, *, lanes: int, payouts: int) -> Turn:
        self.wait_for_bonuses(payouts)
        return self.settle(blocks, lanes=lanes, payouts=payouts)

    def settle(self, blocks: str, *, lanes: int, payouts: int) -> Turn:
        """What waits, until all of it is final."""
        connection.close()
        processes = multiprocessing.get_context("fork")
        ready, is_over, used = processes.Barrier(lanes + 1), processes.Event(), processes.Queue()
        workers = [
            processes.Process(target=_work, args=(key, ready, is_over, used))
            for key in self.keys[:lanes]
        ]
        for worker in workers:
            worker.start()
        ready.wait(timeout=GIVE_UP_SECONDS)
        began = time.perf_counter()
        try:
            _wait_until(is_settled)
            seconds = time.perf_counter() - began
        finally:
            is_over.set()
        turn = Turn(payouts, seconds, sum(used.get(timeout=GIVE_UP_SECONDS) for _ in workers))
        for worker in workers:
            worker.join()
        return self._told(blocks, "lanes, to finality", lanes, turn)

    def one_by_one(self, blocks: str, *, payouts: int) -> Turn:
        self.wait_for_bonuses(payouts)
        payer = OneByOne(self.bench)
        began, used = time.perf_counter(), time.process_time()
        for entry in waiting().select_related("wallet").order_by("uid"):
            payer.pay(entry)
        turn = Turn(payouts, time.perf_counter() - began, time.process_time() - used)
        return self._told(blocks, "one by one, to the receipt", 1, turn)

    def wait_for_bonuses(self, count: int) -> None:
        """New wallets, each of which waits for its welcome bonus on the chain."""
        with transaction.atomic():
            for wallet in islice(self.wallets, count):
                welcome_bonus.grant(wallet=wallet, now=_long_ago())

    def _told(self, blocks: str, what: str, lanes: int, turn: Turn) -> Turn:
        self.report.rows.append(
            (
                blocks,
                what,
                lanes,
                turn.payouts,
                f"{turn.seconds:.1f}",
                f"{turn.rate:.1f}",
                f"{turn.rate / lanes:.1f}",
                f"{1000 * turn.cpu / turn.payouts:.1f}",
                f"{os.getloadavg()[0]:.0f}",
            )
        )
        print(*self.report.rows[-1], sep="  ", flush=True)
        return turn


def wait_for_claims(wallets: Sequence[Wallet]) -> None:
    with transaction.atomic():
        for wallet in wallets:
            claims.promise(wallet=wallet, amount=50, reference=uuid7())
            claims.credit(
                wallet=wallet, amount=50, reference=uuid7(), description="", now=_long_ago()
            )


def waiting() -> Any:
    return WalletTransaction.objects.exclude(sync_status=Completed)


def is_settled() -> bool:
    # The payouts alone would be quicker to ask for, but some are not made yet.
    return not waiting().exists()


def _long_ago() -> Any:
    return timezone.now() - timedelta(minutes=1)


def _wait_until(done: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + GIVE_UP_SECONDS
    while not done():
        if time.perf_counter() > deadline:
            raise TimeoutError("The payouts are not settled.")
        time.sleep(POLL_SECONDS)


# --- Who settles ---------------------------------------------------------------------------------


def _work(key: str, ready: Any, is_over: Any, used: Any) -> None:
    node = Web3Chain(settings.CHAIN_RPC_URL, kcash_address=settings.KCASH_ADDRESS)
    signer, custodian = EnvironmentOperator(key), EnvironmentCustodian()
    lane.open_lane(chain=node, signer=signer)
    ready.wait(timeout=GIVE_UP_SECONDS)
    before = time.process_time()
    while not is_over.is_set():
        lane.tick(chain=node, signer=signer, custodian=custodian, now=timezone.now())
        time.sleep(PAUSE_SECONDS)
    used.put(time.process_time() - before)
    connection.close()


class OneByOne:
    """A transfer at a time out of the float wallet, then a line in the books."""

    def __init__(self, bench: Bench) -> None:
        self._web3 = Web3(HTTPProvider(settings.CHAIN_RPC_URL))
        self._float: LocalAccount = Account.from_key(settings.FLOAT_KEY)
        self._kcash = self._web3.eth.contract(
            address=bench.kcash.address, abi=artifact("KCash")["abi"]
        )

    def pay(self, entry: WalletTransaction) -> None:
        payer, payee = self._float.address, Web3.to_checksum_address(entry.wallet.address)
        tip = self._web3.eth.max_priority_fee
        base = self._web3.eth.get_block("latest")["baseFeePerGas"]
        # Without a price or a limit of gas of its own, web3 would ask for both once more.
        call = self._kcash.functions.transfer(payee, entry.amount).build_transaction(
            {
                "from": payer,
                "chainId": settings.CHAIN_ID,
                "nonce": self._web3.eth.get_transaction_count(payer, "pending"),
                "maxFeePerGas": 2 * base + tip,
                "maxPriorityFeePerGas": tip,
            }
        )
        sent = self._web3.eth.send_raw_transaction(
            self._float.sign_transaction(call).raw_transaction
        )
        receipt = self._web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.01)
        assert receipt["status"] == 1
        with transaction.atomic():
            WalletTransaction.objects.filter(pk=entry.pk).update(sync_status=Completed)
            ledger.confirm_on_chain(
                transaction_uid=entry.uid,
                wallet_id=entry.wallet_id,
                signed_amount=entry.signed_amount,
            )


# --- What is measured ----------------------------------------------------------------------------


@contextmanager
def blocks_every(chain: DevChain, seconds: float, *, also_at_once: bool) -> Iterator[None]:
    """A block at these intervals, empty or not; and one for each transaction when it comes."""
    is_over = threading.Event()

    def mine() -> None:
        while not is_over.wait(seconds):
            chain.mine()

    chain.rpc("evm_setAutomine", also_at_once)
    miner = threading.Thread(target=mine)
    miner.start()
    try:
        yield
    finally:
        is_over.set()
        miner.join()
        chain.rpc("evm_setAutomine", True)


def every_second(settler: Settler, *, payouts: int) -> None:
    lanes = len(settler.keys)
    with blocks_every(settler.bench.chain, 1, also_at_once=False):
        naive = settler.one_by_one("1 s", payouts=10)
        alone = settler.lanes("1 s", lanes=1, payouts=4 * BATCH)
        together = settler.lanes("1 s", lanes=lanes, payouts=payouts)
    settler.report.goals += [
        Goal("1 s blocks: one lane : one by one", alone.rate / naive.rate, 10, False),
        Goal("1 s blocks: several lanes, a second", together.rate, 400, False, "/s"),
    ]


def at_once(settler: Settler, *, rounds: int) -> None:
    """Empty blocks follow at a tenth of a second, or nothing would ever be final."""
    ratios = []
    with blocks_every(settler.bench.chain, 0.1, also_at_once=True):
        for _ in range(rounds):
            naive = settler.one_by_one("at once", payouts=100)
            ratios.append(settler.lanes("at once", lanes=1, payouts=1000).rate / naive.rate)
        settler.lanes("at once", lanes=2, payouts=2000)
    settler.report.goals.append(
        Goal("blocks at once: one lane : one by one", median(ratios), 3, False)
    )


def gas(settler: Settler) -> None:
    """Of a full batch of claims to wallets that hold KCash, and of a transfer to such a one."""
    wallets = list(Wallet.objects.order_by("pk")[:BATCH])
    wait_for_claims(wallets)
    with blocks_every(settler.bench.chain, 0.1, also_at_once=True):
        settler.settle("at once", lanes=1, payouts=BATCH)
    slot = Slot.objects.latest("pk")
    assert slot.items.count() == BATCH
    [tx_hash] = Payout.objects.filter(slot_items__slot=slot).values_list("tx_hash").distinct()[0]
    receipt = settler.bench.web3.eth.get_transaction_receipt(HexStr(str(tx_hash)))
    transfer = settler.bench.transfer(wallets[0].address, 50).gas_used
    claim = receipt["gasUsed"] / BATCH
    settler.report.notes.append(f"Gas: a claim {claim:,.0f}, a plain transfer {transfer:,}.")
    settler.report.goals.append(
        Goal("gas: a claim in a batch : a transfer", claim / transfer, 1.08, True)
    )
