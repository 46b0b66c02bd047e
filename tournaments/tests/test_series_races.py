import pytest
from django.db.models import Count
from django.utils import timezone

from tournaments import series
from tournaments.models import Series, Tournament
from tournaments.tests.test_races import at_once
from tournaments.tests.test_series import series_of

pytestmark = pytest.mark.usefixtures("committed_database")


def test_workers_at_once_make_and_publish_each_date_once():
    now = timezone.now()
    several = [
        series_of(now=now, first_date=now.date(), time_zone="UTC", publishes=True) for _ in range(3)
    ]

    def work():
        return sum(len(series.carry_on(pk=one.pk, now=now)) for one in Series.objects.due(now))

    made = at_once(*[work] * 4)

    count = Tournament.objects.count()
    assert sum(made) == count > 0
    by_date = Tournament.objects.values("series", "made_for").annotate(rows=Count("*"))
    assert {row["rows"] for row in by_date} == {1}
    assert set(Tournament.objects.values_list("phase", flat=True)) == {"PUBLISHED"}
    assert [one.made_count for one in Series.objects.all()] == [count // 3] * 3
    assert list(Series.objects.values_list("problem", flat=True)) == [""] * len(several)
    assert Series.objects.due(now) == []
