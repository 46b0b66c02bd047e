"""A winner claims while a tournament of theirs is being settled: every KCash arrives once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.tests.factories import GameFactory
from accounts.tests.threads import wait_until_blocked
from rewards import audits, claiming, expiring, granting
from rewards.models import Reward
from tournaments import settling
from tournaments.audits import prizes_that_differ_from_results, prizes_that_differ_from_rewards
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.world import buckets, pool_balance
from wallet.models import WalletTransaction
from wallet.tests.parallel import in_parallel
from wallet.tests.soundness import assert_sound

pytestmark = pytest.mark.usefixtures("committed_database")

# Of two stakes of 10: the winner's.
PRIZE = 17


def over(game, gamer, *, now):
    """A tournament that waits to be settled, and `gamer` has won it."""
    tournament = TournamentFactory.create(now=now, over=True, game=game)
    seat(tournament, gamer=gamer, score=50)
    seat(tournament, score=40)
    return tournament


def promise(gamer, amount, *, now, reference, expires_at=None):
    return granting.grant(
        gamer=gamer,
        amount=amount,
        source=Reward.Source.ACHIEVEMENT,
        reference=reference,
        expires_at=expires_at,
        now=now - timedelta(hours=1),
    )


def assert_promises_and_money_agree():
    for question in (
        audits.claims_without_their_posting,
        audits.expiries_without_their_posting,
        audits.unclaimed_rewards_that_differ_from_balances,
        prizes_that_differ_from_results,
        prizes_that_differ_from_rewards,
    ):
        assert (question.__name__, question()) == (question.__name__, [])
    assert_sound()


@pytest.mark.slow
def test_claims_of_one_some_and_all_while_it_settles_add_up():
    now = timezone.now()
    game = GameFactory.create()
    for attempt in range(4):
        gamer = player(game, bonus=50)
        before, meanwhile = (over(game, gamer, now=now) for _ in range(2))
        settling.settle(uid=before.uid, now=now)
        one = Reward.objects.get(gamer=gamer)
        two, _ = (
            promise(gamer, amount, now=now, reference=f"{attempt}/{amount}") for amount in (5, 7)
        )

        claimed = in_parallel(
            [
                partial(claiming.claim, gamer=gamer, reward_uids=[one.uid], now=now),
                partial(claiming.claim, gamer=gamer, reward_uids=[one.uid, two.uid], now=now),
                partial(settling.settle, uid=meanwhile.uid, now=now),
                partial(claiming.claim, gamer=gamer, now=now),
                partial(claiming.claim, gamer=gamer, now=now),
            ]
        )
        del claimed[2]
        claimed.append(claiming.claim(gamer=gamer, now=now))

        # Each reward was credited by one of the calls, and by no other.
        credited = [reward.pk for rewards in claimed for reward in rewards]
        assert sorted(credited) == sorted(gamer.rewards.values_list("pk", flat=True))
        assert buckets(gamer) == (30, 0, PRIZE + 5 + 7 + PRIZE, 0)
        assert pool_balance(meanwhile) == 0
        assert (
            WalletTransaction.objects.filter(wallet__gamer=gamer, type="REWARD_CLAIM").count() == 4
        )
    assert_promises_and_money_agree()


def test_a_claim_of_all_sees_the_prize_before_or_after_and_never_half_of_it():
    now = timezone.now()
    game = GameFactory.create()
    gamer = player(game, bonus=50)
    tournament = over(game, gamer, now=now)
    promise(gamer, 5, now=now, reference="first")

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            settling.settle(uid=tournament.uid, now=now)
            # The money of the prize is in the account already, but the prize is not there yet.
            early = thread.submit(in_parallel, [partial(claiming.claim, gamer=gamer, now=now)])
            wait_until_blocked()
        ((first,),) = early.result()

    assert first.amount == 5
    assert buckets(gamer) == (40, 0, 5, PRIZE)
    (prize,) = claiming.claim(gamer=gamer, now=now)
    assert (prize.amount, buckets(gamer)) == (PRIZE, (40, 0, 5 + PRIZE, 0))
    assert_promises_and_money_agree()


def test_a_settlement_waits_for_the_claim_of_its_winner():
    now = timezone.now()
    game = GameFactory.create()
    gamer = player(game, bonus=50)
    tournament = over(game, gamer, now=now)
    promise(gamer, 5, now=now, reference="first")

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            claiming.claim(gamer=gamer, now=now)
            settled = thread.submit(
                in_parallel, [partial(settling.settle, uid=tournament.uid, now=now)]
            )
            wait_until_blocked()
        (done,) = settled.result()

    assert done.phase == "COMPLETED"
    assert buckets(gamer) == (40, 0, 5, PRIZE)
    assert_promises_and_money_agree()


def test_settlements_claims_and_expiries_of_the_same_gamers_all_end():
    now = timezone.now()
    game = GameFactory.create()
    gamers = [player(game, bonus=50) for _ in range(2)]
    tournaments = [over(game, gamer, now=now) for gamer in gamers for _ in range(2)]
    for number in range(10):
        promise(gamers[number % 2], 1, now=now, reference=str(number), expires_at=now)

    outcomes = in_parallel(
        [partial(settling.settle, uid=one.uid, now=now) for one in tournaments]
        + [partial(claiming.claim, gamer=gamer, now=now) for gamer in gamers]
        + [partial(expiring.expire_due, now=now)]
    )

    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    for gamer in gamers:
        claiming.claim(gamer=gamer, now=now)
    expiring.expire_due(now=now)
    assert [buckets(gamer) for gamer in gamers] == [(30, 0, 2 * PRIZE, 0)] * 2
    assert Reward.objects.filter(status="EXPIRED").count() == 10
    assert_promises_and_money_agree()
