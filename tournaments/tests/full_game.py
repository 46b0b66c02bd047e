"""A game in which there is one of everything that the API can be asked for."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from accounts.models import Game, Gamer, KgenAccount, OtpRequest, Session
from accounts.tests.api import GameClient
from accounts.tests.factories import GameFactory, GamerFactory, KgenAccountFactory
from kgen.common.models import KeptAnswer
from rewards.models import Reward
from rewards.tests.factories import promotion
from tournaments import settling
from tournaments.models import Tournament
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.world import world
from wallet import custody
from wallet.models import Wallet
from wallet.tests.factories import KgenWalletFactory, WalletFactory

# Of nobody yet, and of a country that is served.
PHONE = {"phone_number": "2025550143", "countryCode": "+1"}


@dataclass(frozen=True)
class FullGame:
    """`client` calls with the gamer's token, `server` with the client headers alone."""

    gamer: Gamer
    server: GameClient
    client: GameClient
    wallet: Wallet
    hidden: Tournament
    open: Tournament
    joined: Tournament
    settled: Tournament
    reward: Reward

    @property
    def game(self) -> Game:
        return self.server.game


def full_game(*, now: datetime, gamer_id: str = "g-481", linked: bool = True) -> FullGame:
    """Its gamer has money in every bucket, sits in one tournament, has won another, and has a
    reward to claim; a linked one has a KGeN wallet too."""
    game = GameFactory.create(min_withdrawal=10)
    account = KgenAccountFactory.create() if linked else None
    with transaction.atomic():
        gamer = GamerFactory.create(game=game, gamer_id=gamer_id, kgen_account=account)
        WalletFactory.create(gamer=gamer, bonus=100, bought=100, earned=100)
        if account is not None:
            KgenWalletFactory.create(account=account)
    joined = TournamentFactory.create(game=game, now=now)
    seat(joined, gamer=gamer)
    settled = TournamentFactory.create(game=game, now=now, over=True)
    seat(settled, gamer=gamer, score=7)
    seat(settled, gamer=player(game), score=5)
    server = GameClient(game)
    return FullGame(
        gamer=gamer,
        server=server,
        client=server.as_gamer(gamer),
        wallet=custody.wallet_of(gamer),
        hidden=TournamentFactory.create(game=game, now=now, hidden=True),
        open=TournamentFactory.create(game=game, now=now),
        joined=joined,
        settled=settling.settle(uid=settled.uid, now=now),
        reward=promotion(gamer, 25, now=now - timedelta(minutes=1)),
    )


def everything() -> dict[str, list[Any]]:
    """All rows that a call may move, but for a session's tokens."""
    more = (Gamer, KgenAccount, OtpRequest, Session, KeptAnswer)
    kept: dict[str, list[Any]] = {**world()}
    return {**kept, **{model.__name__: list(model.objects.values_list()) for model in more}}
