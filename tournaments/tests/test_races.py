"""Threads on a database where commits are real: what two gamers, or two calls, do at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.tests.factories import GameFactory
from accounts.tests.threads import wait_until_blocked
from rewards import claiming
from tournaments import cancelling, event_batches, eventing, joining, scoring, settling
from tournaments.event_batches import Outcome
from tournaments.models import GameEvent, Participation, Tournament
from tournaments.tests.factories import TournamentFactory, player, record_score, seat
from tournaments.tests.world import buckets, pool_balance
from wallet.models import WalletTransaction
from wallet.tests.parallel import in_parallel

pytestmark = pytest.mark.usefixtures("committed_database")


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returned, or the name of what it refused."""
    return [
        type(outcome).__name__ if isinstance(outcome, Exception) else outcome
        for outcome in in_parallel(calls)
    ]


def join(tournament, gamer, *, now):
    joining.join(gamer=gamer, tournament_uid=tournament.uid, stake=tournament.entry_fee, now=now)
    return "joined"


def leave(taken, *, now):
    return joining.leave(gamer=taken.gamer, tournament_uid=taken.tournament.uid, now=now)


def cancel(tournament, *, now):
    return cancelling.cancel(uid=tournament.uid, now=now).phase


def settle(tournament, *, now):
    return settling.settle(uid=tournament.uid, now=now).phase


def test_the_last_seat_is_taken_and_paid_once():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now, tournament_size=3)
    seat(tournament)
    seat(tournament)
    gamers = [player(tournament.game, bonus=50) for _ in range(6)]

    results = at_once(*(partial(join, tournament, gamer, now=now) for gamer in gamers))

    assert sorted(results) == ["TournamentFull"] * 5 + ["joined"]
    assert sum(buckets(gamer)[0] for gamer in gamers) == 6 * 50 - 10
    assert pool_balance(tournament) == 30
    assert Participation.objects.count() == 3


def test_two_joins_of_one_gamer_are_charged_once():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    gamer = player(tournament.game, bonus=50)

    results = at_once(*[partial(join, tournament, gamer, now=now)] * 6)

    assert sorted(results) == ["AlreadyJoined"] * 5 + ["joined"]
    assert buckets(gamer) == (40, 0, 0, 0)
    assert WalletTransaction.objects.count() == 1


def test_joins_of_two_tournaments_spend_no_more_than_there_is():
    now = timezone.now()
    tournaments = [TournamentFactory.create(now=now, game=GameFactory.create())]
    tournaments += [TournamentFactory.create(now=now, game=tournaments[0].game) for _ in range(5)]
    gamer = player(tournaments[0].game, bonus=25)

    results = at_once(*(partial(join, tournament, gamer, now=now) for tournament in tournaments))

    assert sorted(results) == ["InsufficientBalance"] * 4 + ["joined"] * 2
    assert buckets(gamer) == (5, 0, 0, 0)


def events_of(seats, *, now, each=3):
    """So many scores of each seat, as they are received."""
    return [
        eventing.Event(
            body_hash=sha256(f"{taken.pk} {number}".encode()).digest(),
            occurred_at=now - timedelta(seconds=number),
            player_id=taken.gamer.gamer_id,
            game_slug=None,
            metadata={},
            payload={},
            tournament_uid=taken.tournament.uid,
            score=number,
            joined_uids=(),
        )
        for number in range(each)
        for taken in seats
    ]


def test_equal_batches_in_parallel_have_one_effect():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    events = events_of([seat(tournament) for _ in range(4)], now=now)
    orders = [events, events[::-1], events[5:] + events[:5], events[::-2] + events[::2], events]

    results = at_once(
        *(
            partial(event_batches.receive, game=tournament.game, events=one, now=now)
            for one in orders
        )
    )

    outcomes = [outcome for result in results for outcome in result]
    assert outcomes.count(Outcome.ACCEPTED) == len(events)
    assert outcomes.count(Outcome.DUPLICATE) == 4 * len(events)
    assert GameEvent.objects.count() == len(events)
    assert set(Participation.objects.values_list("score", "reached_at")) == {(0, now)}


