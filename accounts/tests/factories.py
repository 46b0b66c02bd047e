from datetime import timedelta
from typing import Any

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from accounts import sessions
from accounts.clients import hash_of
from accounts.models import Game, Gamer, GameSecret, KgenAccount, Session, SessionToken


class GameFactory(DjangoModelFactory[Game]):
    """A game whose limits no test meets by accident; its client's secret is `secret_of(game)`."""

    class Meta:
        model = Game
        skip_postgeneration_save = True

    client_id = factory.Sequence(lambda n: f"client-{n}")
    name = factory.Sequence(lambda n: f"Game {n}")
    game_uid = factory.Sequence(lambda n: f"game-{n}")
    rate_limit = 1_000_000
    gamer_event_rate = 1_000_000
    auto_approve_limit = 10**15
    created_at = factory.LazyFunction(timezone.now)

    @factory.post_generation
    def with_secret(self: Any, create, extracted, **kwargs):
        # In use: the first request of an hour writes it down, which no count of queries is about.
        GameSecret.objects.create(
            game=self,
            secret_hash=hash_of(secret_of(self)),
            created_at=self.created_at,
            last_used_at=timezone.now(),
        )


def secret_of(game: Game) -> str:
    """The secret that a made game's client shows."""
    return f"secret-of-{game.client_id}"


class KgenAccountFactory(DjangoModelFactory[KgenAccount]):
    class Meta:
        model = KgenAccount

    phone = factory.Sequence(lambda n: f"+1202555{n:04d}")
    created_at = factory.LazyFunction(timezone.now)


class GamerFactory(DjangoModelFactory[Gamer]):
    """A gamer without a wallet: that one is wallet's to make."""

    class Meta:
        model = Gamer

    class Params:
        blocked = factory.Trait(is_blocked=True)
        linked = factory.Trait(kgen_account=factory.SubFactory(KgenAccountFactory))

    game = factory.SubFactory(GameFactory)
    gamer_id = factory.Sequence(lambda n: f"g-{n}")
    created_at = factory.LazyFunction(timezone.now)


class SessionFactory(DjangoModelFactory[Session]):
    """A running session; give its tokens with `token_for`."""

    class Meta:
        model = Session

    class Params:
        revoked = factory.Trait(revoked_at=factory.LazyFunction(timezone.now))

    gamer = factory.SubFactory(GamerFactory)
    started_at = factory.LazyFunction(timezone.now)
    ends_at = factory.LazyAttribute(lambda session: session.started_at + timedelta(days=30))


def token_for(session: Session, *, expired: bool = False) -> str:
    """A new token of the session, or one that has just run out."""
    token, now = sessions.new_token(), timezone.now()
    SessionToken.objects.create(
        session=session,
        token_hash=hash_of(token),
        created_at=now - timedelta(days=1),
        expires_at=now if expired else now + timedelta(days=1),
    )
    return token
