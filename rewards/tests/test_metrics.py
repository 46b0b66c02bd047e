"""What Prometheus reads of rewards that wait for the clock."""

from datetime import timedelta

import pytest

from rewards import metrics
from rewards.tests.factories import promotion, winner


@pytest.mark.django_db
def test_due_rewards_are_told_with_their_age(now):
    promotion(
        winner(),
        25,
        now=now - timedelta(hours=1),
        reference="x",
        expires_at=now - timedelta(seconds=9),
    )

    told = {
        sample.name.removeprefix("kgen_"): sample.value
        for family in metrics.collect(now=now)
        for sample in family.samples
    }

    assert told == {
        "rewards_due": 1,
        "rewards_due_seconds": 9,
        "bulk_grants_due": 0,
        "bulk_grants_due_seconds": 0,
    }