def test_batches_and_single_events_do_not_wait_for_each_other_for_ever():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    seats = [seat(tournament) for _ in range(4)]
    events = events_of(seats, now=now)
    gamers = {taken.gamer.gamer_id: taken.gamer for taken in seats}

    def one_by_one(some):
        for event in some:
            eventing.receive(gamer=gamers[event.player_id], event=event, now=now)

    results = at_once(
        partial(event_batches.receive, game=tournament.game, events=events, now=now),
        partial(one_by_one, events),
        partial(event_batches.receive, game=tournament.game, events=events[::-1], now=now),
        partial(one_by_one, events[::-1]),
    )

    assert [result for result in results if isinstance(result, str)] == []
    assert GameEvent.objects.count() == len(events)
    assert set(Participation.objects.values_list("score", "reached_at")) == {(0, now)}


def test_an_equal_event_in_parallel_is_acted_on_once():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    gamer = player(tournament.game, bonus=50)
    event = eventing.Event(
        body_hash=bytes(32),
        occurred_at=now,
        player_id=gamer.gamer_id,
        game_slug=None,
        metadata={},
        payload={},
        tournament_uid=tournament.uid,
        score=24,
        joined_uids=(tournament.uid,),
    )

    results = at_once(*[lambda: eventing.receive(gamer=gamer, event=event, now=now)] * 6)

    assert results == [None] * 6
    assert GameEvent.objects.count() == 1
    assert Participation.objects.get().score == 24
    assert buckets(gamer) == (40, 0, 0, 0)


def test_events_that_join_find_a_parallel_join_good_enough():
    now = timezone.now()
    one = TournamentFactory.create(now=now)
    other = TournamentFactory.create(now=now, game=one.game)
    gamer = player(one.game, bonus=50)

    def ensure_joined():
        with transaction.atomic():
            joining.ensure_joined(gamer=gamer, tournament_uids=[one.uid, other.uid], now=now)

    calls: list[Callable[[], Any]] = [ensure_joined, partial(join, other, gamer, now=now)]
    results = at_once(*calls * 4)

    assert results[::2] == [None] * 4
    assert set(results[1::2]) <= {"joined", "AlreadyJoined"}
    assert buckets(gamer) == (30, 0, 0, 0)
    assert (pool_balance(one), pool_balance(other)) == (10, 10)


def test_the_newest_of_many_scores_in_parallel_counts():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    taken = seat(tournament)
    scores = [(value, now - timedelta(milliseconds=value)) for value in range(1, 9)]

    at_once(*(partial(record_score, tournament, taken.gamer, value, at=at) for value, at in scores))

    taken.refresh_from_db()
    assert (taken.score, taken.reached_at) == scores[0]


def test_leaving_twice_refunds_once():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    gamer = player(tournament.game, bonus=50)
    taken = seat(tournament, gamer=gamer)

    results = at_once(*[partial(leave, taken, now=now)] * 4)

    assert sorted(map(str, results)) == ["10"] + ["NotJoined"] * 3
    assert buckets(gamer) == (50, 0, 0, 0)


def test_leaving_and_scoring_never_give_both_a_refund_and_a_score():
    now = timezone.now()
    for _ in range(5):
        tournament = TournamentFactory.create(now=now)
        taken = seat(tournament)

        scored, left = at_once(
            partial(record_score, tournament, taken.gamer, 5, at=now),
            partial(leave, taken, now=now),
        )

        taken.refresh_from_db()
        outcome = (scored, left, taken.score, pool_balance(tournament))
        assert outcome in ((None, 0, 5, 10), ("NotJoined", 10, None, 0))


def test_joins_racing_the_cancellation_strand_no_stake():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    gamers = [player(tournament.game, bonus=50) for _ in range(6)]

    results = at_once(
        *(partial(join, tournament, gamer, now=now) for gamer in gamers[:3]),
        partial(cancel, tournament, now=now),
        *(partial(join, tournament, gamer, now=now) for gamer in gamers[3:]),
    )

    assert set(results) <= {"joined", "TournamentNotLive", "CANCELLED"}
    cancelling.refund_stakes(uid=tournament.uid, now=now)
    assert [buckets(gamer) for gamer in gamers] == [(50, 0, 0, 0)] * 6
    assert pool_balance(tournament) == 0


def test_settlements_in_parallel_pay_once():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now, over=True)
    seats = [seat(tournament, score=score) for score in (50, 40, 30, 20, 10)]

    results = at_once(*[partial(settle, tournament, now=now)] * 4)

    assert results == ["COMPLETED"] * 4
    assert [buckets(one.gamer)[3] for one in seats] == [32, 10, 0, 0, 0]
    assert pool_balance(tournament) == 0


