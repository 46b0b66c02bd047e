"""T1, T9 and T15: everything at once, at random, and each payout is paid or voided once.

Its seed is printed, and `CHAOS_SEED` runs it again; `make chaos` runs the long one.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db.models import QuerySet
from django.db.transaction import atomic

from wallet.models import Attempt, Payout, Slot, Wallet, WalletTransaction
from wallet.settlement import voiding
from wallet.settlement.batching import ENDED
from wallet.settlement.tests.faults.herd import Worker
from wallet.settlement.tests.faults.proxy import Fault
from wallet.settlement.tests.faults.rig import Rig
from wallet.tests.settling import join, win, withdraw
from wallet.tests.signer import Signer

pytestmark = pytest.mark.chaos

PAYOUTS = int(os.environ.get("CHAOS_PAYOUTS", "100"))
FAULTS = int(os.environ.get("CHAOS_FAULTS", "60"))
VOIDS = PAYOUTS // 20  # of each sort
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)

State = Payout.State

KILL_AT_A_POINT = 0.06
SIGNER_RETURNS = 0.1
# The longest queue of unpaid payouts before the next customers come: slots stay small and many.
QUEUE = max(30, PAYOUTS // 10)
LINE = {
    Fault.CALL_LOST: 0.002,
    Fault.REPLY_LOST: 0.004,
    Fault.TOO_MANY_REQUESTS: 0.002,
    Fault.SERVER_ERROR: 0.002,
    Fault.SLOW: 0.002,
    Fault.STALE: 0.01,
}
TROUBLES = [(number, fault) for number in (0, 1) for fault in (Fault.AWAY, Fault.FORGETFUL)]
# Longer than both nodes take to answer one question, of which a call or two may be slow.
QUESTION_SECONDS = 1.0


class Chaos:
    """What goes wrong, and what customers do meanwhile."""

    def __init__(self, rig: Rig, signer: Signer, *, seed: int) -> None:
        self.rig, self.signer = rig, signer
        self.dice = random.Random(seed)  # noqa: S311 - dice
        self.happened: Counter[str] = Counter()
        self.wallets: list[Wallet] = []
        # Two lanes, each of one worker after the other; both carry payouts of any wallet.
        self.lanes: dict[str | None, Worker | None] = {None: None, rig.open_second_lane(): None}
        self.nodes = (rig.proxy, rig.open_second_node())
        self.stranger = rig.admit_stranger()
        self.is_signer_killed = self.is_node_troubled = False
        self.nodes_well_since = 0.0
        self.ids_voided = self.voids_refused = 0

    # --- Faults

    def step(self) -> None:
        self.replace_the_dead()
        chances: list[tuple[float, Callable[[], None]]] = [
            (0.01, self.kill_somebody),
            (0.02, self.reorganise),
            (0.01, self.forget_the_pool),
            (0.01, self.raise_the_base_fee),
            (0.02, self.kill_the_signer),
            (0.02, self.take_a_nonce),
            (0.08, self.trouble_a_node),
            (0.1, self.void_an_id),
            (0.1, self.void_a_withdrawal),
        ]
        for chance, fault in chances:
            if self.dice.random() < chance:
                fault()
        if self.is_signer_killed and self.dice.random() < SIGNER_RETURNS:
            self.signer.begin()
            self.is_signer_killed = False
        self.void_what_needs_a_person()

    def replace_the_dead(self) -> None:
        for key, worker in self.lanes.items():
            if worker is not None and not worker.is_alive:
                self.rig.wait_for_death(worker)  # of nothing but SIGKILL
            if worker is None or not worker.is_alive:
                seed = self.dice.randrange(10**9)
                [self.lanes[key]] = self.rig.work(key=key, rate=KILL_AT_A_POINT, seed=seed)

    def kill_somebody(self) -> None:
        alive = [worker for worker in self.rig.workers if worker.is_alive]
        if alive:
            self.dice.choice(alive).kill()
            self.happened["killed anywhere"] += 1

    def reorganise(self) -> None:
        self.rig.reorg(self.dice.randint(1, 3))
        self.happened["reorg"] += 1

    def forget_the_pool(self) -> None:
        self.rig.bench.chain.rpc("anvil_dropAllTransactions")
        self.happened["pool forgotten"] += 1

    def raise_the_base_fee(self) -> None:
        self.rig.bench.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(20 * 10**9))
        self.happened["base fee raised"] += 1

    def kill_the_signer(self) -> None:
        """It may be in the middle of a signature, or not even listen yet."""
        if not self.is_signer_killed:
            # Whatever else ends it is a fault of ours.
            assert self.signer.stop(signal.SIGKILL) == -signal.SIGKILL
            self.is_signer_killed = True
            self.happened["signer killed"] += 1

    def take_a_nonce(self) -> None:
        """One that a lane has given to a slot: the slot is dead once both nodes say so."""
        waiting = Slot.objects.filter(state=Slot.State.OPEN, mined_block__isnull=True)
        slot = waiting.select_related("operator").order_by("operator", "nonce").first()
        if slot is not None and self.rig.take_nonce(slot.operator.address, slot.nonce):
            self.happened["nonce taken"] += 1

    def trouble_a_node(self) -> None:
        """Of the two one may be away, or be wrong about what was mined, and then recovers.

        Never both while one question is answered: what every node says wrongly is believed.
        """
        if self.is_node_troubled:
            for node in self.nodes:
                node.recover()
            self.is_node_troubled, self.nodes_well_since = False, time.monotonic()
        elif time.monotonic() - self.nodes_well_since > QUESTION_SECONDS:
            number, fault = self.dice.choice(TROUBLES)
            methods = ["eth_getTransactionReceipt"] if fault == Fault.FORGETFUL else []
            self.nodes[number].always(fault, *methods)
            self.happened[f"node {number + 1} {fault}"] += 1
            self.is_node_troubled = True

    def void_an_id(self) -> None:
        """Beside the lanes, and beside the payment: whichever the chain has first is the end."""
        under_way = Payout.objects.filter(state__in=[State.SUBMITTED, State.CONFIRMING])
        ids = list(under_way.order_by("pk").values_list("onchain_id", flat=True))
        if ids:
            self.rig.fence(str(self.dice.choice(ids)), by=self.stranger)
            self.ids_voided += 1

    # --- Staff

    def void_a_withdrawal(self) -> None:
        """A new one, most likely; a lane may have it in hand just now."""
        withdrawals = Payout.objects.filter(kind=Payout.Kind.WITHDRAW)
        waiting = withdrawals.exclude(state__in=ENDED).order_by("-pk")[:3]
        if waiting:
            self.void(self.dice.choice(waiting))

    def void_what_needs_a_person(self) -> None:
        for payout in Payout.objects.filter(state=State.REVIEW):
            self.void(payout)

    def void(self, payout: Payout) -> None:
        try:
            voiding.begin_void(payout_uid=payout.pk, by="fay", reason="a storm", now=self.rig.now())
        except voiding.NotVoidable:
            self.voids_refused += 1

    # --- Customers

    def customers(self) -> None:
        """New ones with a bonus; old ones pay an entry fee, win, or withdraw what they won."""
        self.wallets += self.rig.crowd(10)
        for wallet in self.dice.sample(self.wallets, k=min(10, len(self.wallets))):
            with atomic():
                match self.dice.randrange(3):
                    case 0 if wallet.last_seq < 4:
                        join(wallet, 10)
                    case 1:
                        win(wallet, 7)
                    case 2 if not self.has_withdrawn(wallet):
                        withdraw(wallet, 30)

    def has_withdrawn(self, wallet: Wallet) -> bool:
        """One whose withdrawal was voided may withdraw what came back."""
        withdrawals = wallet.payouts.filter(kind=Payout.Kind.WITHDRAW)
        return withdrawals.exclude(state=State.VOIDED).exists()

    # --- What happened

    def faults(self) -> Counter[str]:
        at_points = Counter(
            f"killed {worker.point}" for worker in self.rig.workers if worker.point is not None
        )
        lines = Counter(
            {f"line: {fault}": sum(node.seen[fault] for node in self.nodes) for fault in LINE}
        )
        return self.happened + at_points + lines


def voided_at_once() -> QuerySet[Payout]:
    return Payout.objects.filter(state=State.VOIDED, onchain_id__isnull=True)


def voided_on_chain() -> QuerySet[Payout]:
    return Payout.objects.filter(state=State.VOIDED, onchain_id__isnull=False)


def test_each_payout_is_paid_or_voided_once_whatever_happens(rig: Rig, tmp_path: Path):
    started = time.monotonic()
    chaos = Chaos(rig, rig.start_signer(tmp_path), seed=SEED)
    for number, node in enumerate(chaos.nodes):
        node.at_random(LINE, seed=SEED + number)
    print(f"\nchaos: seed {SEED}")  # noqa: T201 - to run it again

    while (
        Payout.objects.count() < PAYOUTS
        or chaos.faults().total() < FAULTS
        or min(voided_at_once().count(), voided_on_chain().count()) < VOIDS
    ):
        if WalletTransaction.objects.exclude(sync_status="COMPLETED").count() < QUEUE:
            chaos.customers()
        chaos.step()
        time.sleep(0.02)
    for node in chaos.nodes:
        node.heal()
    rig.stop()
    if chaos.is_signer_killed:
        chaos.signer.start()
    for key in chaos.lanes:
        rig.work(key=key)
    rig.settle(seconds=300, meanwhile=chaos.void_what_needs_a_person)

    rig.assert_books_equal_chain()
    faults = chaos.faults()
    print(  # noqa: T201 - what this run has proven
        f"chaos: {Payout.objects.count()} payouts in {Slot.objects.count()} slots and "
        f"{Attempt.objects.count()} attempts, each paid or voided once; {faults.total()} faults in "
        f"{time.monotonic() - started:.0f} s:",
        *(f"  {often:4} {fault}" for fault, often in sorted(faults.items())),
        f"  {Slot.objects.filter(state='DEAD').count():4} slots dead",
        f"  {voided_at_once().count():4} voided at once",
        f"  {voided_on_chain().count():4} voided on the chain, of {chaos.ids_voided} ids",
        f"  {chaos.voids_refused:4} voids refused",
        sep="\n",
    )
