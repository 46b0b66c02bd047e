"""Worker processes that settle until they are killed.

Loading Django and web3 takes seconds, so this process loads them once and forks a worker for each
line of JSON on its standard input. It says what becomes of them in lines of JSON, too:

    {"worker": 1, "pid": 4711}               it runs
    {"worker": 1, "point": "during build"}   it kills itself here, now
    {"worker": 1, "status": -9}              it has ended: a signal as a negative number

The product knows nothing of this: what a point stands for is wrapped here, by name.
"""

import contextlib
import functools
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from django.conf import settings
from django.db import connection

from kgen.local.processes import die_with_parent
from wallet import ledger
from wallet.models import Attempt, Slot
from wallet.settlement import chain, lane, signing
from wallet.settlement.chain import ChainUnavailable, Receipt, Web3Chain
from wallet.settlement.signing import EnvironmentOperator, SignedTransaction, SignerUnavailable
from wallet.settlement.tests.faults import naive
from wallet.settlement.tests.faults.points import Point

Function = Callable[..., Any]

PAUSE_SECONDS = 0.02


class Death:
    """When this worker dies: at a point, the nth time that it gets there, or by dice."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._worker = order["worker"]
        self._point, self._time = order.get("point"), order.get("time", 1)
        self._rate = order.get("rate", 0.0)
        self._dice = random.Random(order.get("seed", 0))  # noqa: S311 - dice
        self._reached: Counter[str] = Counter()

    def at(self, point: str) -> None:
        self._reached[point] += 1
        if self._point == point and self._reached[point] == self._time:
            self._die(point)
        if self._rate and self._dice.random() < self._rate:
            self._die(point)

    def _die(self, point: str) -> NoReturn:
        say(worker=self._worker, point=point)
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit  # never reached


class MortalChain(Web3Chain):
    def __init__(self, death: Death) -> None:
        super().__init__(
            settings.CHAIN_RPC_URL,
            second_url=settings.CHAIN_RPC_URL_2,
            kcash_address=settings.KCASH_ADDRESS,
        )
        self._death = death
        self._finalized = -1

    def finalized_block(self) -> int:
        self._finalized = super().finalized_block()
        return self._finalized

    def send(self, raw: bytes) -> None:
        attempt = Attempt.objects.get(raw=raw)
        if attempt.first_sent_at is None:
            self._death.at(Point.BUMP_STORED if attempt.seq else Point.AFTER_BUILD)
        try:
            super().send(raw)
        except ChainUnavailable:
            self._death.at(Point.REPLY_LOST)
            raise
        self._death.at(Point.AFTER_SEND)

    def receipts(self, tx_hashes: Sequence[str]) -> Mapping[str, Receipt]:
        receipts = super().receipts(tx_hashes)
        if any(receipt.block_number <= self._finalized for receipt in receipts.values()):
            self._death.at(Point.BEFORE_FINISH)
        return receipts


class MortalOperator(EnvironmentOperator):
    def __init__(self, key: str | None, death: Death) -> None:
        super().__init__(key)
        self._death = death

    def sign_call(
        self, *, nonce: int, to: str, data: bytes, gas: int, max_fee: int, priority_fee: int
    ) -> SignedTransaction:
        self._death.at(Point.BEFORE_SIGNING)
        return super().sign_call(
            nonce=nonce, to=to, data=data, gas=gas, max_fee=max_fee, priority_fee=priority_fee
        )


def wrap_what_writes(death: Death) -> None:
    def save_slot(save: Function, slot: Slot, *arguments: Any, **named: Any) -> None:
        is_new = slot._state.adding
        save(slot, *arguments, **named)
        if is_new:
            death.at(Point.DURING_BUILD)  # what was written is not committed yet

    def book(confirm_each_on_chain: Function, confirmations: Sequence[Any]) -> None:
        confirm_each_on_chain(confirmations)
        death.at(Point.INSIDE_FINISH)

    def finish(confirm: Function, **named: Any) -> Any:
        look = confirm(**named)
        if look.closed:
            death.at(Point.AFTER_FINISH)
        return look

    wrap(Slot, "save", save_slot)
    wrap(ledger, "confirm_each_on_chain", book)
    wrap(lane, "confirm", finish)


def wrap(owner: Any, name: str, wrapper: Function) -> None:
    wrapped = getattr(owner, name)

    def wrapping(*arguments: Any, **named: Any) -> Any:
        return wrapper(wrapped, *arguments, **named)

    setattr(owner, name, functools.wraps(wrapped)(wrapping))


def settle(order: dict[str, Any], death: Death) -> None:
    """Tick after tick, as the beat would have it; a node that does not answer is for the next one."""
    wrap_what_writes(death)
    node, custodian = MortalChain(death), signing.custodian()
    signer = MortalOperator(order.get("key"), death)
    base, started, speed = order["clock"]
    while True:
        elapsed = timedelta(seconds=(time.time() - started) * speed)
        now = datetime.fromisoformat(base) + elapsed
        with contextlib.suppress(ChainUnavailable, SignerUnavailable):
            lane.tick(chain=node, signer=signer, custodian=custodian, now=now)
        time.sleep(PAUSE_SECONDS)


def work(order: dict[str, Any]) -> NoReturn:
    try:
        die_with_parent(signal.SIGKILL)
        for name, value in order["settings"].items():
            setattr(settings, name, value)
        connection.settings_dict.update(order["database"])
        if "patience" in order:
            setattr(chain, "ANSWER_SECONDS", order["patience"])  # noqa: B010 - final for the product
        death = Death(order)
        if order.get("naive"):
            naive.settle(death)
        else:
            settle(order, death)
    except BaseException:  # noqa: BLE001 - told to the test, which fails by it
        traceback.print_exc()
    os._exit(1)


def say(**message: Any) -> None:
    # One write of one short line: several processes share the pipe.
    os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def main() -> None:
    workers: dict[int, int] = {}
    orders = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    while True:
        if select.select([orders], [], [], 0.01)[0]:
            line = orders.readline()
            if not line:
                return  # the test run has ended, and the workers with us
            order = json.loads(line)
            pid = os.fork()
            if pid == 0:
                work(order)
            workers[pid] = order["worker"]
            say(worker=order["worker"], pid=pid)
        while workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            say(worker=workers.pop(pid), status=os.waitstatus_to_exitcode(status))
