"""Withdrawals for the tests of limits: from a wallet that has a game, a phone and a KGeN wallet."""

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from accounts.models import Gamer, KgenAccount
from accounts.tests.factories import GameFactory, GamerFactory
from accounts.tests.staff import staff_user
from wallet import ledger, withdrawals
from wallet.models import Payout, Wallet
from wallet.tests.factories import KgenWalletFactory, WalletFactory, fill

SETTLEMENT = "0x" + "5e" * 20
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


def linked_wallet(
    *,
    account: KgenAccount | None = None,
    kgen_made_at: datetime | None = None,
    linked_at: datetime | None = None,
    **of_game: Any,
) -> Wallet:
    """Of a new gamer, in a new game with a limit of 5,000 if nothing else is said."""
    game = GameFactory.create(**{"min_withdrawal": 1, "auto_approve_limit": 5000, **of_game})
    if account is None:
        gamer = GamerFactory.create(game=game, linked=True, linked_at=linked_at)
        KgenWalletFactory.create(account=gamer.kgen_account, now=kgen_made_at or LONG_AGO)
    else:
        gamer = GamerFactory.create(game=game, kgen_account=account)
    wallet: Wallet = WalletFactory.create(gamer=gamer)
    return wallet


def withdraw(wallet: Wallet, amount: int, *, now: datetime | None = None) -> Payout:
    """Earn this much, and withdraw it."""
    with transaction.atomic():
        fill(wallet, ledger.Bucket.EARNED, amount)
    gamer = Gamer.objects.select_related("game").get(pk=wallet.gamer_id)
    done = withdrawals.withdraw(gamer=gamer, now=now or timezone.now())
    return Payout.objects.get(pk=done.transaction_uid)


def staff(*names: str) -> list[User]:
    return [staff_user(username=name) for name in names]
