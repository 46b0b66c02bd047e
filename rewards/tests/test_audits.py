"""A promise and the money set aside, or paid, for it are held against each other."""

import pytest
from django.db import transaction
from django.utils import timezone

from kgen.common.identifiers import uuid7
from rewards import claiming
from rewards.audits import AUDITS
from rewards.models import Reward
from rewards.tests.factories import promotion, winner
from wallet import claims
from wallet.reconciliation import Finding

pytestmark = pytest.mark.django_db

GRANTS = "Grants are rewards"
CLAIMS = "Claims are rewards"
EXPIRIES = "Expiries are rewards"
TO_CLAIM = "Rewards to claim are set aside"


def findings() -> dict[str, list[Finding]]:
    found = {audit.title: audit.find() for audit in AUDITS}
    return {title: problems for title, problems in found.items() if problems}


def play():
    """A promotion that was claimed, and one that waits."""
    now = timezone.now()
    gamer = winner()
    claimed = promotion(gamer, 60, now=now, reference="first")
    promotion(gamer, 40, now=now, reference="second")
    claiming.claim(gamer=gamer, now=now, reward_uids=[claimed.uid])
    return claimed


def test_rewards_as_they_are_made_have_no_findings():
    play()

    assert findings() == {}


def test_reward_of_another_amount_is_found():
    claimed = play()
    Reward.objects.filter(pk=claimed.pk).update(amount=61)

    problem = Finding(f"reward {claimed.uid}", "61 was promised, 60 posted")
    assert findings() == {GRANTS: [problem], CLAIMS: [problem]}


def test_claim_that_was_never_credited_is_found():
    claimed = play()
    Reward.objects.exclude(pk=claimed.pk).update(
        status="CLAIMED_SUCCESSFULLY", claim_posting_id=uuid7(), claimed_at=timezone.now()
    )
    other = Reward.objects.exclude(pk=claimed.pk).get()

    assert findings() == {
        CLAIMS: [Finding(f"reward {other.uid}", "40 was promised, nothing posted")],
        TO_CLAIM: [Finding(f"wallet {other.gamer.wallet.pk}", "0 was promised, 40 is there")],
    }


def test_grant_without_a_reward_is_found():
    claimed = play()
    posting = Reward.objects.exclude(pk=claimed.pk).get().grant_posting_id
    wallet = claimed.gamer.wallet
    Reward.objects.exclude(pk=claimed.pk).delete()

    assert findings() == {
        GRANTS: [Finding(f"posting {posting}", "nothing was promised, 40 posted")],
        TO_CLAIM: [Finding(f"wallet {wallet.pk}", "0 was promised, 40 is there")],
    }


def test_expiry_that_gave_nothing_back_is_found():
    claimed = play()
    other = Reward.objects.exclude(pk=claimed.pk).get()
    Reward.objects.filter(pk=other.pk).update(
        status="EXPIRED", expiry_posting_id=uuid7(), expires_at=other.created_at
    )

    assert findings() == {
        EXPIRIES: [Finding(f"reward {other.uid}", "40 was promised, nothing posted")],
        TO_CLAIM: [Finding(f"wallet {other.gamer.wallet.pk}", "0 was promised, 40 is there")],
    }


def test_wallet_with_less_to_claim_than_was_promised_is_found():
    claimed = play()
    other = Reward.objects.exclude(pk=claimed.pk).get()
    with transaction.atomic():
        claims.take_back_each([claims.Movement(other.gamer.wallet.pk, 15, uuid7())])

    assert findings()[TO_CLAIM] == [
        Finding(f"wallet {other.gamer.wallet.pk}", "40 was promised, 25 is there")
    ]
