"""What Prometheus reads of one-time passwords and sessions."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import metrics, otp, phones
from accounts.tests.factories import GamerFactory, SessionFactory


@pytest.mark.django_db
def test_what_was_sent_and_proven_lately_is_told(settings):
    settings.OTP_DAILY_BUDGET = 10
    now = timezone.now()
    gamer = SessionFactory.create(started_at=now - timedelta(minutes=1)).gamer
    first = phones.parse(phone_number="9876543210", country_code="+91")
    second = phones.parse(phone_number="9876543211", country_code="+91")
    used = otp.issue(gamer=gamer, phone=first, now=now)
    otp.check(gamer=gamer, phone=first, auth_code=used.request.auth_code, code=used.code, now=now)
    otp.use(gamer=gamer, phone=first, auth_code=used.request.auth_code, now=now)
    otp.issue(gamer=GamerFactory.create(), phone=second, now=now)

    told = {
        (sample.name.removeprefix("kgen_"), sample.labels.get("outcome", "")): sample.value
        for family in metrics.collect(now=now)
        for sample in family.samples
    }

    assert told == {
        ("otp_last_hour", "sent"): 2,
        ("otp_last_hour", "refused"): 0,
        ("otp_last_hour", "verified"): 1,
        ("otp_last_hour", "guessed_out"): 0,
        ("otp_budget_left", ""): 8,
        ("otp_alarms", ""): 0,
        ("otp_stopped", ""): 0,
        ("sessions_last_hour", ""): 1,
    }
