from datetime import UTC, datetime

import pytest
from django.urls import reverse

from accounts.tests.staff import staff_client
from kgen.common.admin import OPERATORS, SUPPORT
from kgen.common.identifiers import uuid7
from kgen.common.models import StaffAct
from rewards import granting
from rewards.models import Reward
from rewards.tests.factories import prize, promotion, winner
from wallet import custody, ledger, prize_pools

pytestmark = pytest.mark.django_db

LIST = "/admin/rewards/reward/"


def grant_page(gamer):
    return reverse("admin:accounts_gamer_grant_reward", args=[gamer.pk])


def claimable(gamer):
    return ledger.balances(custody.wallet_of(gamer).pk).claimable


def test_grant_sets_a_reward_aside_and_is_logged(now):
    operator, gamer = staff_client(OPERATORS), winner()

    operator.post(
        grant_page(gamer),
        {
            "amount": "1250",
            "source": "ACHIEVEMENT",
            "reference": "ticket-77",
            "reason": "lost a match",
        },
    )

    reward = Reward.objects.get()
    assert (reward.gamer, reward.amount, reward.source) == (gamer, 1250, "ACHIEVEMENT")
    assert (reward.reference, reward.status) == ("ticket-77", "UNCLAIMED")
    assert claimable(gamer) == 1250
    assert (
        StaffAct.objects.get().line()
        == "Grant a reward (amount 1250, reference ticket-77, source ACHIEVEMENT): lost a match"
    )


def test_grant_may_expire(now):
    operator, gamer = staff_client(OPERATORS), winner()
    fields = {"amount": "5", "source": "PROMOTION", "reference": "r", "reason": "spring"}
    moment = {"expires_at_0": "2100-01-31", "expires_at_1": "12:00:00"}

    operator.post(grant_page(gamer), {**fields, **moment})
    refused = operator.post(
        grant_page(gamer), {**fields, **moment, "reference": "s", "expires_at_0": "2020-01-31"}
    )

    assert Reward.objects.get().expires_at == datetime(2100, 1, 31, 12, tzinfo=UTC)
    assert refused.context["form"].non_field_errors() == [
        "A reward must expire later than now, or never."
    ]


def test_grant_says_who_gets_it_before_it_does(now):
    operator, gamer = staff_client(OPERATORS), winner(gamer_id="g-481")

    response = operator.get(grant_page(gamer))

    assert f"g-481 of {gamer.game} finds the reward" in response.context["consequences"][0]
    assert Reward.objects.count() == 0


def test_grant_refuses_a_reference_used_before(now):
    operator, gamer = staff_client(OPERATORS), winner()
    promotion(gamer, 5, now=now, reference="ticket-77")

    response = operator.post(
        grant_page(gamer),
        {
            "amount": "5",
            "source": "PROMOTION",
            "reference": "ticket-77",
            "reason": "again",
        },
    )

    assert response.context["form"].non_field_errors() == ["This reference names another reward."]
    assert claimable(gamer) == 5
    assert StaffAct.objects.count() == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "-5"}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"amount": "9007199254740992"}, "amount"),
        ({"source": "TOURNAMENT"}, "source"),
        ({"reference": ""}, "reference"),
        ({"reference": "x" * 129}, "reference"),
        ({"reason": ""}, "reason"),
    ],
)
def test_grant_refuses_what_makes_no_sense(now, fields, field):
    operator, gamer = staff_client(OPERATORS), winner()

    response = operator.post(
        grant_page(gamer),
        {"amount": "5", "source": "PROMOTION", "reference": "r", "reason": "why", **fields},
    )

    assert list(response.context["form"].errors) == [field]
    assert Reward.objects.count() == 0
    assert claimable(gamer) == 0


def test_support_may_not_grant(now):
    support, gamer = staff_client(SUPPORT), winner()

    response = support.post(grant_page(gamer), {"amount": "5", "reference": "r", "reason": "no"})

    assert response.status_code == 403
    assert Reward.objects.count() == 0


def test_rewards_are_for_reading_alone(now):
    operator = staff_client(OPERATORS)
    reward = promotion(winner(), 5, now=now)
    url = reverse("admin:rewards_reward_change", args=[reward.pk])

    assert operator.get(url).status_code == 200
    assert operator.post(url, {"amount": "500"}).status_code == 403
    assert operator.get(f"{LIST}add/").status_code == 403
    assert operator.post(url.replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert Reward.objects.get().amount == 5


def test_gamer_page_shows_what_a_reward_is_for(now):
    support, gamer = staff_client(SUPPORT), winner()
    prize(gamer, 60, now=now, rank=1, title="Daily Carrom")

    response = support.get(reverse("admin:accounts_gamer_change", args=[gamer.pk]))

    rewards = dict(response.context["panels"])["Rewards"]
    assert [row[1] for row in rewards.rows] == ["Rank 1 in Daily Carrom"]


@pytest.mark.parametrize("rows", [1, 3])
def test_list_costs_the_same_queries_whatever_its_length(now, rows, django_assert_num_queries):
    support = staff_client(SUPPORT)
    for _ in range(rows):
        prize(winner(), 60, now=now)

    with django_assert_num_queries(7):
        support.get(LIST)


@pytest.mark.parametrize("term", ["ticket-77", "not-a-uuid", "0xAB"])
def test_search_survives_any_term(now, term):
    support = staff_client(SUPPORT)
    promotion(winner(), 5, now=now, reference="ticket-77")

    response = support.get(LIST, {"q": term})

    assert len(response.context["cl"].result_list) == (term == "ticket-77")


def test_wallet_page_names_what_was_promised_to_its_gamer(now):
    support, gamer, rival = staff_client(SUPPORT), winner(), winner()
    wallet, uid = custody.wallet_of(gamer), uuid7()
    pool = prize_pools.open_pool(tournament_id=7, tournament_uid=uid, game_id=gamer.game_id)
    prize_pools.sponsor(pool=pool, amount=100, reference=uuid7())
    prize_pools.distribute(
        pool=pool,
        reference=uuid7(),
        prizes=[(custody.wallet_of(rival).pk, 60), (wallet.pk, 40)],
        platform=0,
        developer=0,
        remainder=0,
    )
    granting.record_prizes(
        game_id=gamer.game_id,
        tournament_uid=uid,
        tournament_title="Daily Carrom",
        prizes=[(rival.pk, 60), (gamer.pk, 40)],
        now=now,
    )
    promotion(gamer, 5, now=now, reference="ticket-77")

    response = support.get(reverse("admin:wallet_wallet_change", args=[wallet.pk]))

    timeline = dict(response.context["panels"])["Timeline"]
    assert {str(row[1]) for row in timeline.rows} == {
        "Prize of 40 KCash for rank 2 in Daily Carrom, to claim",
        "Reward of 5 KCash for ticket-77, to claim",
    }
