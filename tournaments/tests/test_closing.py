"""The sweep: what is due, in which order, once, and whatever else fails."""

import logging
from datetime import timedelta

import pytest
import time_machine

from tournaments import cancelling, closing, settling, tasks
from tournaments.closing import Step
from tournaments.models import Participation, Setback, Tournament
from tournaments.tests.factories import TournamentFactory, seat
from tournaments.tests.world import buckets, pool_balance, world
from wallet.models import WalletTransaction

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def played(now, **traits):
    tournament = TournamentFactory.create(now=now, **traits)
    for score in (5, 3):
        seat(tournament, score=score)
    return tournament


def lose_the_fee(tournament):
    """Then nothing can be given back."""
    Participation.objects.filter(tournament=tournament).update(
        fee_posting_id="0193c1d2-7c1e-7c55-9a3e-5f0d6b2f1a77"
    )


def phase(tournament):
    return Tournament.objects.get(pk=tournament.pk).phase


def test_after_an_hour_down_what_was_due_first_comes_first(now):
    late = played(now, starts_at=now - 61 * 60 * SECOND - 30 * SECOND)  # closed 30 s ago
    early = played(now, starts_at=now - 2 * HOUR)  # closed an hour ago
    short = TournamentFactory.create(now=now, starts_at=now - HOUR - 28 * 60 * SECOND)  # 30 min
    cancelled = played(now)
    cancelling.cancel(uid=cancelled.uid, now=now - 45 * 60 * SECOND)
    running = played(now)

    assert closing.due(now=now) == [
        (Step.SETTLE, early.uid),
        (Step.REFUND, cancelled.uid),
        (Step.CANCEL_IF_SHORT, short.uid),
        (Step.SETTLE, short.uid),
        (Step.SETTLE, late.uid),
    ]

    tasks.close_due_tournaments()
    tasks.close_due_tournaments()

    assert closing.due(now=now) == []
    assert [phase(one) for one in (early, late, short, running)] == [
        "COMPLETED",
        "COMPLETED",
        "CANCELLED",
        "PUBLISHED",
    ]


def test_one_sweep_asks_for_no_more_than_a_queue_is_long(now, monkeypatch):
    monkeypatch.setattr(closing, "AT_ONCE", 2)
    tournaments = [
        TournamentFactory.create(now=now, starts_at=now - hours * HOUR) for hours in (2, 4, 3)
    ]

    first = closing.due(now=now)

    assert {uid for _, uid in first} == {tournaments[1].uid}
    for _ in range(6):
        tasks.close_due_tournaments()
    assert closing.due(now=now) == []
    assert [phase(one) for one in tournaments] == ["CANCELLED"] * 3


def test_one_that_fails_stops_no_other_and_is_tried_again_later(now, caplog):
    caplog.set_level(logging.CRITICAL)
    bad = TournamentFactory.create(now=now, starts_at=now - 3 * HOUR)
    seat(bad)
    lose_the_fee(bad)
    cancelling.cancel(uid=bad.uid, now=now - HOUR)
    good = [played(now, over=True) for _ in range(2)]

    tasks.close_due_tournaments()

    assert [phase(one) for one in good] == ["COMPLETED"] * 2
    setback = Setback.objects.get()
    assert (setback.tournament, setback.tries, setback.since) == (bad, 1, now)
    assert setback.problem.startswith("Could not give its stakes back: ")
    assert setback.next_try_at == now + 5 * SECOND
    assert closing.due(now=now + 4 * SECOND) == []
    assert closing.due(now=now + 5 * SECOND) == [(Step.REFUND, bad.uid)]


def test_pauses_between_tries_grow_to_five_minutes(now, caplog):
    caplog.set_level(logging.CRITICAL)
    bad = TournamentFactory.create(now=now)
    seat(bad)
    lose_the_fee(bad)
    cancelling.cancel(uid=bad.uid, now=now)

    pauses = []
    at = now
    for _ in range(8):
        assert closing.take(Step.REFUND, uid=bad.uid, now=at) is False
        setback = Setback.objects.get()
        pauses.append((setback.next_try_at - at) // SECOND)
        at = setback.next_try_at

    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
    assert (setback.tries, setback.since) == (8, now)


def test_a_setback_is_forgotten_when_the_step_is_done(now, caplog):
    caplog.set_level(logging.CRITICAL)
    bad = TournamentFactory.create(now=now)
    taken = seat(bad)
    fee = taken.fee_posting_id
    lose_the_fee(bad)
    cancelling.cancel(uid=bad.uid, now=now)
    tasks.close_due_tournaments()
    assert Setback.objects.count() == 1

    Participation.objects.update(fee_posting_id=fee)
    with time_machine.travel(now + 5 * SECOND, tick=False):
        tasks.close_due_tournaments()

    assert Setback.objects.count() == 0
    assert Tournament.objects.get().refunded_at == now + 5 * SECOND
    assert buckets(taken.gamer) == (10, 0, 0, 0)


def test_a_crash_between_the_cancel_and_the_refunds_is_made_good_by_the_sweep(now, monkeypatch):
    monkeypatch.setattr(cancelling, "CHUNK", 2)
    tournament = TournamentFactory.create(now=now)
    seats = [seat(tournament) for _ in range(5)]
    cancelling.cancel(uid=tournament.uid, now=now)
    cancelling._refund_chunk(uid=tournament.uid, now=now)  # then the worker is gone

    tasks.close_due_tournaments()

    assert [buckets(one.gamer) for one in seats] == [(10, 0, 0, 0)] * 5
    assert pool_balance(tournament) == 0
    assert WalletTransaction.objects.filter(type="REFUND").count() == 5
    assert Tournament.objects.get().refunded_at == now


def test_a_step_taken_for_nothing_changes_nothing(now):
    tournament = played(now, over=True)
    closing.take(Step.SETTLE, uid=tournament.uid, now=now)
    before = world()

    for step in Step:
        assert closing.take(step, uid=tournament.uid, now=now) is True

    assert world() == before
    assert Setback.objects.count() == 0


def test_a_setback_is_forgotten_too_when_a_person_does_the_step(now):
    settled, refunded = played(now, over=True), played(now)
    cancelling.cancel(uid=refunded.uid, now=now)
    for tournament in (settled, refunded):
        Setback.objects.create(
            tournament=tournament,
            problem="Could not.",
            tries=1,
            since=now,
            last_at=now,
            next_try_at=now + HOUR,
        )

    settling.settle(uid=settled.uid, now=now)
    cancelling.refund_stakes(uid=refunded.uid, now=now)

    assert Setback.objects.count() == 0
