from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import Game, Gamer
from accounts.tests.factories import GameFactory, GamerFactory
from kgen.common.identifiers import uuid7
from rewards import granting
from rewards.models import Reward
from wallet import custody, ledger
from wallet.tests.factories import WalletFactory, fill


def winner(game: Game | None = None, **gamer: Any) -> Gamer:
    """A gamer with an empty wallet."""
    with transaction.atomic():
        made: Gamer = WalletFactory.create(
            gamer=GamerFactory.create(game=game or GameFactory.create(), **gamer)
        ).gamer
    return made


def prize(
    gamer: Gamer, amount: int, *, now: datetime, rank: int = 1, title: str = "Daily"
) -> Reward:
    """A tournament's prize, with the money that its finish posting sets aside."""
    uid = uuid7()
    with transaction.atomic():
        fill(custody.wallet_of(gamer), ledger.Bucket.CLAIMABLE, amount)
        granting.record_prizes(
            game_id=gamer.game_id,
            tournament_uid=uid,
            tournament_title=title,
            prizes=[(gamer.pk, amount)],
            now=now,
        )
    return Reward.objects.get(tournament_uid=uid)


def promotion(gamer: Gamer, amount: int, *, now: datetime, reference: str = "welcome-week", **more):
    """A reward from outside a tournament."""
    return granting.grant(
        gamer=gamer,
        amount=amount,
        source=Reward.Source.PROMOTION,
        reference=reference,
        now=now,
        **more,
    )
