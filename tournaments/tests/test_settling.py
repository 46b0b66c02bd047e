import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rewards.models import Reward
from tournaments import settling
from tournaments.lifecycle import TournamentNotFound, TournamentNotLive
from tournaments.models import Participation, Tournament
from tournaments.settling import NotOver
from tournaments.tests.crowds import crowd_of
from tournaments.tests.factories import TournamentFactory, player, record_score, seat
from tournaments.tests.world import buckets, pool_balance, world
from wallet import ledger
from wallet.models import Transfer

pytestmark = pytest.mark.django_db

Phase = Tournament.Phase


def test_settlement_pays_the_pool_out_in_one_posting(now):
    tournament = TournamentFactory.create(now=now, over=True)
    seats = [seat(tournament, score=score) for score in (50, 40, 30, 20, 0)]

    settled = settling.settle(uid=tournament.uid, now=now)

    settled.refresh_from_db()
    assert (settled.phase, settled.settled_at) == (Phase.COMPLETED, now)
    assert (settled.settled_pool, settled.rewarded_count) == (42, 2)
    results = Participation.objects.order_by("final_rank").values_list(
        "gamer_id", "final_rank", "prize"
    )
    assert list(results) == [
        (seats[0].gamer_id, 1, 32),
        (seats[1].gamer_id, 2, 10),
        (seats[2].gamer_id, 3, 0),
        (seats[3].gamer_id, 4, 0),
        (seats[4].gamer_id, 5, 0),
    ]
    posting = Transfer.objects.filter(posting_id=str(settled.finish_posting_id))
    assert sorted(posting.values_list("kind", "amount")) == [
        ("PRIZE", 10),
        ("PRIZE", 32),
        ("RAKE_DEVELOPER", 4),
        ("RAKE_PLATFORM", 4),
    ]
    assert pool_balance(tournament) == 0
    assert [buckets(one.gamer) for one in seats[:3]] == [(0, 0, 0, 32), (0, 0, 0, 10), (0,) * 4]


def test_settlement_makes_a_reward_of_each_prize(now):
    tournament = TournamentFactory.create(now=now, over=True, title="Daily Carrom")
    seats = [seat(tournament, score=score) for score in (50, 40, 30, 20, 10)]

    settling.settle(uid=tournament.uid, now=now)

    rewards = Reward.objects.order_by("rank").values_list(
        "gamer_id", "amount", "source", "tournament_uid", "tournament_title", "rank", "status"
    )
    shared = (tournament.uid, "Daily Carrom")
    assert list(rewards) == [
        (seats[0].gamer_id, 32, "TOURNAMENT", *shared, 1, "UNCLAIMED"),
        (seats[1].gamer_id, 10, "TOURNAMENT", *shared, 2, "UNCLAIMED"),
    ]
    assert set(Reward.objects.values_list("created_at", "updated_at")) == {(now, now)}


def test_settling_twice_changes_nothing(now):
    tournament = TournamentFactory.create(now=now, over=True)
    for score in (50, 40):
        seat(tournament, score=score)
    settling.settle(uid=tournament.uid, now=now)
    before = world()

    again = settling.settle(uid=tournament.uid, now=now + timedelta(hours=1))

    assert again.settled_at == now
    assert world() == before


def test_settlement_before_the_grace_is_over_is_refused(now):
    tournament = TournamentFactory.create(now=now)
    for score in (50, 40):
        seat(tournament, score=score)
    before = world()

    for early in (now, tournament.closes_at - timedelta(microseconds=1)):
        with pytest.raises(NotOver):
            settling.settle(uid=tournament.uid, now=early)

    assert world() == before
    assert settling.settle(uid=tournament.uid, now=tournament.closes_at).phase == Phase.COMPLETED


def test_settlement_of_an_unknown_tournament_is_refused(now):
    with pytest.raises(TournamentNotFound):
        settling.settle(uid=uuid.uuid4(), now=now)


