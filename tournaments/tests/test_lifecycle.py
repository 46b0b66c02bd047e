from datetime import timedelta

import pytest

from accounts.models import Game
from accounts.tests.factories import GameFactory
from kgen.common.identifiers import uuid7
from tournaments import lifecycle
from tournaments.lifecycle import AlreadyPublished, Schedule, ScheduleOutOfOrder, TournamentNotFound
from tournaments.models import Tournament
from tournaments.tests.factories import TournamentFactory
from wallet import prize_pools
from wallet.models import SolvencySample
from wallet.solvency import FloatUncovered
from wallet.tests.test_solvency import WELL

pytestmark = pytest.mark.django_db


def schedule(now, **changed):
    times = ("schedules_at", "lobby_at", "starts_at", "locks_at", "ends_at")
    return Schedule(**(dict.fromkeys(times, now) | changed))


def test_create_drafts_a_tournament_with_the_platforms_rake(now):
    game = GameFactory.create()

    tournament = lifecycle.create(
        game=game, title="Daily", entry_fee=10, schedule=schedule(now), now=now
    )

    tournament.refresh_from_db()
    assert tournament.phase == Tournament.Phase.PREPARATION
    assert tournament.rake_percent == 15
    assert tournament.grace == timedelta(seconds=60)
    assert tournament.min_registration_start_limit == 2
    assert tournament.tournament_size is None


@pytest.mark.parametrize("name", ["lobby_at", "starts_at", "locks_at", "ends_at"])
def test_create_refuses_times_out_of_order(now, name):
    earlier = schedule(now, **{name: now - timedelta(seconds=1)})

    with pytest.raises(ScheduleOutOfOrder):
        lifecycle.create(
            game=GameFactory.create(), title="Daily", entry_fee=10, schedule=earlier, now=now
        )

    assert not Tournament.objects.exists()


def test_publish_opens_the_pool(now):
    draft = TournamentFactory.create(now=now, published=False)

    tournament = lifecycle.publish(uid=draft.uid, now=now)

    assert tournament.phase == Tournament.Phase.PUBLISHED
    pool = prize_pools.pool_of(tournament_id=tournament.pk, game_id=tournament.game_id)
    assert pool.tournament_id == tournament.pk


def test_publish_refuses_what_is_published(now):
    tournament = TournamentFactory.create(now=now)

    with pytest.raises(AlreadyPublished):
        lifecycle.publish(uid=tournament.uid, now=now)


def test_publish_refuses_while_the_float_does_not_cover_what_is_owed(now):
    draft = TournamentFactory.create(now=now, published=False)
    sample = SolvencySample.objects.create(**{**WELL, "bonus": 101})

    with pytest.raises(FloatUncovered):
        lifecycle.publish(uid=draft.uid, now=now)

    draft.refresh_from_db()
    assert draft.phase == Tournament.Phase.PREPARATION
    SolvencySample.objects.filter(pk=sample.pk).update(float_balance=101, float_allowance=101)
    assert lifecycle.publish(uid=draft.uid, now=now).phase == Tournament.Phase.PUBLISHED


def test_publish_refuses_an_unknown_tournament(now):
    with pytest.raises(TournamentNotFound):
        lifecycle.publish(uid=uuid7(), now=now)


def test_rake_of_a_tournament_is_that_of_its_game_when_it_was_drafted(now):
    game = GameFactory.create(rake_percent=30)

    drafted = TournamentFactory.create(now=now, game=game)
    Game.objects.update(rake_percent=20)

    drafted.refresh_from_db()
    assert drafted.rake_percent == 30
