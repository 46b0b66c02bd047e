"""Operators' moves at the very moment at which others act: no money is stranded."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.tests.threads import wait_until_blocked
from tournaments import cancelling, closing, lifecycle, settling
from tournaments.models import Tournament
from tournaments.tests.factories import TournamentFactory, player, record_score, seat
from tournaments.tests.test_races import at_once, cancel, join, settle
from tournaments.tests.world import buckets, pool_balance
from wallet.models import WalletTransaction

pytestmark = pytest.mark.usefixtures("committed_database")


def lock_now(tournament, *, now):
    return lifecycle.lock_now(uid=tournament.uid, now=now).locks_at


def end_now(tournament, *, now):
    return lifecycle.end_now(uid=tournament.uid, now=now).ends_at


def test_a_score_and_the_end_at_once_leave_a_score_that_is_paid():
    for _ in range(4):
        now = timezone.now()
        tournament = TournamentFactory.create(now=now)
        leader, other = (seat(tournament, score=score) for score in (5, 3))

        scored, ended = at_once(
            partial(record_score, tournament, other.gamer, 9, at=now),
            partial(end_now, tournament, now=now),
        )

        # Stamped at the very end and received within the grace: it counts, whoever was first.
        assert (scored, ended) == (None, now)
        closes_at = Tournament.objects.get(pk=tournament.pk).closes_at
        assert settle(tournament, now=closes_at) == "COMPLETED"
        assert [buckets(one.gamer)[3] for one in (leader, other)] == [0, 17]
        assert pool_balance(tournament) == 0


def test_joins_and_the_lock_at_once_seat_those_who_paid():
    for _ in range(3):
        now = timezone.now()
        tournament = TournamentFactory.create(now=now)
        gamers = [player(tournament.game, bonus=50) for _ in range(6)]

        results = at_once(
            *(partial(join, tournament, gamer, now=now) for gamer in gamers[:3]),
            partial(lock_now, tournament, now=now),
            *(partial(join, tournament, gamer, now=now) for gamer in gamers[3:]),
        )

        assert results.pop(3) == now
        assert set(results) <= {"joined", "TournamentNotLive"}
        joined = [result == "joined" for result in results]
        assert [buckets(gamer)[0] for gamer in gamers] == [40 if one else 50 for one in joined]
        assert pool_balance(tournament) == 10 * sum(joined)
        closing.take(closing.Step.CANCEL_IF_SHORT, uid=tournament.uid, now=now)
        closing.take(closing.Step.REFUND, uid=tournament.uid, now=now)
        if sum(joined) < 2:
            assert pool_balance(tournament) == 0


def test_a_join_that_waits_for_the_lock_is_refused():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    gamer = player(tournament.game, bonus=50)

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            lock_now(tournament, now=now)
            joined = thread.submit(at_once, partial(join, tournament, gamer, now=now))
            wait_until_blocked()
        assert joined.result() == ["TournamentNotLive"]

    assert buckets(gamer) == (50, 0, 0, 0)
    assert pool_balance(tournament) == 0


def test_cancelling_and_settling_at_once_pay_or_refund_and_never_both():
    for _ in range(4):
        now = timezone.now()
        tournament = TournamentFactory.create(now=now, over=True)
        seats = [seat(tournament, score=score) for score in (5, 3)]

        cancelled, settled = at_once(
            partial(cancel, tournament, now=now), partial(settle, tournament, now=now)
        )
        cancelling.refund_stakes(uid=tournament.uid, now=now)

        outcome = [buckets(one.gamer) for one in seats]
        if cancelled == "CANCELLED":
            assert settled == "CANCELLED"
            assert outcome == [(10, 0, 0, 0)] * 2
        else:
            assert (cancelled, settled) == ("AlreadyFinished", "COMPLETED")
            assert outcome == [(0, 0, 0, 17), (0, 0, 0, 0)]
        assert pool_balance(tournament) == 0


def test_ending_locking_and_cancelling_at_once_end_in_one_state():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now)
    taken = seat(tournament)

    results = at_once(
        partial(end_now, tournament, now=now),
        partial(lock_now, tournament, now=now),
        partial(cancel, tournament, now=now),
    )

    assert set(results) <= {now, "TournamentNotLive", "CANCELLED"}
    assert results[2] == "CANCELLED"
    cancelling.refund_stakes(uid=tournament.uid, now=now)
    assert buckets(taken.gamer) == (10, 0, 0, 0)


def test_workers_that_catch_up_together_do_each_thing_once(monkeypatch):
    monkeypatch.setattr(cancelling, "CHUNK", 1)
    now = timezone.now()
    over = [TournamentFactory.create(now=now, over=True) for _ in range(3)]
    for tournament in over:
        for score in (5, 3):
            seat(tournament, score=score)
    called_off = TournamentFactory.create(now=now)
    refunded = [seat(called_off).gamer for _ in range(5)]
    cancelling.cancel(uid=called_off.uid, now=now)

    def work():
        return [closing.take(step, uid=uid, now=now) for step, uid in closing.due(now=now)]

    results = at_once(*[work] * 3)

    assert all(isinstance(done, list) and all(done) for done in results)
    assert list(Tournament.objects.order_by("pk").values_list("phase", flat=True)) == [
        "COMPLETED",
        "COMPLETED",
        "COMPLETED",
        "CANCELLED",
    ]
    assert [buckets(gamer) for gamer in refunded] == [(10, 0, 0, 0)] * 5
    assert WalletTransaction.objects.filter(type="REFUND").count() == 5
    assert [pool_balance(one) for one in (*over, called_off)] == [0] * 4
    assert closing.due(now=now) == []
    assert settling.settle(uid=over[0].uid, now=now).phase == "COMPLETED"
