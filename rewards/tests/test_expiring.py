from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.tests.staff import staff_client
from accounts.tests.threads import wait_until_blocked
from kgen.common.admin import SUPPORT
from kgen.common.identifiers import uuid7
from rewards import claiming, expiring, tasks
from rewards.audits import AUDITS
from rewards.models import Reward
from rewards.tests.factories import prize, promotion, winner
from wallet import claims, custody, ledger
from wallet.models import Transfer, WalletTransaction
from wallet.tests.parallel import in_parallel
from wallet.tests.soundness import assert_sound

HOUR = timedelta(hours=1)


def money(gamer):
    balances = ledger.balances(custody.wallet_of(gamer).pk)
    return balances.earned, balances.claimable


def limited(gamer, amount, *, until, reference="welcome-week"):
    """A promotion that was granted in time."""
    return promotion(gamer, amount, now=until - HOUR, reference=reference, expires_at=until)


def findings():
    return [finding for audit in AUDITS for finding in audit.find()]


@pytest.mark.django_db
def test_an_expired_reward_goes_back_to_where_it_came_from(now):
    gamer = winner()
    reward = limited(gamer, 25, until=now)

    assert expiring.expire_due(now=now) == 1

    reward.refresh_from_db()
    assert (reward.status, reward.updated_at, reward.claimed_at) == ("EXPIRED", now, None)
    assert money(gamer) == (0, 0)
    there, back = (
        Transfer.objects.get(posting_id=posting_id)
        for posting_id in (reward.grant_posting_id, reward.expiry_posting_id)
    )
    assert (back.kind, back.amount) == ("EXPIRY", 25)
    assert (back.debit_id, back.credit_id) == (there.credit_id, there.debit_id)
    assert ledger.unkept_balance(ledger.TREASURY, at=timezone.now() + HOUR) == 0
    assert WalletTransaction.objects.count() == 0
    assert findings() == []
    assert_sound()


@pytest.mark.django_db
def test_a_second_run_changes_nothing(now):
    limited(winner(), 25, until=now)

    tasks.expire_rewards()
    tasks.expire_rewards()

    assert Transfer.objects.filter(kind="EXPIRY").count() == 1


@pytest.mark.django_db
def test_only_what_is_due_and_unclaimed_expires(now):
    gamer = winner()
    prize(gamer, 60, now=now)
    promotion(gamer, 1, now=now, reference="for ever")
    limited(gamer, 2, until=now + timedelta(microseconds=1), reference="a moment left")
    claimed = limited(gamer, 4, until=now, reference="claimed")
    claiming.claim(gamer=gamer, reward_uids=[claimed.uid], now=now - HOUR)

    assert expiring.expire_due(now=now) == 0

    assert money(gamer) == (4, 63)


@pytest.mark.django_db
def test_a_wallet_with_too_little_keeps_nobody_else_from_expiring(now, caplog):
    gamers = [winner() for _ in range(3)]
    short, *others = (limited(gamer, 25, until=now) for gamer in gamers)
    with transaction.atomic():
        claims.take_back_each([claims.Movement(gamers[0].wallet.pk, 1, uuid7())])

    assert expiring.expire_due(now=now) == 2

    assert [Reward.objects.get(pk=one.pk).status for one in (short, *others)] == [
        "UNCLAIMED",
        "EXPIRED",
        "EXPIRED",
    ]
    assert [money(gamer) for gamer in gamers] == [(0, 24), (0, 0), (0, 0)]
    assert [record.getMessage() for record in caplog.records] == [
        f"Reward {short.pk} cannot expire: wallet {gamers[0].wallet.pk} holds too little"
    ]


@pytest.mark.django_db
def test_many_expire_in_few_queries(now, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(expiring, "CHUNK", 4)
    gamers = [winner() for _ in range(3)]
    for number in range(10):
        limited(gamers[number % 3], 1, until=now, reference=str(number))

    # For each of three chunks: what is due, wallets, rewards, their end, accounts, postings, and two
    # for the savepoint; then a last look.
    with django_assert_num_queries(3 * (6 + 2) + 1):
        assert expiring.expire_due(now=now) == 10

    assert [money(gamer) for gamer in gamers] == [(0, 0)] * 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changed",
    [
        {"status": "EXPIRED"},
        {"status": "EXPIRED", "expiry_posting_id": uuid7()},
        {"expiry_posting_id": uuid7()},
        {
            "status": "CLAIMED_SUCCESSFULLY",
            "claim_posting_id": uuid7(),
            "claimed_at": timezone.now() + 2 * HOUR,
        },
    ],
)
def test_the_database_refuses_an_end_that_cannot_be(now, changed):
    reward = limited(winner(), 5, until=now + HOUR)

    with pytest.raises(IntegrityError, match="reward_ends_once"), transaction.atomic():
        Reward.objects.filter(pk=reward.pk).update(**changed)


