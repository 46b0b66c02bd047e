"""Rewards that were there before the tables changed are as good as new ones."""

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from rewards import granting
from rewards.models import Reward
from rewards.tests.factories import prize, promotion, winner

pytestmark = pytest.mark.usefixtures("committed_database")


def migrate(*target: str) -> None:
    call_command("migrate", *target, verbosity=0)
    connection.close()


def test_rewards_from_before_are_their_gamers_games():
    now = timezone.now()
    one, other = winner(), winner()
    won, first = prize(one, 60, now=now), promotion(other, 5, now=now, reference="r")

    migrate("rewards", "0001")
    migrate()

    assert dict(Reward.objects.values_list("uid", "game")) == {
        won.uid: one.game_id,
        first.uid: other.game_id,
    }
    assert promotion(other, 5, now=now, reference="r") == first
    with pytest.raises(granting.ReferenceTaken):
        promotion(other, 6, now=now, reference="r")
