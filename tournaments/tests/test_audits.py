"""Rows and postings that part are found, from whichever end."""

import pytest
from django.db import transaction

from kgen.common.identifiers import uuid7
from rewards.models import Reward
from tournaments import cancelling, joining, settling
from tournaments.audits import AUDITS
from tournaments.models import Participation
from tournaments.tests.factories import TournamentFactory, player, seat
from wallet import custody, entry_fees, prize_pools
from wallet.reconciliation import Finding

pytestmark = pytest.mark.django_db

FEES = "Entry fees are seats"
REFUNDS = "Refunds are seats given up"
RESULTS = "Prizes are results"
REWARDS = "Prizes are rewards"


def findings() -> dict[str, list[Finding]]:
    found = {audit.title: audit.find() for audit in AUDITS}
    return {title: problems for title, problems in found.items() if problems}


def play(now):
    """One tournament that paid prizes, one cancelled, one free, one still on with a leaver."""
    over = TournamentFactory.create(now=now, over=True)
    for score in (50, 40, 30):
        seat(over, score=score)
    settling.settle(uid=over.uid, now=now)
    cancelled = TournamentFactory.create(now=now)
    seat(cancelled)
    cancelling.cancel(uid=cancelled.uid, now=now)
    cancelling.refund_stakes(uid=cancelled.uid, now=now)
    free = TournamentFactory.create(now=now, over=True, entry_fee=0)
    seat(free, gamer=player(free.game), score=1)
    seat(free, gamer=player(free.game), score=2)
    settling.settle(uid=free.uid, now=now)
    live = TournamentFactory.create(now=now)
    joining.leave(gamer=seat(live).gamer, tournament_uid=live.uid, now=now)
    return over


def test_played_tournaments_have_no_findings(now):
    play(now)

    assert findings() == {}


def test_seat_that_nobody_paid_for_is_found(now):
    play(now)
    unpaid = Participation.objects.filter(final_rank=1, tournament__entry_fee=10).get()
    Participation.objects.filter(pk=unpaid.pk).update(fee_posting_id=uuid7())

    found = findings()

    assert set(found) == {FEES}
    assert [finding.problem for finding in found[FEES]] == [
        "nothing was promised, 10 posted",
        "10 was promised, nothing posted",
    ]
    assert found[FEES][1].subject == f"seat {unpaid.pk}"


def test_fee_without_a_seat_is_found(now):
    play(now)
    other = TournamentFactory.create(now=now, entry_fee=1)
    reference = uuid7()
    with transaction.atomic():
        wallet = custody.wallet_of(player(other.game))
        pool = prize_pools.pool_of(tournament_id=other.pk, game_id=other.game_id)
        entry_fees.collect(
            wallet=wallet, pool=pool, amount=1, reference=reference, description="", now=now
        )

    assert findings() == {FEES: [Finding(f"posting {reference}", "nothing was promised, 1 posted")]}


def test_refund_that_was_never_made_is_found(now):
    play(now)
    left = Participation.objects.get(left_at__isnull=False)
    made = left.refund_posting_id
    Participation.objects.filter(pk=left.pk).update(refund_posting_id=uuid7())

    assert findings() == {
        REFUNDS: [
            Finding(f"posting {made}", "nothing was promised, 10 posted"),
            Finding(f"seat {left.pk}", "10 was promised, nothing posted"),
        ]
    }


def test_prize_of_another_amount_is_found(now):
    over = play(now)
    prize = over.participations.get(final_rank=1).prize
    assert prize is not None
    over.participations.filter(final_rank=1).update(prize=prize + 1)

    assert findings() == {
        RESULTS: [
            Finding(f"tournament {over.uid}", f"{prize + 1} was promised, {prize} posted"),
        ]
    }


def test_reward_that_is_gone_is_found(now):
    over = play(now)
    Reward.objects.filter(tournament_uid=over.uid).delete()

    found = findings()

    assert set(found) == {REWARDS}
    assert len(found[REWARDS]) == 1
    assert found[REWARDS][0].problem.startswith("nothing was promised")
