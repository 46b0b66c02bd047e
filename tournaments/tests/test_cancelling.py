import pytest
from django.db import transaction

from tournaments import cancelling, joining, settling
from tournaments.lifecycle import AlreadyFinished
from tournaments.models import Participation, Tournament
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.world import buckets, pool_balance, world
from wallet.ledger import Bucket
from wallet.models import WalletTransaction
from wallet.tests.factories import fill

pytestmark = pytest.mark.django_db

Phase = Tournament.Phase


def test_cancel_comes_before_the_refunds(now):
    tournament = TournamentFactory.create(now=now)
    gamer = seat(tournament).gamer

    cancelled = cancelling.cancel(uid=tournament.uid, now=now)

    cancelled.refresh_from_db()
    assert (cancelled.phase, cancelled.cancelled_at) == (Phase.CANCELLED, now)
    assert buckets(gamer) == (0, 0, 0, 0)
    assert pool_balance(tournament) == 10


def test_every_stake_goes_back_to_the_buckets_it_came_from(now):
    tournament = TournamentFactory.create(now=now)
    mixed = player(tournament.game, bonus=4)
    with transaction.atomic():
        fill(mixed.wallet, Bucket.BOUGHT, 3)
        fill(mixed.wallet, Bucket.EARNED, 20)
    leaver = player(tournament.game, bonus=10)
    seat(tournament, gamer=mixed, score=5)
    seat(tournament, gamer=leaver, score=5)
    Participation.objects.filter(gamer=leaver).update(left_at=now)
    cancelling.cancel(uid=tournament.uid, now=now)

    refunded = cancelling.refund_stakes(uid=tournament.uid, now=now)

    assert refunded == 2
    assert buckets(mixed) == (4, 3, 20, 0)
    assert buckets(leaver) == (10, 0, 0, 0)
    assert pool_balance(tournament) == 0
    refunds = WalletTransaction.objects.filter(type="REFUND").values_list("uid", "amount")
    references = Participation.objects.values_list("refund_posting_id", flat=True)
    assert set(refunds) == {(reference, 10) for reference in references}


def test_a_stake_given_back_on_leaving_is_not_given_back_again(now):
    tournament = TournamentFactory.create(now=now)
    taken = seat(tournament)
    seat(tournament)
    joining.leave(gamer=taken.gamer, tournament_uid=tournament.uid, now=now)
    cancelling.cancel(uid=tournament.uid, now=now)

    assert cancelling.refund_stakes(uid=tournament.uid, now=now) == 1
    assert buckets(taken.gamer) == (10, 0, 0, 0)


def test_refunds_go_on_where_they_stopped(now, monkeypatch):
    tournament = TournamentFactory.create(now=now)
    seats = [seat(tournament) for _ in range(5)]
    cancelling.cancel(uid=tournament.uid, now=now)
    monkeypatch.setattr(cancelling, "CHUNK", 2)
    cancelling._refund_chunk(uid=tournament.uid, now=now)
    assert Participation.objects.held().count() == 3
    assert Tournament.objects.owing_refunds().get() == tournament

    refunded = cancelling.refund_stakes(uid=tournament.uid, now=now)

    assert refunded == 3
    assert [buckets(one.gamer) for one in seats] == [(10, 0, 0, 0)] * 5
    assert Tournament.objects.get().refunded_at == now
    assert not Tournament.objects.owing_refunds().exists()


def test_cancelling_and_refunding_twice_changes_nothing(now):
    tournament = TournamentFactory.create(now=now)
    seat(tournament)
    cancelling.cancel(uid=tournament.uid, now=now)
    cancelling.refund_stakes(uid=tournament.uid, now=now)
    before = world()

    cancelling.cancel(uid=tournament.uid, now=now)

    assert cancelling.refund_stakes(uid=tournament.uid, now=now) == 0
    assert world() == before


def test_a_running_tournament_refunds_nothing(now):
    tournament = TournamentFactory.create(now=now)
    seat(tournament)

    assert cancelling.refund_stakes(uid=tournament.uid, now=now) == 0


def test_a_free_tournament_owes_nothing(now):
    tournament = TournamentFactory.create(now=now, entry_fee=0)
    seat(tournament, gamer=player(tournament.game))
    cancelling.cancel(uid=tournament.uid, now=now)

    assert cancelling.refund_stakes(uid=tournament.uid, now=now) == 0
    assert not Tournament.objects.owing_refunds().exists()


def test_a_draft_may_be_cancelled(now):
    draft = TournamentFactory.create(now=now, published=False)

    assert cancelling.cancel(uid=draft.uid, now=now).phase == Phase.CANCELLED


def test_a_settled_tournament_cannot_be_cancelled(now):
    tournament = TournamentFactory.create(now=now, over=True)
    for score in (5, 3):
        seat(tournament, score=score)
    settling.settle(uid=tournament.uid, now=now)
    before = world()

    with pytest.raises(AlreadyFinished):
        cancelling.cancel(uid=tournament.uid, now=now)

    assert world() == before


@pytest.mark.parametrize(
    ("entrants", "needed", "phase"),
    [(0, 2, "CANCELLED"), (1, 2, "CANCELLED"), (2, 2, "PUBLISHED"), (2, 3, "CANCELLED")],
)
def test_at_the_lock_too_few_entrants_cancel_it(now, entrants, needed, phase):
    tournament = TournamentFactory.create(now=now, locked=True, min_registration_start_limit=needed)
    for _ in range(entrants):
        seat(tournament)

    assert cancelling.cancel_if_short(uid=tournament.uid, now=now).phase == phase


def test_before_the_lock_too_few_entrants_do_not_matter(now):
    tournament = TournamentFactory.create(now=now)

    assert cancelling.cancel_if_short(uid=tournament.uid, now=now).phase == Phase.PUBLISHED
    at_the_lock = cancelling.cancel_if_short(uid=tournament.uid, now=tournament.locks_at)
    assert at_the_lock.phase == Phase.CANCELLED
