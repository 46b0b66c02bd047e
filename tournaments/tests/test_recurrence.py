import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from tournaments.recurrence import BadRule, Recurrence, refuse_absurd

BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FIRST = datetime.fromisoformat("2026-11-21T20:00")
DAY = timedelta(days=1)


def starts(rule, first, zone=KOLKATA, *, after=NOW, most=5):
    recurrence = Recurrence(rule, datetime.fromisoformat(first), zone)
    return [f"{at:%m-%d %H:%M}" for at in islice(recurrence.starts(after=after), most)]


def test_a_rule_is_read_in_the_local_time_of_its_zone():
    assert starts("FREQ=DAILY", "2026-11-22T20:00") == [
        "11-22 14:30", "11-23 14:30", "11-24 14:30", "11-25 14:30", "11-26 14:30",
    ]  # fmt: skip


def test_twenty_hours_stay_twenty_hours_when_the_clocks_change():
    before_summer = datetime(2027, 3, 26, tzinfo=UTC)
    before_winter = datetime(2027, 10, 29, tzinfo=UTC)

    spring = starts("FREQ=DAILY", "2026-11-22T20:00", BERLIN, after=before_summer, most=3)
    autumn = starts("FREQ=DAILY", "2026-11-22T20:00", BERLIN, after=before_winter, most=3)

    assert spring == ["03-26 19:00", "03-27 19:00", "03-28 18:00"]
    assert autumn == ["10-29 18:00", "10-30 18:00", "10-31 19:00"]


def test_a_time_that_the_clock_jumps_over_is_taken_behind_the_jump():
    found = starts(
        "FREQ=DAILY", "2027-03-13T02:30", NEW_YORK, after=datetime(2027, 3, 13, tzinfo=UTC), most=3
    )

    # On the 14th 02:30 does not exist; 07:30 UTC is 03:30 by the clock of that day.
    assert found == ["03-13 07:30", "03-14 07:30", "03-15 06:30"]


def test_of_a_time_shown_twice_the_first_is_taken():
    found = starts(
        "FREQ=DAILY", "2027-11-06T01:30", NEW_YORK, after=datetime(2027, 11, 6, tzinfo=UTC), most=3
    )

    assert found == ["11-06 05:30", "11-07 05:30", "11-08 06:30"]


def test_every_hour_gives_no_start_twice_and_none_out_of_order():
    spring = Recurrence("FREQ=HOURLY", datetime.fromisoformat("2027-03-13T00:30"), NEW_YORK)
    autumn = Recurrence("FREQ=HOURLY", datetime.fromisoformat("2027-11-06T00:30"), NEW_YORK)

    for recurrence, day in ((spring, (2027, 3, 13)), (autumn, (2027, 11, 6))):
        found = list(islice(recurrence.starts(after=datetime(*day, tzinfo=UTC)), 60))
        assert found == sorted(set(found))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("FREQ=DAILY;COUNT=3", ["11-22 14:30", "11-23 14:30"]),
        ("FREQ=DAILY;UNTIL=20261124", ["11-22 14:30", "11-23 14:30", "11-24 14:30"]),
        ("FREQ=DAILY;UNTIL=20261123T200000", ["11-22 14:30", "11-23 14:30"]),
        ("FREQ=DAILY;UNTIL=20261123T143000Z", ["11-22 14:30", "11-23 14:30"]),
        ("FREQ=DAILY;UNTIL=20261123T142959Z", ["11-22 14:30"]),
        ("FREQ=DAILY;UNTIL=99991231", ["11-22 14:30", "11-23 14:30", "11-24 14:30"]),
        ("rrule:freq=weekly;byday=mo,fr", ["11-23 14:30", "11-27 14:30", "11-30 14:30"]),
        ("FREQ=MONTHLY;BYDAY=-1SU", ["11-29 14:30", "12-27 14:30", "01-31 14:30"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", ["02-29 14:30", "02-29 14:30", "02-29 14:30"]),
        ("FREQ=MINUTELY;INTERVAL=15", ["11-22 12:15", "11-22 12:30", "11-22 12:45"]),
    ],
)
def test_rules_give_their_dates_and_end_where_they_say(rule, expected):
    # The first was on the 21st; COUNT counts it too.
    assert starts(rule, "2026-11-21T20:00", most=3) == expected


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "every day",
        "INTERVAL=2",
        "FREQ=SECONDLY",
        "FREQ=MINUTELY",
        "FREQ=MINUTELY;INTERVAL=14",
        "FREQ=DAILY;FREQ=WEEKLY",
        "FREQ=DAILY;BYSECOND=1",
        "FREQ=DAILY;BYEASTER=0",
        "FREQ=DAILY;DTSTART=20260101T000000",
        "FREQ=DAILY\nEXDATE:20260101T000000",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=99999999999999",
        "FREQ=DAILY;INTERVAL=²",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;COUNT=10001",
        "FREQ=DAILY;COUNT=2;UNTIL=20270101",
        "FREQ=DAILY;UNTIL=20270230",
        "FREQ=DAILY;UNTIL=tomorrow",
        "FREQ=DAILY;BYDAY=XX",
        "FREQ=DAILY;BYHOUR=",
        "FREQ=DAILY;BYHOUR=99",
        "FREQ=MONTHLY;BYDAY=60MO",
        "FREQ=HOURLY;INTERVAL=2;BYHOUR=1",
        "FREQ=MINUTELY;INTERVAL=15;BYSETPOS=-300",
        "FREQ=DAILY;BYMONTH=__import__",
        "FREQ=DAILY;" + "BYMONTH=1," * 60,
        # Nothing at all
        "FREQ=DAILY;COUNT=1",
        "FREQ=DAILY;UNTIL=20261121",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU",
        # Too much
        "FREQ=HOURLY;BYMINUTE=0,10",
        "FREQ=HOURLY",
    ],
)
def test_absurd_rules_are_refused_soon(rule):
    recurrence = Recurrence(rule, FIRST, KOLKATA)
    began = time.monotonic()

    with pytest.raises(BadRule):
        refuse_absurd(recurrence, now=NOW, horizon=7 * DAY)

    assert time.monotonic() - began < 10


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["FREQ=DAILY", "FREQ=MONTHLY", "FREQ=HOURLY", "INTERVAL=15", "BYDAY=1MO", "BYDAY=TU",
             "BYMONTHDAY=31", "BYMONTHDAY=-31", "BYHOUR=0,25", "BYSETPOS=2", "COUNT=3", ";", "="]
        )
    ).map(";".join)
    | st.text(max_size=30)
)  # fmt: skip
def test_any_text_is_followed_or_refused(rule):
    recurrence = Recurrence(rule, FIRST, KOLKATA)

    try:
        found = list(islice(recurrence.starts(after=NOW), 20))
    except BadRule:
        return

    assert found == sorted(set(found))
    assert all(start > NOW for start in found)


@pytest.mark.parametrize(
    "rule",
    ["FREQ=WEEKLY;INTERVAL=3;BYDAY=SA", "FREQ=MONTHLY;BYMONTHDAY=29", "FREQ=DAILY;INTERVAL=5"],
)
def test_the_search_at_the_calendars_end_finds_what_a_search_here_finds(rule):
    first = datetime.fromisoformat("2026-01-01T08:00")
    recurrence = Recurrence(rule, first, ZoneInfo("UTC"))

    found = list(islice(recurrence.starts(after=first.replace(tzinfo=UTC) - DAY), 200))

    expected = islice(rrulestr(rule, dtstart=first), 200)
    assert found == [local.replace(tzinfo=UTC) for local in expected]
