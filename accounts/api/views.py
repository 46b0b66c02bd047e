"""The two kinds of caller that a viewset of any app can serve."""

from collections.abc import Sequence
from typing import ClassVar, cast

from accounts.api.authentication import Caller, GameAuthentication, GamerAuthentication
from accounts.models import Game, GameSecret
from accounts.sessions import GamerBlocked
from kgen.common.api.rate_limits import Bucket
from kgen.common.api.views import ApiViewSet


class GameViewSet(ApiViewSet):
    """For calls of a game's server that are about no gamer's session."""

    authentication_classes = [GameAuthentication]

    @property
    def secret(self) -> GameSecret:
        return cast("GameSecret", self.request.auth)

    @property
    def game(self) -> Game:
        return self.secret.game

    def rate_buckets(self) -> Sequence[Bucket]:
        return [client_bucket(self.game)]

    def key_owner(self) -> tuple[str, str]:
        return str(self.game.uid), ""


class GamerViewSet(ApiViewSet):
    """For calls with a gamer's token: `caller` is the one place that every look-up starts from."""

    authentication_classes = [GamerAuthentication]
    common_refusals = (GamerBlocked,)
    # Actions that also draw from the gamer's own limit of events (contract 0).
    event_actions: ClassVar[frozenset[str]] = frozenset()

    @property
    def caller(self) -> Caller:
        return cast("Caller", self.request.auth)

    def rate_buckets(self) -> Sequence[Bucket]:
        buckets = [client_bucket(self.caller.game)]
        if self.action in self.event_actions:
            gamer = self.caller.gamer
            buckets.append(
                Bucket(name=f"events:{gamer.uid}", per_second=self.caller.game.gamer_event_rate)
            )
        return buckets

    def key_owner(self) -> tuple[str, str]:
        return str(self.caller.game.uid), str(self.caller.gamer.uid)


def client_bucket(game: Game) -> Bucket:
    """The limit of all calls of one client."""
    return Bucket(name=f"client:{game.uid}", per_second=game.rate_limit)
