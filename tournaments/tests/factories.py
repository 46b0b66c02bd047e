from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import factory
from django.db import transaction
from django.utils import timezone

from accounts.models import Game, Gamer
from accounts.tests.factories import GameFactory, GamerFactory
from tournaments import joining, lifecycle, scoring
from tournaments.lifecycle import Schedule
from tournaments.models import Participation, Tournament
from wallet.tests.factories import WalletFactory

LENGTH = timedelta(hours=1)


class TournamentFactory(factory.Factory):
    """A published tournament of one hour, ten minutes after its start unless a trait says other.

    Scheduled 3 minutes and open 1 minute before the start, locked 2 minutes before the end.
    """

    class Meta:
        model = Tournament
        exclude = ("now", "starts_at")

    class Params:
        hidden = factory.Trait(
            starts_at=factory.LazyAttribute(lambda made: made.now + timedelta(hours=1))
        )
        scheduled = factory.Trait(
            starts_at=factory.LazyAttribute(lambda made: made.now + timedelta(minutes=2))
        )
        lobby = factory.Trait(
            starts_at=factory.LazyAttribute(lambda made: made.now + timedelta(seconds=30))
        )
        locked = factory.Trait(
            starts_at=factory.LazyAttribute(lambda made: made.now - LENGTH + timedelta(minutes=1))
        )
        over = factory.Trait(
            starts_at=factory.LazyAttribute(lambda made: made.now - LENGTH - timedelta(minutes=2))
        )

    now = factory.LazyFunction(timezone.now)
    starts_at = factory.LazyAttribute(lambda made: made.now - timedelta(minutes=10))
    game = factory.SubFactory(GameFactory)
    title = factory.Sequence(lambda n: f"Tournament {n}")
    entry_fee = 10
    schedule = factory.LazyAttribute(
        lambda made: Schedule(
            schedules_at=made.starts_at - timedelta(minutes=3),
            lobby_at=made.starts_at - timedelta(minutes=1),
            starts_at=made.starts_at,
            locks_at=made.starts_at + LENGTH - timedelta(minutes=2),
            ends_at=made.starts_at + LENGTH,
        )
    )
    published = True

    @classmethod
    def _create(cls, model_class: type[Tournament], *args: Any, **kwargs: Any) -> Tournament:
        published = kwargs.pop("published")
        made_at = kwargs["schedule"].schedules_at - timedelta(minutes=10)
        with transaction.atomic():
            tournament = lifecycle.create(**kwargs, now=made_at)
            if published:
                tournament = lifecycle.publish(uid=tournament.uid, now=made_at)
        return tournament


def player(game: Game, *, bonus: int = 50, **gamer: Any) -> Gamer:
    """A gamer with a wallet and so much to play with."""
    with transaction.atomic():
        made: Gamer = WalletFactory.create(
            gamer=GamerFactory.create(game=game, **gamer), bonus=bonus
        ).gamer
    return made


def seat(
    tournament: Tournament,
    *,
    gamer: Gamer | None = None,
    score: int | None = None,
    joined_at: datetime | None = None,
    reached_at: datetime | None = None,
) -> Participation:
    """A gamer who joined when the tournament started, and has scored a minute later if at all."""
    gamer = gamer or player(tournament.game, bonus=tournament.entry_fee)
    joined_at = joined_at or tournament.starts_at
    taken = joining.join(
        gamer=gamer, tournament_uid=tournament.uid, stake=tournament.entry_fee, now=joined_at
    )
    if score is not None:
        record_score(
            tournament, gamer, score, at=reached_at or tournament.starts_at + timedelta(minutes=1)
        )
    taken.refresh_from_db()
    return taken


def record_score(tournament: Tournament, gamer: Gamer, score: int, *, at: datetime) -> None:
    """A score that was stamped and received at the same moment."""
    with transaction.atomic():
        scoring.apply(
            gamer=gamer,
            tournament_uid=tournament.uid,
            value=score,
            stamped_at=at,
            body_hash=sha256(f"{gamer.pk} {score} {at}".encode()).digest(),
            now=at,
        )
