"""Pumping shows: limits nearly used up, and codes that nobody shows."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts import otp_watch, tasks
from accounts.models import OtpRequest, OtpSwitch, PhoneVerification
from accounts.otp_watch import Rate, Use
from accounts.tests.factories import GamerFactory
from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.models import StaffAct

pytestmark = pytest.mark.django_db

NOW = timezone.now()
SWITCH = "admin:accounts_otpswitch_"


def send(number: int, *, gamer=None, minutes_ago=0, prefix="p", country="IN", used=0, **fields):
    """So many requests, of which the first `used` were verified."""
    gamer = gamer or GamerFactory()
    verification, _ = PhoneVerification.objects.get_or_create(gamer=gamer, phone_hash="h")
    at = NOW - timedelta(minutes=minutes_ago)
    for place in range(number):
        OtpRequest.objects.create(
            verification=verification,
            created_at=at,
            expires_at=at + timedelta(minutes=5),
            used_at=at if place < used else None,
            game=gamer.game,
            gamer=gamer,
            phone="+919876543210",
            prefix_hash=prefix,
            country=country,
            **fields,
        )
    return gamer


def test_budgets_alarm_from_eighty_percent_on(settings):
    settings.OTP_DAILY_BUDGET, settings.OTP_DAILY_BUDGET_PER_GAME = 10, 5
    gamer = send(3, minutes_ago=60)
    send(4, minutes_ago=60)

    before = list(otp_watch.alarms(now=NOW))
    send(1, gamer=gamer, minutes_ago=60)

    [second] = (
        OtpRequest.objects.exclude(gamer=gamer).values_list("game__name", flat=True).distinct()
    )
    assert before == [f"One-time passwords of {second}: 4 of 5 are used up."]
    assert set(otp_watch.alarms(now=NOW)) == {
        "One-time passwords of all games: 8 of 10 are used up.",
        f"One-time passwords of {gamer.game.name}: 4 of 5 are used up.",
        f"One-time passwords of {second}: 4 of 5 are used up.",
    }


def test_what_was_not_sent_or_is_long_ago_uses_nothing_up():
    send(1, minutes_ago=24 * 60)
    send(1, undelivered_at=NOW)
    send(1, is_free=True)

    assert otp_watch.uses(now=NOW) == [Use("all games", 0, 20_000)]


def test_crowded_prefixes_are_named_by_what_their_phones_begin_with():
    send(15)
    send(16, prefix="q")

    crowded = [use for use in otp_watch.uses(now=NOW) if use.most == 20]

    assert crowded == [Use("+91987654xxxx", 16, 20)]


def test_rates_alarm_where_few_codes_are_shown():
    send(20, minutes_ago=30, used=5)
    send(19, minutes_ago=30, country="US", prefix="q")
    send(20, minutes_ago=4, country="US", prefix="r")  # they may still be shown

    assert otp_watch.rates(now=NOW) == [
        Rate("IN", 20, 5),
        Rate("US", 19, 0),
        Rate("+91987654xxxx", 20, 5),
    ]
    assert list(otp_watch.alarms(now=NOW)) == [
        "One-time passwords of +91987654xxxx: 20 of 20 are used up.",
        "One-time passwords of IN: of 20 in an hour 5 were verified.",
        "One-time passwords of +91987654xxxx: of 20 in an hour 5 were verified.",
    ]


def test_alarms_are_logged_without_phones(caplog, settings):
    settings.OTP_DAILY_BUDGET = 1
    send(1)

    tasks.watch_otps()

    assert "One-time passwords of all games: 1 of 1 are used up." in caplog.text
    assert "+919876543210" not in caplog.text


def test_support_pulls_the_switch_for_a_reason_and_releases_it():
    support, switch = staff_client(SUPPORT), OtpSwitch.objects.get()
    pull, release = (reverse(f"{SWITCH}{act}", args=[1]) for act in ("pull", "release"))

    support.post(pull, {"reason": ""})
    assert not OtpSwitch.objects.get().is_pulled
    support.post(pull, {"reason": "pumping"})
    switch.refresh_from_db()
    assert (switch.is_pulled, switch.reason, switch.changed_by) == (True, "pumping", "support-0")
    with pytest.raises(otp_watch.AlreadySo):
        otp_watch.pull(reason="again", by="x", now=NOW)
    support.post(release, {"reason": "over"})

    assert not OtpSwitch.objects.get().is_pulled
    assert [entry.line() for entry in StaffAct.objects.order_by("pk")] == [
        "Stop one-time passwords: pumping",
        "Send one-time passwords again: over",
    ]


@pytest.mark.parametrize("role", [OPERATORS, FINANCE])
def test_only_support_may_pull_it(role):
    answer = staff_client(role).post(reverse(f"{SWITCH}pull", args=[1]), {"reason": "why not"})

    assert answer.status_code == 403
    assert not OtpSwitch.objects.get().is_pulled


def test_the_page_shows_use_rates_and_alarms(settings):
    settings.OTP_DAILY_BUDGET = 25
    send(20, minutes_ago=30, used=5)
    support = staff_client(SUPPORT)

    page = support.get(reverse(f"{SWITCH}change", args=[1])).content.decode()
    listed = support.get(reverse(f"{SWITCH}changelist")).content.decode()

    for shown in ("all games", "80 %", "nearly used up", "25 %", "too few", "+91987654xxxx"):
        assert shown in page
    assert "+919876543210" not in page
    assert ">3<" in listed