@pytest.mark.django_db
def test_the_database_refuses_a_prize_that_expires(now):
    reward = prize(winner(), 5, now=now)

    with pytest.raises(IntegrityError, match="reward_of_tournament_whole"), transaction.atomic():
        Reward.objects.filter(pk=reward.pk).update(expires_at=now)


@pytest.mark.django_db
def test_support_reads_what_has_expired(now):
    support, gamer = staff_client(SUPPORT), winner()
    limited(gamer, 1250, until=now, reference="ticket-77")
    expiring.expire_due(now=now)

    response = support.get(reverse("admin:wallet_wallet_change", args=[gamer.wallet.pk]))

    panels = dict(response.context["panels"])
    assert {str(row[1]) for row in panels["Timeline"].rows} == {
        "Reward of 1,250 KCash for ticket-77, to claim",
        "Reward of 1,250 KCash for ticket-77 expired unclaimed, back to the treasury",
    }
    assert "= + 1,250 rewards granted (1) - 1,250 rewards expired (1)" in [
        str(row[2]) for row in panels["Why is my balance this?"].rows
    ]


# --- Races ---------------------------------------------------------------------------------------


def test_of_claim_and_expiry_exactly_one_wins(committed_database):
    now = timezone.now()
    ends = set()
    for _ in range(8):
        gamer = winner()
        reward = limited(gamer, 25, until=now)

        in_parallel(
            [
                partial(claiming.claim, gamer=gamer, now=now - timedelta(microseconds=1)),
                partial(expiring.expire_due, now=now),
                partial(expiring.expire_due, now=now),
            ]
        )
        expiring.expire_due(now=now)

        reward.refresh_from_db()
        ends.add(
            (
                reward.status,
                money(gamer),
                WalletTransaction.objects.filter(wallet=gamer.wallet).count(),
            )
        )
    assert ends <= {("CLAIMED_SUCCESSFULLY", (25, 0), 1), ("EXPIRED", (0, 0), 0)}
    assert findings() == []
    assert_sound()


def test_a_claim_that_waits_for_the_expiry_finds_nothing(committed_database):
    now = timezone.now()
    gamer = winner()
    reward = limited(gamer, 25, until=now)
    before = now - timedelta(microseconds=1)

    with ThreadPoolExecutor(2) as threads:
        with transaction.atomic():
            expiring.expire_due(now=now)
            everything = threads.submit(
                in_parallel, [partial(claiming.claim, gamer=gamer, now=before)]
            )
            wait_until_blocked()
            named = threads.submit(
                in_parallel,
                [partial(claiming.claim, gamer=gamer, reward_uids=[reward.uid], now=before)],
            )
        (nothing,), (refusal,) = everything.result(), named.result()

    assert nothing == []
    assert isinstance(refusal, claiming.RewardNotFound)
    assert money(gamer) == (0, 0)


def test_an_expiry_passes_by_whoever_is_claiming(committed_database):
    now = timezone.now()
    gamer, other = winner(), winner()
    reward, others = limited(gamer, 25, until=now), limited(other, 5, until=now)

    with transaction.atomic():
        claiming.claim(gamer=gamer, now=now - timedelta(microseconds=1))
        assert in_parallel([partial(expiring.expire_due, now=now)]) == [1]

    assert expiring.expire_due(now=now) == 0
    reward.refresh_from_db()
    others.refresh_from_db()
    assert (reward.status, others.status) == ("CLAIMED_SUCCESSFULLY", "EXPIRED")


def test_runs_in_parallel_expire_each_once(committed_database, monkeypatch):
    monkeypatch.setattr(expiring, "CHUNK", 3)
    now = timezone.now()
    gamers = [winner() for _ in range(6)]
    for number in range(18):
        limited(gamers[number % 6], number + 1, until=now, reference=str(number))

    runs = in_parallel([partial(expiring.expire_due, now=now)] * 4)

    assert sum(runs) + expiring.expire_due(now=now) == 18
    assert Transfer.objects.filter(kind="EXPIRY").count() == 18
    assert [money(gamer) for gamer in gamers] == [(0, 0)] * 6
    assert findings() == []
