from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.urls import reverse

from accounts.tests.factories import GameFactory
from accounts.tests.staff import staff_client
from kgen.common.admin import OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from tournaments import series
from tournaments.models import Series
from tournaments.tests.test_series import NOON, series_of

pytestmark = pytest.mark.django_db

LIST = "/admin/tournaments/series/"
ADD = "/admin/tournaments/series/add/"

NEXT_FIVE = [
    f"{day} 20:00 Asia/Kolkata = {day[4:]} 14:30 UTC"
    for day in (
        "Sun 2026-11-22",
        "Mon 2026-11-23",
        "Tue 2026-11-24",
        "Wed 2026-11-25",
        "Thu 2026-11-26",
    )
]


@pytest.fixture(autouse=True)
def noon():
    with time_machine.travel(NOON, tick=False):
        yield


def page(one, act="change"):
    return reverse(f"admin:tournaments_series_{act}", args=[one.pk])


def form_of(game, **fields):
    sent = {
        "game": game.pk,
        "title": "Daily Carrom {date}",
        "entry_fee": "10",
        "tournament_size": "",
        "min_registration_start_limit": "2",
        "rule": "FREQ=DAILY",
        "time_zone": "Asia/Kolkata",
        "first_date": "2026-11-22",
        "start_time": "20:00",
        "length_minutes": "60",
        "shown_minutes": "3",
        "lobby_minutes": "1",
        "lock_minutes": "2",
        "horizon_days": "3",
        "publishes": "on",
        "description": "",
        "theme": "",
        "score_rule": "LATEST",
        "sort": "HIGH",
        "event_ceiling": "",
        "minute_ceiling": "",
        "prize_structure": "BANDS",
        "prize_table": "",
        "sponsor_contribution": "0",
    }
    return {**sent, **fields}


def form_in(response):
    return response.context["adminform"].form


def errors(response):
    return dict(form_in(response).errors)


def shown(response):
    """The dates on the page, and what a browser sends back for them."""
    form = form_in(response)
    return form.fields["dates"].widget.dates, form["dates"].value()


def test_the_dates_are_shown_before_anything_is_saved():
    operator = staff_client(OPERATORS)
    game = GameFactory()

    asked = operator.post(ADD, form_of(game, _dates="Show dates"))
    dates, token = shown(asked)

    assert dates == NEXT_FIVE
    assert f'value="{token}"' in asked.content.decode()
    assert all(f"<li>{date}</li>" in asked.content.decode() for date in NEXT_FIVE)
    assert Series.objects.count() == 0

    response = operator.post(ADD, form_of(game, dates=token))

    one = Series.objects.get()
    assert response["Location"] == page(one)
    assert (one.game, one.rule, one.publishes) == (game, "FREQ=DAILY", True)
    assert one.next_at == datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
    assert StaffAct.objects.get().line() == "Made"


def test_saving_without_having_seen_the_dates_shows_them_first():
    operator = staff_client(OPERATORS)

    response = operator.post(ADD, form_of(GameFactory()))

    assert errors(response) == {
        "dates": ["These are its next dates. If they are right, save again."]
    }
    assert shown(response)[0] == NEXT_FIVE
    assert Series.objects.count() == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"rule": "FREQ=WEEKLY"},
        {"start_time": "21:00"},
        {"time_zone": "Europe/Berlin"},
        {"first_date": "2026-11-25"},
    ],
)
def test_dates_shown_for_another_rule_are_not_good_enough(changed):
    operator = staff_client(OPERATORS)
    game = GameFactory()
    _, token = shown(operator.post(ADD, form_of(game, _dates="Show dates")))

    response = operator.post(ADD, form_of(game, dates=token, **changed))

    assert list(errors(response)) == ["dates"]
    assert shown(response)[0] != NEXT_FIVE
    assert Series.objects.count() == 0
    operator.post(ADD, form_of(game, dates=shown(response)[1], **changed))
    assert Series.objects.count() == 1


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"rule": "FREQ=SECONDLY"}, "rule"),
        ({"rule": "FREQ=DAILY;UNTIL=20200101"}, "rule"),
        ({"rule": "FREQ=HOURLY", "horizon_days": "7"}, "rule"),
        ({"rule": "x" * 501}, "rule"),
        ({"time_zone": "Atlantis/Capital"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"first_date": "2040-01-01"}, "first_date"),
        ({"first_date": "soon"}, "first_date"),
        ({"start_time": ""}, "start_time"),
        ({"title": "{number.real}"}, "title"),
        ({"lock_minutes": "61"}, "lock_minutes"),
        ({"lobby_minutes": "4"}, "lobby_minutes"),
        ({"horizon_days": "61"}, "horizon_days"),
        ({"horizon_days": "0"}, "horizon_days"),
        ({"tournament_size": "1"}, "tournament_size"),
        ({"entry_fee": "-1"}, "entry_fee"),
        ({"prize_structure": "FIXED"}, "prize_table"),
        ({"prize_structure": "SHARES", "prize_table": "{"}, "prize_table"),
        ({"prize_structure": "SHARES", "prize_table": "1: 101"}, "prize_table"),
        ({"sort": "LOW", "minute_ceiling": "5"}, "minute_ceiling"),
    ],
)
def test_what_cannot_be_is_refused_beside_its_field(changed, field):
    operator = staff_client(OPERATORS)

    response = operator.post(ADD, form_of(GameFactory(), **changed))

    assert field in errors(response)
    assert Series.objects.count() == 0