@pytest.mark.parametrize("scores", [(0, 0), (None, None), (0, None)])
def test_without_an_earning_score_it_is_cancelled(now, scores):
    tournament = TournamentFactory.create(now=now, over=True)
    for score in scores:
        seat(tournament, score=score)

    settled = settling.settle(uid=tournament.uid, now=now)

    settled.refresh_from_db()
    assert (settled.phase, settled.cancelled_at) == (Phase.CANCELLED, now)
    assert not Reward.objects.exists()
    assert pool_balance(tournament) == 20
    assert settling.settle(uid=tournament.uid, now=now).phase == Phase.CANCELLED


def test_with_too_few_entrants_it_is_cancelled_though_the_lock_was_missed(now):
    tournament = TournamentFactory.create(now=now, over=True)
    seat(tournament, score=5)

    assert settling.settle(uid=tournament.uid, now=now).phase == Phase.CANCELLED


def test_forfeited_stakes_are_won_and_leavers_win_nothing(now):
    tournament = TournamentFactory.create(now=now, over=True)
    leaver, *_ = [seat(tournament, score=score) for score in (99, 50, 40)]
    Participation.objects.filter(pk=leaver.pk).update(left_at=tournament.starts_at)

    settled = settling.settle(uid=tournament.uid, now=now)

    assert settled.settled_pool == 25
    assert Reward.objects.get().amount == 25
    leaver.refresh_from_db()
    assert (leaver.final_rank, leaver.prize) == (None, None)
    assert pool_balance(tournament) == 0


def test_a_free_tournament_is_completed_and_posts_nothing(now):
    tournament = TournamentFactory.create(now=now, over=True, entry_fee=0)
    for score in (5, 3):
        seat(tournament, gamer=player(tournament.game), score=score)
    transfers = Transfer.objects.count()

    settled = settling.settle(uid=tournament.uid, now=now)

    assert (settled.phase, settled.settled_pool, settled.rewarded_count) == ("COMPLETED", 0, 0)
    ranks = Participation.objects.order_by("final_rank").values_list("final_rank", "prize")
    assert list(ranks) == [(1, 0), (2, 0)]
    assert Transfer.objects.count() == transfers
    assert not Reward.objects.exists()


def test_a_sole_entrant_wins_where_one_is_enough(now):
    tournament = TournamentFactory.create(now=now, over=True, min_registration_start_limit=1)
    gamer = seat(tournament, score=5).gamer

    settling.settle(uid=tournament.uid, now=now)

    assert buckets(gamer) == (0, 0, 0, 8)


def test_the_rake_is_split_between_platform_and_developer(now):
    tournament = TournamentFactory.create(now=now, over=True)
    developer = ledger.account_of(
        ledger.Owner.GAME, tournament.game_id, ledger.Bucket.DEVELOPER_RAKE
    )
    for number in range(7):
        seat(tournament, score=number + 1)

    settling.settle(uid=tournament.uid, now=now)

    assert ledger.queued_balance(developer) == 5
    kinds = Transfer.objects.filter(kind__startswith="RAKE").values_list("kind", "amount")
    assert dict(kinds) == {"RAKE_PLATFORM": 6, "RAKE_DEVELOPER": 5}


def test_a_score_that_lost_the_race_against_the_close_is_refused(now):
    tournament = TournamentFactory.create(now=now, over=True)
    taken = seat(tournament, score=5)
    seat(tournament, score=3)
    settling.settle(uid=tournament.uid, now=now)
    before = world()

    with pytest.raises(TournamentNotLive):
        record_score(tournament, taken.gamer, 99, at=tournament.ends_at)

    assert world() == before


@pytest.mark.parametrize("entrants", [100, 400])
def test_settlement_makes_as_many_queries_for_any_crowd(now, entrants):
    tournament = TournamentFactory.create(now=now, over=True)
    crowd_of(entrants, tournament)

    with CaptureQueriesContext(connection) as made:
        settled = settling.settle(uid=tournament.uid, now=now)

    assert settled.phase == Phase.COMPLETED
    assert len(made) == 18
    assert pool_balance(tournament) == 0
