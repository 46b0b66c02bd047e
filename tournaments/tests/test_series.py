from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.db import IntegrityError, transaction

from accounts.tests.factories import GameFactory
from tournaments import cancelling, lifecycle, series, tasks
from tournaments.models import Format, Series, Tournament
from tournaments.prizes import PrizeTableWrong
from tournaments.recurrence import BadRule
from tournaments.series import AlreadyRunning, AlreadyStopped, BadTitle
from tournaments.tests.factories import TournamentFactory
from wallet.models import SolvencySample
from wallet.tests.test_solvency import WELL

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def made_up(**changed):
    """Each day at 20:00 in India, which is 14:30 UTC, three days ahead."""
    fields = {
        "title": "Daily Carrom {date}",
        "entry_fee": 10,
        "rule": "FREQ=DAILY",
        "time_zone": "Asia/Kolkata",
        "first_date": date(2026, 11, 22),
        "start_time": time(20, 0),
        "length_minutes": 60,
        "horizon_days": 3,
        "publishes": False,
    }
    return {**fields, **changed}


def series_of(now=NOON, **changed):
    game = changed.pop("game", None) or GameFactory.create()
    return series.create(game=game, now=now, **made_up(**changed))


def made(one):
    rows = one.tournaments.order_by("made_for")
    return [f"{row.starts_at:%m-%d %H:%M}" for row in rows]


def test_dates_within_the_horizon_are_made_ahead(now):
    one = series_of(shown_minutes=10, lobby_minutes=5, lock_minutes=2, entry_fee=25)

    first = series.make_due(pk=one.pk, now=NOON)[0]

    assert made(one) == ["11-22 14:30", "11-23 14:30", "11-24 14:30"]
    first.refresh_from_db()
    start = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
    assert (first.title, first.entry_fee, first.phase) == (
        "Daily Carrom 2026-11-22", 25, "PREPARATION",
    )  # fmt: skip
    assert [getattr(first, name) - start for name in lifecycle.TIMES] == [
        timedelta(minutes=minutes) for minutes in (-10, -5, 0, 58, 60)
    ]
    one.refresh_from_db()
    assert (one.made_count, one.made_through) == (3, start + 2 * DAY)
    assert one.next_at == start + 3 * DAY


def test_a_date_is_made_once():
    one = series_of()

    series.make_due(pk=one.pk, now=NOON)
    again = series.make_due(pk=one.pk, now=NOON + timedelta(hours=1))
    later = series.make_due(pk=one.pk, now=NOON + DAY)

    assert again == []
    assert [f"{row.starts_at:%m-%d}" for row in later] == ["11-25"]
    assert len(made(one)) == 4


def test_the_database_takes_no_second_one_of_a_date():
    one = series_of()
    first, second, _ = series.make_due(pk=one.pk, now=NOON)

    with (
        pytest.raises(IntegrityError, match="tournament_once_a_date_of_its_series"),
        transaction.atomic(),
    ):
        Tournament.objects.filter(pk=second.pk).update(made_for=first.made_for)


def test_a_draft_that_is_moved_by_hand_is_not_made_again():
    one = series_of()
    first = series.make_due(pk=one.pk, now=NOON)[0]
    Tournament.objects.filter(pk=first.pk).update(starts_at=first.starts_at + timedelta(minutes=5))

    assert series.make_due(pk=one.pk, now=NOON) == []


def test_after_time_down_no_past_date_is_made():
    one = series_of()

    caught_up = series.make_due(pk=one.pk, now=NOON + 10 * DAY)

    assert [f"{row.starts_at:%m-%d %H:%M}" for row in caught_up] == [
        "12-02 14:30", "12-03 14:30", "12-04 14:30",
    ]  # fmt: skip


def test_no_more_than_twenty_wait_for_their_start():
    one = series_of(rule="FREQ=HOURLY", horizon_days=3)

    assert len(series.make_due(pk=one.pk, now=NOON)) == 20
    assert series.make_due(pk=one.pk, now=NOON) == []
    one.refresh_from_db()
    assert one.next_at == one.made_through + timedelta(hours=1)
    # Two have started: there is room for two.
    assert len(series.make_due(pk=one.pk, now=NOON + timedelta(hours=4))) == 2


def test_a_rule_that_ends_leaves_nothing_to_make():
    one = series_of(rule="FREQ=DAILY;COUNT=2")

    series.make_due(pk=one.pk, now=NOON)
    series.make_due(pk=one.pk, now=NOON + DAY)

    assert made(one) == ["11-22 14:30", "11-23 14:30"]
    one.refresh_from_db()
    assert one.next_at is None
    assert Series.objects.due(NOON + DAY) == []


