import uuid
from datetime import timedelta

import pytest

from accounts.tests.api import GameClient, error_body
from rewards.models import Reward
from rewards.tests.factories import prize, promotion, winner
from wallet import custody, freezing, ledger
from wallet.models import Transfer, WalletTransaction

pytestmark = pytest.mark.django_db


def client_of(gamer):
    return GameClient(gamer.game).as_gamer(gamer)


def listed(gamer):
    return client_of(gamer).get("/rewards")


def claim(gamer, body=None, **kwargs):
    return client_of(gamer).post("/rewards/_claim", body, **kwargs)


def money(gamer):
    balances = ledger.balances(custody.wallet_of(gamer).pk)
    return balances.earned, balances.claimable


def world():
    return (
        sorted(Reward.objects.values_list("uid", "status", "claim_posting_id", "updated_at")),
        WalletTransaction.objects.count(),
        Transfer.objects.count(),
    )


def iso(moment):
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def test_rewards_are_listed_with_their_sum_newest_first(now):
    gamer = winner()
    old = prize(gamer, 60, now=now - timedelta(days=1), rank=1, title="Daily Carrom")
    new = promotion(gamer, 5, now=now, expires_at=now + timedelta(days=1))

    response = listed(gamer)

    shared = {
        "user_id": gamer.gamer_id,
        "claim_status": "UNCLAIMED",
        "wallet_address": gamer.wallet.address,
    }
    assert response.status_code == 200
    assert response.json() == {
        "total_claimable_rewards": 65,
        "claimable_rewards_info": [
            {
                **shared,
                "reward_id": str(new.uid),
                "tournament_id": None,
                "tournament_title": None,
                "rank": None,
                "reward": 5,
                "created_at": iso(now),
                "updated_at": iso(now),
                "source": "PROMOTION",
                "reference": "welcome-week",
                "expires_at": iso(now + timedelta(days=1)),
            },
            {
                **shared,
                "reward_id": str(old.uid),
                "tournament_id": str(old.tournament_uid),
                "tournament_title": "Daily Carrom",
                "rank": 1,
                "reward": 60,
                "created_at": iso(now - timedelta(days=1)),
                "updated_at": iso(now - timedelta(days=1)),
            },
        ],
    }


def test_no_rewards_are_an_empty_list(now):
    gamer, other = winner(), winner()
    prize(other, 60, now=now)

    response = listed(gamer)

    assert response.status_code == 200
    assert response.json() == {"total_claimable_rewards": 0, "claimable_rewards_info": []}


@pytest.mark.parametrize("body", [None, {}, {"unknown": 1}])
def test_claim_without_ids_claims_all(now, body):
    gamer = winner()
    rewards = [prize(gamer, amount, now=now) for amount in (60, 40)]

    response = claim(gamer, body)

    assert response.status_code == 200
    assert response.json() == {
        "message": "Rewards claimed successfully",
        "claimed_amount": 100,
        "claimed_rewards": [str(reward.uid) for reward in rewards],
    }
    assert money(gamer) == (100, 0)
    for reward in rewards:
        reward.refresh_from_db()
        assert (reward.status, reward.claimed_at, reward.updated_at) == (
            "CLAIMED_SUCCESSFULLY",
            now,
            now,
        )
        transaction = WalletTransaction.objects.get(uid=str(reward.claim_posting_id))
        assert (transaction.type, transaction.direction) == ("REWARD_CLAIM", "CREDIT")
        assert (transaction.amount, transaction.wallet) == (reward.amount, gamer.wallet)
        assert transaction.description == "Prize for rank 1 in Daily"
    assert listed(gamer).json()["claimable_rewards_info"] == []


def test_claim_again_finds_nothing(now):
    gamer = winner()
    prize(gamer, 60, now=now)
    claim(gamer)
    before = world()

    response = claim(gamer)

    assert response.status_code == 200
    assert response.json() == {
        "message": "No rewards to claim",
        "claimed_amount": 0,
        "claimed_rewards": [],
    }
    assert world() == before


def test_claim_by_id_leaves_the_others(now):
    gamer = winner()
    wanted, other = (prize(gamer, amount, now=now) for amount in (60, 40))

    response = claim(gamer, {"reward_ids": [str(wanted.uid), str(wanted.uid).upper()]})

    assert response.json()["claimed_rewards"] == [str(wanted.uid)]
    assert money(gamer) == (60, 40)
    assert [shown["reward_id"] for shown in listed(gamer).json()["claimable_rewards_info"]] == [
        str(other.uid)
    ]


