"""Settlement driven by hand: each step when the test says so, each block when the test mines it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.conf import settings

from kgen.common.identifiers import uuid7
from kgen.local.devchain import FINALITY_DEPTH
from wallet import claims, deposits, entry_fees, prize_pools, welcome_bonus, withdrawals
from wallet.models import Operator, Payout, Wallet, WalletTransaction
from wallet.settlement import lane
from wallet.settlement.chain import ChainUnavailable, Receipt, Web3Chain
from wallet.settlement.signing import (
    Custodian,
    EnvironmentCustodian,
    EnvironmentOperator,
    OperatorSigner,
)
from wallet.tests.chain import Bench
from wallet.tests.factories import KgenWalletFactory

START = datetime(2026, 1, 1, tzinfo=UTC)


class FaultyChain(Web3Chain):
    """A real node behind a bad line."""

    def __init__(self) -> None:
        super().__init__(settings.CHAIN_RPC_URL, kcash_address=settings.KCASH_ADDRESS)
        self.before_send: Callable[[], None] | None = None
        self.after_send: Callable[[], None] | None = None

    def send(self, raw: bytes) -> None:
        if self.before_send is not None:
            self.before_send()
        super().send(raw)
        if self.after_send is not None:
            self.after_send()


def lost() -> None:
    raise ChainUnavailable("timed out")


class Engine:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.chain = FaultyChain()
        self.signer: OperatorSigner = EnvironmentOperator()
        self.custodian: Custodian = EnvironmentCustodian()
        self.now = START

    def tick(self) -> lane.Run:
        self.now += timedelta(seconds=2)
        return lane.tick(
            chain=self.chain, signer=self.signer, custodian=self.custodian, now=self.now
        )

    def open_lane(self) -> Operator:
        return lane.open_lane(chain=self.chain, signer=self.signer)

    def mine(self) -> None:
        self.bench.chain.mine()

    def finalize(self) -> None:
        self.bench.chain.mine(1 + FINALITY_DEPTH)

    def settle_all(self) -> None:
        """Until there is nothing left to do; at most as long as ten tries of everything take."""
        for _ in range(30):
            self.tick()
            self.finalize()
            if lane.Run(0, 0, 0, 0, 0) == self.tick():
                return
            self.finalize()
        raise AssertionError("settlement goes on for ever")

    def onchain(self, wallet: Wallet) -> int:
        return self.bench.balance(wallet.address)


def give_bonus(wallet: Wallet) -> WalletTransaction:
    bonus = welcome_bonus.grant(wallet=wallet, now=START)
    assert bonus is not None
    return bonus


def join(wallet: Wallet, amount: int) -> WalletTransaction:
    pool = prize_pools.open_pool(
        tournament_id=1, tournament_uid=uuid7(), game_id=wallet.gamer.game_id
    )
    return entry_fees.collect(
        wallet=wallet, pool=pool, amount=amount, reference=uuid7(), description="", now=START
    )


def win(wallet: Wallet, amount: int) -> WalletTransaction:
    claims.promise(wallet=wallet, amount=amount, reference=uuid7())
    return claims.credit(wallet=wallet, amount=amount, reference=uuid7(), description="", now=START)


def receive(wallet: Wallet, amount: int, *, tx_hash: str = "0x" + "de" * 32) -> WalletTransaction:
    return deposits.receive(
        wallet=wallet,
        amount=amount,
        from_address="0x" + "0F" * 20,
        event=deposits.ChainEvent(31337, tx_hash, log_index=3, block_number=12),
        now=START,
    )


def withdraw(wallet: Wallet, amount: int) -> WalletTransaction:
    """Win, link a phone, and withdraw all that is earned."""
    win(wallet, amount)
    linked = KgenWalletFactory.create(now=START)
    wallet.gamer.kgen_account = linked.account
    wallet.gamer.save()
    wallet.gamer.game.min_withdrawal = 1
    withdrawn = withdrawals.withdraw(gamer=wallet.gamer, now=START)
    return WalletTransaction.objects.get(uid=withdrawn.transaction_uid)


def receipt_of(engine: Engine, payout: Payout) -> Receipt:
    """Of the transaction that a completed payout names."""
    tx_hash = str(payout.tx_hash)
    return engine.chain.receipts([tx_hash])[tx_hash]


def status(transaction: WalletTransaction) -> str:
    transaction.refresh_from_db()
    return transaction.sync_status


def payout_of(transaction: WalletTransaction) -> Payout:
    return Payout.objects.get(transactions=transaction)