def test_a_change_shows_the_dates_that_are_yet_to_be_made():
    operator = staff_client(OPERATORS)
    one = series_of()
    series.make_due(pk=one.pk, now=NOON)

    opened = operator.get(page(one))
    assert shown(opened)[0][0] == "Wed 2026-11-25 20:00 Asia/Kolkata = 2026-11-25 14:30 UTC"

    sent = form_of(one.game, start_time="21:00", dates=shown(opened)[1])
    asked = operator.post(page(one), sent)
    assert shown(asked)[0][0] == "Wed 2026-11-25 21:00 Asia/Kolkata = 2026-11-25 15:30 UTC"
    operator.post(page(one), {**sent, "dates": shown(asked)[1]})

    one.refresh_from_db()
    assert one.next_at == datetime(2026, 11, 25, 15, 30, tzinfo=UTC)
    assert one.tournaments.count() == 3


def test_a_title_is_changed_at_once_since_the_dates_are_the_same():
    operator = staff_client(OPERATORS)
    one = series_of()
    opened = operator.get(page(one))

    operator.post(page(one), form_of(one.game, title="Better", dates=shown(opened)[1]))

    one.refresh_from_db()
    assert one.title == "Better"


def test_the_page_lists_what_was_made_and_says_what_stands_in_the_way():
    support = staff_client(SUPPORT)
    one = series_of()
    first = series.make_due(pk=one.pk, now=NOON)[0]
    Series.objects.filter(pk=one.pk).update(problem="The float does not cover it.")

    response = support.get(page(one))

    text = response.content.decode()
    rows = dict(response.context["panels"])["Tournaments made"].rows
    assert len(rows) == 3
    assert first.title in rows[2][0]
    assert "The float does not cover it." in text
    link = f"/admin/tournaments/tournament/?series__id__exact={one.pk}"
    assert link in text
    assert support.get(link).context["cl"].result_count == 3


def test_a_series_is_stopped_and_started_again_with_a_reason():
    operator = staff_client(OPERATORS)
    one = series_of()

    operator.post(page(one, "stop"), {"reason": "season is over"})
    one.refresh_from_db()
    assert not one.is_active

    asked = operator.get(page(one, "resume")).context["consequences"]
    operator.post(page(one, "resume"), {"reason": "a new season"})
    one.refresh_from_db()
    assert one.is_active
    assert asked[1:] == NEXT_FIVE
    assert [entry.line() for entry in StaffAct.objects.order_by("pk")] == [
        "Stop: season is over",
        "Start again: a new season",
    ]


def test_support_reads_and_changes_nothing():
    support = staff_client(SUPPORT)
    one = series_of()
    before = Series.objects.values().get()

    assert support.get(page(one)).status_code == 200
    assert support.get(ADD).status_code == 403
    assert support.post(page(one), form_of(one.game)).status_code == 403
    assert support.post(page(one, "stop"), {"reason": "no"}).status_code == 403

    assert Series.objects.values().get() == before


@pytest.mark.parametrize("rows", [1, 3])
def test_the_list_costs_the_same_queries_whatever_its_length(rows, django_assert_num_queries):
    support = staff_client(SUPPORT)
    for number in range(rows):
        one = series_of(title=f"Series {number}")
        series.make_due(pk=one.pk, now=NOON + timedelta(days=number))

    with django_assert_num_queries(8):
        response = support.get(LIST)

    assert response.context["cl"].result_count == rows


def test_prizes_are_chosen_as_for_a_single_tournament():
    operator = staff_client(OPERATORS)
    game = GameFactory()
    rules = {"prize_structure": "SHARES", "prize_table": "1: 60\n2-3: 20", "sort": "LOW"}
    _, token = shown(operator.post(ADD, form_of(game, **rules, _dates="Show dates")))

    operator.post(ADD, form_of(game, **rules, dates=token))

    one = Series.objects.get()
    assert (one.prize_structure, one.sort) == ("SHARES", "LOW")
    assert one.prize_table == [
        {"first": 1, "last": 1, "amount": 6000},
        {"first": 2, "last": 3, "amount": 2000},
    ]
    assert form_in(operator.get(page(one))).initial["prize_table"] == "1: 60\n2-3: 20"