def test_local_time_is_kept_over_the_change_of_the_clocks():
    one = series_of(
        now=datetime(2027, 3, 26, tzinfo=UTC),
        time_zone="Europe/Berlin",
        first_date=date(2027, 3, 27),
    )

    series.make_due(pk=one.pk, now=datetime(2027, 3, 26, tzinfo=UTC))

    assert made(one) == ["03-27 19:00", "03-28 18:00"]


def test_titles_are_filled_in_by_the_local_clock():
    one = series_of(title="No. {number}: {date} at {time}", start_time=time(1, 15))

    first = series.make_due(pk=one.pk, now=NOON)[0]

    assert first.title == "No. 1: 2026-11-23 at 01:15"
    assert f"{first.starts_at:%m-%d %H:%M}" == "11-22 19:45"


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"rule": "FREQ=SECONDLY"}, BadRule),
        ({"rule": "FREQ=DAILY;UNTIL=20261101"}, BadRule),
        ({"title": "{number.__class__}"}, BadTitle),
        ({"title": "{}"}, BadTitle),
        ({"title": "{date}" * 25}, BadTitle),
        ({"prize_structure": "FIXED"}, PrizeTableWrong),
        ({"sort": "LOW", "minute_ceiling": 5}, lifecycle.RiseOfLowScores),
    ],
)
def test_what_could_not_be_made_is_refused_when_it_is_set_up(changed, refusal):
    with pytest.raises(refusal):
        series_of(**changed)

    assert Series.objects.count() == 0


@pytest.mark.parametrize(
    "changed",
    [{"lock_minutes": 61}, {"lobby_minutes": 4}, {"length_minutes": 0}, {"horizon_days": 0}],
)
def test_the_database_refuses_times_out_of_order(changed):
    with pytest.raises(IntegrityError, match="series_times"), transaction.atomic():
        series_of(**changed)


def test_a_tournament_has_the_whole_format_of_its_series():
    rules = {
        "description": "Each day",
        "theme": "gold",
        "entry_fee": 25,
        "tournament_size": 50,
        "min_registration_start_limit": 7,
        "score_rule": "SUM",
        "sort": "HIGH",
        "event_ceiling": 100,
        "minute_ceiling": 500,
        "prize_structure": "FIXED",
        "prize_table": [{"first": 1, "last": 1, "amount": 40}],
        "sponsor_contribution": 40,
        "grace": timedelta(seconds=30),
    }
    assert set(rules) == {field.name for field in Format._meta.fields} - {"title"}
    one = series_of(**rules)

    first = series.make_due(pk=one.pk, now=NOON)[0]

    first.refresh_from_db()
    assert {name: getattr(first, name) for name in rules} == rules


# --- Changing, stopping --------------------------------------------------------------------------


def test_a_change_is_for_what_is_not_made_yet():
    one = series_of()
    series.make_due(pk=one.pk, now=NOON)
    before = list(one.tournaments.order_by("pk").values())

    series.change(pk=one.pk, fields={"start_time": time(21, 0), "entry_fee": 99}, now=NOON)
    # The 24th has its tournament at 20:00 and gets none at 21:00.
    assert series.make_due(pk=one.pk, now=NOON) == []
    series.make_due(pk=one.pk, now=NOON + DAY)

    assert list(one.tournaments.order_by("pk").values())[:3] == before
    assert made(one)[3:] == ["11-25 15:30"]
    assert one.tournaments.get(entry_fee=99).made_for == datetime(2026, 11, 25, 15, 30, tzinfo=UTC)


def test_a_change_that_leaves_the_dates_alone_loses_none():
    one = series_of(rule="FREQ=HOURLY", horizon_days=1, first_date=date(2026, 11, 21))
    series.make_due(pk=one.pk, now=NOON)

    changed = series.change(pk=one.pk, fields={"title": "Hourly"}, now=NOON)

    assert changed.made_through is not None
    assert changed.next_at == changed.made_through + timedelta(hours=1)


def test_a_stopped_series_makes_nothing_and_leaves_what_it_made():
    one = series_of()
    series.make_due(pk=one.pk, now=NOON)
    before = list(Tournament.objects.order_by("pk").values())

    series.stop(pk=one.pk, now=NOON)

    assert series.make_due(pk=one.pk, now=NOON + DAY) == []
    assert Series.objects.due(NOON + DAY) == []
    assert list(Tournament.objects.order_by("pk").values()) == before
    with pytest.raises(AlreadyStopped):
        series.stop(pk=one.pk, now=NOON)


