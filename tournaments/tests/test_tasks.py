from datetime import timedelta

import pytest
import time_machine

from tournaments import tasks
from tournaments.models import Participation, Tournament
from tournaments.tests.factories import TournamentFactory, seat
from tournaments.tests.world import buckets, world

pytestmark = pytest.mark.django_db


def phases(*tournaments):
    found = dict(Tournament.objects.values_list("pk", "phase"))
    return [found[tournament.pk] for tournament in tournaments]


def test_the_sweep_closes_what_is_due_and_nothing_else(now):
    over, live, locked, short = (
        TournamentFactory.create(now=now, **traits)
        for traits in ({"over": True}, {}, {"locked": True}, {"locked": True})
    )
    for tournament in (over, live, locked):
        for score in (5, 3):
            seat(tournament, score=score)
    lonely = seat(short, score=5).gamer

    tasks.close_due_tournaments()

    assert phases(over, live, locked, short) == ["COMPLETED", "PUBLISHED", "PUBLISHED", "CANCELLED"]
    # What was cancelled in this sweep is given back in the next one.
    tasks.close_due_tournaments()
    assert buckets(lonely) == (10, 0, 0, 0)


def test_a_sweep_that_was_down_catches_up(now):
    tournaments = [
        TournamentFactory.create(now=now - timedelta(hours=hours), over=True) for hours in (2, 1, 0)
    ]
    for tournament in tournaments:
        for score in (5, 3):
            seat(tournament, score=score)

    tasks.close_due_tournaments()

    settled = Tournament.objects.order_by("pk").values_list("phase", "settled_at")
    assert list(settled) == [("COMPLETED", now)] * 3


def test_a_third_sweep_changes_nothing(now):
    for scores in ((5, 3), (0, 0), (5,)):
        tournament = TournamentFactory.create(now=now, over=True)
        for score in scores:
            seat(tournament, score=score)
    tasks.close_due_tournaments()
    tasks.close_due_tournaments()
    before = world()

    with time_machine.travel(now + timedelta(minutes=5), tick=False):
        tasks.close_due_tournaments()

    assert world() == before
    assert sorted(phases(*Tournament.objects.all())) == ["CANCELLED", "CANCELLED", "COMPLETED"]


def test_each_task_run_twice_changes_nothing(now):
    short = TournamentFactory.create(now=now, locked=True)
    over = TournamentFactory.create(now=now, over=True)
    seat(short)
    for score in (5, 3):
        seat(over, score=score)
    runs = [
        (tasks.cancel_short_tournament, short),
        (tasks.refund_cancelled_tournament, short),
        (tasks.settle_tournament, over),
    ]

    for task, tournament in runs:
        task(uid=str(tournament.uid), added_later=1)
        before = world()
        task(uid=str(tournament.uid))
        assert world() == before

    assert phases(short, over) == ["CANCELLED", "COMPLETED"]
    assert Participation.objects.get(tournament=short).refund_posting_id is not None
