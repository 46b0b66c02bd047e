"""A wallet's whole life, act by act, for tests of what tells it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from accounts.models import Gamer
from kgen.common.identifiers import uuid7
from wallet import (
    claims,
    corrections,
    deposits,
    entry_fees,
    ledger,
    prize_pools,
    reversals,
    welcome_bonus,
    withdrawals,
)
from wallet.models import Correction, Payout, Wallet, WalletTransaction
from wallet.tests.factories import KgenWalletFactory, WalletFactory

TOURNAMENT = UUID("0193a1b2-0000-7000-8000-000000000001")


class Life:
    """Each act is a transaction of its own, as in life: the lines follow in this order."""

    def __init__(self, **gamer: Any) -> None:
        with transaction.atomic():
            self.wallet: Wallet = WalletFactory.create(**gamer)

    @property
    def now(self) -> datetime:
        return timezone.now()

    def welcome(self) -> WalletTransaction:
        with transaction.atomic():
            bonus = welcome_bonus.grant(wallet=self.wallet, now=self.now)
        assert bonus is not None
        return bonus

    def buy(self, amount: int) -> WalletTransaction:
        with transaction.atomic():
            return deposits.buy(
                wallet=self.wallet, amount=amount, reference=str(uuid7()), now=self.now
            )

    def pool(self, tournament_id: int, uid: UUID) -> prize_pools.Pool:
        return prize_pools.open_pool(
            tournament_id=tournament_id, tournament_uid=uid, game_id=self.wallet.gamer.game_id
        )

    def join(self, amount: int, title: str = "Daily Carrom") -> WalletTransaction:
        with transaction.atomic():
            return entry_fees.collect(
                wallet=self.wallet,
                pool=self.pool(7, uuid7()),
                amount=amount,
                reference=uuid7(),
                description=f"Entry fee for {title}",
                now=self.now,
            )

    def leave(self, fee: WalletTransaction) -> WalletTransaction:
        with transaction.atomic():
            return entry_fees.refund(
                fee_reference=fee.uid,
                reference=uuid7(),
                description="Refund for Daily Carrom",
                now=self.now,
            )

    def win(self, amount: int) -> None:
        """The prize of a sponsored tournament, to claim."""
        with transaction.atomic():
            pool = self.pool(8, TOURNAMENT)
            prize_pools.sponsor(pool=pool, amount=amount, reference=uuid7())
            prize_pools.distribute(
                pool=pool,
                reference=uuid7(),
                prizes=[(self.wallet.pk, amount)],
                platform=0,
                developer=0,
                remainder=0,
            )

    def promise(self, amount: int) -> None:
        with transaction.atomic():
            claims.promise(wallet=self.wallet, amount=amount, reference=uuid7())

    def expire(self, amount: int) -> None:
        with transaction.atomic():
            claims.take_back_each([claims.Movement(self.wallet.pk, amount, uuid7())])

    def claim(self, amount: int, description: str = "") -> WalletTransaction:
        with transaction.atomic():
            return claims.credit(
                wallet=self.wallet,
                amount=amount,
                reference=uuid7(),
                description=description,
                now=self.now,
            )

    def withdraw(self) -> WalletTransaction:
        gamer: Gamer = self.wallet.gamer
        if gamer.kgen_account is None:
            with transaction.atomic():
                gamer.kgen_account = KgenWalletFactory.create().account
                gamer.save()
        gamer.game.min_withdrawal = 1
        withdrawal = withdrawals.withdraw(gamer=gamer, now=self.now)
        return WalletTransaction.objects.get(uid=withdrawal.transaction_uid)

    def give_back(self, withdrawal: WalletTransaction) -> None:
        Payout.objects.filter(pk=withdrawal.uid).update(
            state="VOIDING",
            settlement_address="0x" + "5e" * 20,
            onchain_id=f"0x{withdrawal.uid.int:064x}",
        )
        reversals.give_back(withdrawal_uid=withdrawal.uid, now=self.now)

    def pay_out(self, withdrawal: WalletTransaction) -> None:
        with transaction.atomic():
            ledger.settle(withdrawal.uid)

    def confirm(self, entry: WalletTransaction) -> None:
        with transaction.atomic():
            ledger.confirm_on_chain(
                transaction_uid=entry.uid,
                wallet_id=self.wallet.pk,
                signed_amount=entry.signed_amount,
            )

    def correct(self, bucket: ledger.Bucket, amount: int) -> Correction:
        """Give so much to a bucket, or take it below zero, by two people."""
        asker, decider = (
            User.objects.get_or_create(username=name)[0] for name in ("asker", "decider")
        )
        direction = WalletTransaction.Direction
        asked = corrections.ask(
            wallet=self.wallet,
            bucket=bucket,
            direction=direction.CREDIT if amount > 0 else direction.DEBIT,
            amount=abs(amount),
            reason="a score was lost",
            by=asker,
            now=self.now,
        )
        return corrections.approve(
            correction=asked, reason="seen the score", by=decider, now=self.now
        )

    def lead(self) -> None:
        """Everything that can happen to a wallet, once at least."""
        bonus, _ = self.welcome(), self.buy(4)
        self.confirm(bonus)
        self.leave(self.join(53))
        fee = self.join(10)
        self.confirm(fee)
        self.win(60)
        self.claim(60, "Prize for rank 1 in Daily Carrom")
        self.promise(1000)
        self.claim(1000, "Reward ticket-17")
        self.give_back(self.withdraw())
        self.pay_out(self.withdraw())
        self.promise(20)
        self.expire(20)
        self.win(5)
        self.correct(ledger.Bucket.EARNED, 7)
        self.correct(ledger.Bucket.BONUS, -3)


LIFE = [
    "Welcome bonus of 50 KCash",
    "4 KCash bought",
    "50 KCash booked on the chain: welcome bonus",
    "53 KCash entry fee for Daily Carrom, 50 from bonus and 3 from bought",
    "53 KCash refund for Daily Carrom, 50 back to bonus and 3 back to bought",
    "10 KCash entry fee for Daily Carrom, from bonus",
    "10 KCash booked out on the chain: entry fee for Daily Carrom",
    "Prize of 60 KCash for tournament 0193a1b2, to claim",
    "Claimed 60 KCash, now earned: prize for rank 1 in Daily Carrom",
    "Reward of 1,000 KCash, to claim",
    "Claimed 1,000 KCash, now earned: reward ticket-17",
    "1,060 KCash set aside for a withdrawal",
    "Withdrawal of 1,060 KCash given back, earned again",
    "1,060 KCash set aside for a withdrawal",
    "Withdrawal of 1,060 KCash paid out on the chain",
    "Reward of 20 KCash, to claim",
    "Reward of 20 KCash expired unclaimed, back to the treasury",
    "Prize of 5 KCash for tournament 0193a1b2, to claim",
    "7 KCash correction by support, to earned",
    "3 KCash correction by support, from bonus",
]