def test_a_score_that_waits_for_the_settlement_is_refused():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now, over=True)
    leader, challenger = (seat(tournament, score=score) for score in (50, 40))

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            settle(tournament, now=now)
            scored = thread.submit(at_once, partial(challenge, tournament, challenger))
            wait_until_blocked()
        assert scored.result() == ["TournamentNotLive"]

    challenger.refresh_from_db()
    leader.refresh_from_db()
    assert (challenger.score, challenger.final_rank, leader.final_rank) == (40, 2, 1)


def test_a_settlement_that_waits_for_a_score_ranks_it():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now, over=True)
    leader, challenger = (seat(tournament, score=score) for score in (50, 40))

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            challenge(tournament, challenger)
            settled = thread.submit(at_once, partial(settle, tournament, now=now))
            wait_until_blocked()
        assert settled.result() == ["COMPLETED"]

    challenger.refresh_from_db()
    leader.refresh_from_db()
    assert (challenger.score, challenger.final_rank, leader.final_rank) == (99, 1, 2)


def test_a_join_that_waits_for_the_cancellation_is_refused():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    gamer = player(tournament.game, bonus=50)

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            cancelling.cancel(uid=tournament.uid, now=now)
            joined = thread.submit(at_once, partial(join, tournament, gamer, now=now))
            wait_until_blocked()
        assert joined.result() == ["TournamentNotLive"]

    assert buckets(gamer) == (50, 0, 0, 0)


def test_a_cancellation_waits_for_a_join_and_refunds_it():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    gamer = player(tournament.game, bonus=50)

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            join(tournament, gamer, now=now)
            cancelled = thread.submit(at_once, partial(cancel, tournament, now=now))
            wait_until_blocked()
        assert cancelled.result() == ["CANCELLED"]

    assert cancelling.refund_stakes(uid=tournament.uid, now=now) == 1
    assert buckets(gamer) == (50, 0, 0, 0)


def challenge(tournament: Tournament, taken: Participation) -> None:
    """A score stamped at the end and received at the last moment of the grace."""
    with transaction.atomic():
        scoring.apply(
            gamer=taken.gamer,
            tournament_uid=tournament.uid,
            value=99,
            stamped_at=tournament.ends_at,
            body_hash=bytes(32),
            now=tournament.closes_at - timedelta(microseconds=1),
        )


def test_refund_runs_in_parallel_give_each_stake_back_once(monkeypatch):
    now = timezone.now()
    monkeypatch.setattr(cancelling, "CHUNK", 2)
    tournament = TournamentFactory.create(now=now)
    gamers = [seat(tournament).gamer for _ in range(9)]
    cancelling.cancel(uid=tournament.uid, now=now)

    results = at_once(*[lambda: cancelling.refund_stakes(uid=tournament.uid, now=now)] * 3)

    assert sum(results) == 9
    assert [buckets(gamer) for gamer in gamers] == [(10, 0, 0, 0)] * 9
    assert WalletTransaction.objects.filter(type="REFUND").count() == 9


def test_claims_in_parallel_pay_once():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now, over=True)
    gamer = seat(tournament, score=50).gamer
    seat(tournament, score=40)
    settling.settle(uid=tournament.uid, now=now)

    results = at_once(*[lambda: len(claiming.claim(gamer=gamer, now=now))] * 6)

    assert sorted(results) == [0] * 5 + [1]
    assert buckets(gamer) == (0, 0, 17, 0)
    assert WalletTransaction.objects.filter(type="REWARD_CLAIM").count() == 1


def test_parallel_settlements_and_claims_of_one_gamer_do_not_lock_each_other_out():
    now = timezone.now()
    game = GameFactory.create()
    gamer = player(game, bonus=50)
    tournaments = [TournamentFactory.create(now=now, over=True, game=game) for _ in range(4)]
    for tournament in tournaments:
        seat(tournament, gamer=gamer, score=50)
        seat(tournament, score=40)

    at_once(
        *(partial(settle, tournament, now=now) for tournament in tournaments),
        *[lambda: claiming.claim(gamer=gamer, now=now)] * 3,
    )
    claiming.claim(gamer=gamer, now=now)

    assert buckets(gamer) == (10, 0, 4 * 17, 0)
