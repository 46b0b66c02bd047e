from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Gamer
from accounts.tests.factories import GamerFactory
from tournaments import usernames

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_each_gamer_is_named_and_none_is_without_a_name():
    swift, nameless = GamerFactory(username="Swift"), GamerFactory(username="")

    names = usernames.read([swift.pk, nameless.pk], now=NOW)

    assert names == {swift.pk: "Swift", nameless.pk: None}


def test_a_name_is_asked_for_once_in_a_fifth_of_a_second(django_assert_num_queries: Any):
    swift, nameless = GamerFactory(username="Swift"), GamerFactory(username="")
    usernames.read([swift.pk, nameless.pk], now=NOW)

    with django_assert_num_queries(0):
        names = usernames.read([nameless.pk, swift.pk], now=NOW + timedelta(milliseconds=200))

    assert names == {swift.pk: "Swift", nameless.pk: None}


def test_an_older_name_is_read_again():
    swift = GamerFactory(username="Swift")
    usernames.read([swift.pk], now=NOW)
    Gamer.objects.filter(pk=swift.pk).update(username="Swifter")

    names = usernames.read([swift.pk], now=NOW + timedelta(milliseconds=201))

    assert names == {swift.pk: "Swifter"}


def test_a_clock_that_was_put_back_keeps_no_name_for_longer():
    swift = GamerFactory(username="Swift")
    usernames.read([swift.pk], now=NOW)
    Gamer.objects.filter(pk=swift.pk).update(username="Swifter")

    names = usernames.read([swift.pk], now=NOW - timedelta(hours=1))

    assert names == {swift.pk: "Swifter"}


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(usernames, "_MOST_KEPT", 3)
    gamers = GamerFactory.create_batch(5, username="Swift")

    for gamer in gamers:
        usernames.read([gamer.pk], now=NOW)

    assert len(usernames._kept) <= 3