def test_a_series_started_again_goes_on_from_then():
    one = series_of()
    series.make_due(pk=one.pk, now=NOON)
    series.stop(pk=one.pk, now=NOON)

    series.resume(pk=one.pk, now=NOON + 10 * DAY)
    series.make_due(pk=one.pk, now=NOON + 10 * DAY)

    assert made(one)[3:] == ["12-02 14:30", "12-03 14:30", "12-04 14:30"]
    with pytest.raises(AlreadyRunning):
        series.resume(pk=one.pk, now=NOON)


# --- Publishing and the sweep --------------------------------------------------------------------


def phases(one):
    return list(one.tournaments.order_by("made_for").values_list("phase", flat=True))


def test_a_series_that_publishes_by_itself_does(now):
    one = series_of(now=now, first_date=now.date(), publishes=True, time_zone="UTC")

    tasks.carry_series_on()

    assert set(phases(one)) == {"PUBLISHED"}
    one.refresh_from_db()
    assert one.problem == ""


def test_a_refusal_leaves_drafts_and_says_so_until_the_next_sweep_publishes_them(now):
    one = series_of(now=now, first_date=now.date(), publishes=True, time_zone="UTC")
    sample = SolvencySample.objects.create(**{**WELL, "bonus": 101})

    tasks.carry_series_on()

    assert set(phases(one)) == {"PREPARATION"}
    one.refresh_from_db()
    assert "is a draft still: " in one.problem

    SolvencySample.objects.filter(pk=sample.pk).update(float_balance=101, float_allowance=101)
    tasks.carry_series_on()

    assert set(phases(one)) == {"PUBLISHED"}
    one.refresh_from_db()
    assert one.problem == ""


def test_drafts_made_to_be_published_by_hand_stay_drafts_when_the_series_changes():
    one = series_of()
    series.carry_on(pk=one.pk, now=NOON)
    series.change(pk=one.pk, fields={"publishes": True}, now=NOON)

    series.carry_on(pk=one.pk, now=NOON + DAY)

    assert phases(one) == ["PREPARATION"] * 3 + ["PUBLISHED"]


def test_a_draft_that_is_cancelled_is_neither_published_nor_made_again():
    one = series_of(publishes=True)
    series.make_due(pk=one.pk, now=NOON)
    first = one.tournaments.order_by("made_for").first()
    cancelling.cancel(uid=first.uid, now=NOON)

    series.carry_on(pk=one.pk, now=NOON)

    assert phases(one) == ["CANCELLED", "PUBLISHED", "PUBLISHED"]


def test_one_series_that_fails_stops_no_other(now, monkeypatch, caplog):
    caplog.set_level("CRITICAL")
    bad, good = (series_of(now=now, first_date=now.date(), time_zone="UTC") for _ in range(2))
    Series.objects.filter(pk=bad.pk).update(time_zone="Atlantis/Capital")

    tasks.carry_series_on()

    assert len(made(good)) > 0
    bad.refresh_from_db()
    assert bad.problem.startswith("ZoneInfoNotFoundError: ")
    assert made(bad) == []


def test_the_sweep_visits_only_series_with_something_to_do(django_assert_num_queries):
    due = series_of()
    far = series_of(rule="FREQ=YEARLY;BYMONTH=6;BYMONTHDAY=1")
    waiting = series_of(publishes=True)
    series.make_due(pk=waiting.pk, now=NOON)

    with django_assert_num_queries(2):
        assert Series.objects.due(NOON) == [due, waiting]

    assert far.next_at == datetime(2027, 6, 1, 14, 30, tzinfo=UTC)


def test_a_clone_belongs_to_no_series():
    one = series_of()
    first = series.make_due(pk=one.pk, now=NOON)[0]

    clone = lifecycle.clone(uid=first.uid, starts_at=NOON + DAY, now=NOON)

    assert (clone.series, clone.made_for, clone.publishes_itself) == (None, None, False)


def test_a_tournament_of_a_series_has_the_date_that_it_was_made_for(now):
    alone = TournamentFactory.create(now=now, published=False)

    with (
        pytest.raises(IntegrityError, match="tournament_made_for_a_date"),
        transaction.atomic(),
    ):
        Tournament.objects.filter(pk=alone.pk).update(made_for=now)
