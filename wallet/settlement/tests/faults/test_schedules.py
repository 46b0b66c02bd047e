"""T15: any order of customers, ticks, blocks and faults ends with every book equal to the chain."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.transaction import atomic
from web3 import Web3

from wallet.models import Wallet
from wallet.settlement.signing import SignedTransaction
from wallet.settlement.tests.faults.books import assert_books_equal_chain
from wallet.settlement.tests.faults.rig import is_settled
from wallet.tests.chain import new_address
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import Engine, give_bonus, join, lost, win, withdraw

pytestmark = pytest.mark.chaos

STEPS = 120


class Crash(Exception):
    """The process dies here."""


class World:
    """A method is something that may happen next."""

    def __init__(self, engine: Engine, *, seed: int) -> None:
        self.engine = engine
        self.dice = random.Random(seed)  # noqa: S311 - dice
        self.wallets: list[Wallet] = []
        self.withdrawn: set[int] = set()
        self.strangers: list[str] = []

    # --- Customers

    def somebody_comes(self) -> None:
        wallet = WalletFactory.create()
        give_bonus(wallet)
        self.wallets.append(wallet)

    def somebody_joins(self) -> None:
        wallet = self._somebody()
        if wallet.last_seq < 5:
            join(wallet, 10)

    def somebody_wins(self) -> None:
        win(self._somebody(), self.dice.randint(1, 100))

    def somebody_withdraws(self) -> None:
        wallet = self._somebody()
        if wallet.pk not in self.withdrawn:
            withdraw(wallet, 30)
            self.withdrawn.add(wallet.pk)

    def _somebody(self) -> Wallet:
        if not self.wallets:
            self.somebody_comes()
        return self.dice.choice(self.wallets)

    # --- The lane

    def tick(self) -> None:
        self.engine.tick()

    def time_goes_by(self) -> None:
        self.engine.now += timedelta(seconds=self.dice.randint(1, 40))

    def tick_whose_calls_are_lost(self) -> None:
        self._tick_while("before_send", lost)

    def tick_whose_replies_are_lost(self) -> None:
        self._tick_while("after_send", lost)

    def tick_that_dies_before_it_sends(self) -> None:
        self._tick_while("before_send", self._die)

    def tick_that_dies_after_it_sent(self) -> None:
        self._tick_while("after_send", self._die)

    def tick_that_dies_while_it_signs(self) -> None:
        class Dying:
            address = self.engine.signer.address

            def sign_call(self, **_call: object) -> SignedTransaction:
                raise Crash

        healthy, self.engine.signer = self.engine.signer, Dying()
        self._tick_while("before_send", None)
        self.engine.signer = healthy

    def _tick_while(self, when: str, fault: Callable[[], None] | None) -> None:
        setattr(self.engine.chain, when, fault)
        try:
            self.engine.tick()
        except Crash:
            pass
        finally:
            setattr(self.engine.chain, when, None)

    def _die(self) -> None:
        raise Crash

    # --- The chain

    def block(self) -> None:
        self.engine.mine()

    def finality(self) -> None:
        self.engine.finalize()

    def reorg(self) -> None:
        self.engine.bench.chain.rpc("anvil_reorg", self.dice.randint(1, 3), [])

    def pool_is_forgotten(self) -> None:
        self.engine.bench.chain.rpc("anvil_dropAllTransactions")

    def base_fee_jumps(self) -> None:
        self.engine.bench.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(30 * 10**9))
        self.engine.mine()

    def contract_is_paused_for_a_while(self) -> None:
        self._as_admin("pause")
        for _ in range(2):
            self.engine.tick()
            self.engine.mine()
        self._as_admin("unpause")
        self.engine.finalize()  # a reorg would pause it again

    def _as_admin(self, function: str) -> None:
        bench = self.engine.bench
        bench.chain.rpc("evm_setAutomine", True)
        bench.call(bench.admin, function)
        bench.chain.rpc("evm_setAutomine", False)

    def stranger_takes_a_nonce(self) -> None:
        bench = self.engine.bench
        claim = bench.claim(Web3.to_checksum_address(new_address()), 1)
        bench.chain.rpc("anvil_dropAllTransactions")
        bench.chain.rpc("evm_setAutomine", True)
        bench.settle([claim])
        bench.chain.rpc("evm_setAutomine", False)
        self.engine.finalize()  # a reorg would pay it under another nonce, or not at all
        self.strangers.append(claim.onchain_id)
        self.somebody_comes()  # so that the lane gets past that nonce


# How often each may happen, of all.
WEIGHTS = {
    World.tick: 12,
    World.block: 8,
    World.finality: 4,
    World.time_goes_by: 4,
    World.somebody_comes: 3,
    World.somebody_joins: 3,
    World.somebody_wins: 3,
    World.somebody_withdraws: 2,
    World.tick_whose_calls_are_lost: 2,
    World.tick_whose_replies_are_lost: 2,
    World.tick_that_dies_before_it_sends: 2,
    World.tick_that_dies_after_it_sent: 2,
    World.tick_that_dies_while_it_signs: 1,
    World.reorg: 3,
    World.pool_is_forgotten: 2,
    World.base_fee_jumps: 1,
    World.contract_is_paused_for_a_while: 1,
    World.stranger_takes_a_nonce: 1,
}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_schedule_ends_with_every_book_equal_to_the_chain(engine: Engine, seed: int):
    world = World(engine, seed=seed)

    for happens in world.dice.choices(list(WEIGHTS), list(WEIGHTS.values()), k=STEPS):
        with atomic():
            happens(world)
    for _ in range(50):
        if is_settled():
            break
        engine.now += timedelta(seconds=20)
        engine.tick()
        engine.finalize()

    assert len(world.wallets) >= 5
    assert_books_equal_chain(engine.bench, strangers=world.strangers)
