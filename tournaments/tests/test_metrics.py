"""What Prometheus reads of tournaments that wait to be closed."""

from datetime import timedelta

import pytest

from tournaments import metrics
from tournaments.models import Setback
from tournaments.tests.factories import TournamentFactory, seat

pytestmark = pytest.mark.django_db


def told(now) -> dict[tuple[str, str], float]:
    return {
        (sample.name.removeprefix("kgen_"), sample.labels.get("step", "")): sample.value
        for family in metrics.collect(now=now)
        for sample in family.samples
    }


def test_nothing_waits_on_an_empty_platform(now, django_assert_num_queries):
    with django_assert_num_queries(5):
        assert set(told(now).values()) == {0}


def test_what_is_due_is_told_with_its_age_and_what_stands_in_the_way(now):
    ended = TournamentFactory.create(now=now)
    for score in (5, 3):
        seat(ended, score=score)
    closes_at = ended.ends_at + ended.grace
    Setback.objects.create(
        tournament=ended,
        problem="x",
        tries=1,
        since=closes_at,
        last_at=closes_at,
        next_try_at=closes_at,
    )

    figures = told(closes_at + timedelta(seconds=30))

    assert figures["tournaments_due", "settle"] == 1
    assert figures["tournaments_due_seconds", "settle"] == 30
    assert figures["tournaments_due", "cancel"] == figures["tournaments_due", "refund"] == 0
    assert (figures["setbacks", ""], figures["setback_seconds", ""]) == (1, 30)
    assert figures["tournaments_active", ""] == 0