def test_a_claimed_id_counts_as_done(now):
    gamer = winner()
    first, second = (prize(gamer, amount, now=now) for amount in (60, 40))
    claim(gamer, {"reward_ids": [str(first.uid)]})

    response = claim(gamer, {"reward_ids": [str(first.uid), str(second.uid)]})

    assert response.json()["claimed_amount"] == 40
    assert response.json()["claimed_rewards"] == [str(second.uid)]
    assert claim(gamer, {"reward_ids": [str(first.uid)]}).json()["claimed_amount"] == 0
    assert money(gamer) == (100, 0)


def test_claim_of_a_promotion(now):
    gamer = winner()
    promotion(gamer, 25, now=now)

    claim(gamer)

    assert money(gamer) == (25, 0)
    assert WalletTransaction.objects.get().description == "Reward welcome-week"


@pytest.mark.parametrize("which", ["unknown", "malformed", "another gamer's", "expired"])
def test_one_bad_id_claims_nothing(now, which):
    gamer = winner()
    good = prize(gamer, 60, now=now)
    bad = {
        "unknown": lambda: uuid.uuid4(),
        "malformed": lambda: "no-uuid",
        "another gamer's": lambda: prize(winner(gamer.game), 40, now=now).uid,
        "expired": lambda: promotion(gamer, 5, now=now - timedelta(days=1), expires_at=now).uid,
    }[which]()
    before = world()

    response = claim(gamer, {"reward_ids": [str(good.uid), str(bad)]})

    assert response.status_code == 404
    assert error_body(response) == {"error": "REWARD_NOT_FOUND", "details": {}}
    assert world() == before
    assert money(gamer)[0] == 0


def test_an_expired_reward_is_neither_listed_nor_claimed(now):
    gamer = winner()
    promotion(gamer, 5, now=now - timedelta(days=1), expires_at=now)

    assert listed(gamer).json()["total_claimable_rewards"] == 0
    assert claim(gamer).json()["claimed_amount"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reward_ids": []}, "reward_ids"),
        ({"reward_ids": None}, "reward_ids"),
        ({"reward_ids": "all"}, "reward_ids"),
        ({"reward_ids": [7]}, "reward_ids.0"),
        ({"reward_ids": ["x"] * 101}, "reward_ids"),
        ([], "body"),
        (b"{", "body"),
    ],
)
def test_a_wrong_shape_is_refused(now, body, field):
    gamer = winner()
    prize(gamer, 60, now=now)
    before = world()

    response = claim(gamer, body)

    assert response.status_code == 400
    refused = error_body(response)
    assert refused["error"] == "BAD_REQUEST"
    assert list(refused["details"]["fields"]) == [field]
    assert world() == before


@pytest.mark.parametrize("body", [None, b"{"])
def test_a_frozen_wallet_claims_nothing(now, body):
    gamer = winner()
    prize(gamer, 60, now=now)
    freezing.freeze(wallet=gamer.wallet, reason="stolen phone", by="sam", now=now)
    before = world()

    response = claim(gamer, body)

    assert response.status_code == 403
    assert error_body(response) == {
        "error": "GAMER_BLOCKED",
        "details": {"reason": "WALLET_FROZEN"},
    }
    assert world() == before
    assert listed(gamer).status_code == 200


def test_claim_repeated_with_its_key_gives_the_first_answer(now):
    gamer = winner()
    prize(gamer, 60, now=now)

    first = claim(gamer, key="claim-1")
    again = claim(gamer, key="claim-1")

    assert (again.status_code, again.content) == (200, first.content)
    assert money(gamer) == (60, 0)


@pytest.mark.parametrize("rewards", [1, 3])
def test_the_list_makes_few_queries(now, django_assert_num_queries, rewards):
    gamer = winner()
    for amount in range(rewards):
        prize(gamer, amount + 1, now=now)
    client = client_of(gamer)

    with django_assert_num_queries(3):
        client.get("/rewards")


@pytest.mark.parametrize(("rewards", "queries"), [(1, 14), (3, 24)])
def test_claim_makes_few_queries(now, django_assert_num_queries, rewards, queries):
    gamer = winner()
    for amount in range(rewards):
        prize(gamer, amount + 1, now=now)
    client = client_of(gamer)

    # Five for each reward: the wallet's lock and number, its transaction, accounts, posting.
    with django_assert_num_queries(queries):
        client.post("/rewards/_claim")
