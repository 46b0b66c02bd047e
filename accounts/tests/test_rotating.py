"""Phones and e-mails are brought under a new key while the old one is still there."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import Gamer, KgenAccount
from accounts.tests.factories import GamerFactory, KgenAccountFactory
from kgen.common import rotating

pytestmark = pytest.mark.django_db

OLD, NEW = "k1:" + "A" * 43, "k2:" + "B" * 42 + "A"


def rotated() -> list[str]:
    out = StringIO()
    call_command("rotate_personal_data", stdout=out)
    return out.getvalue().splitlines()


def key_ids() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT split_part(email, ':', 1) FROM accounts_gamer WHERE email <> ''"
            " UNION SELECT split_part(phone, ':', 1) FROM accounts_kgenaccount"
        )
        return {key_id for (key_id,) in cursor.fetchall()}


def test_everything_comes_under_the_first_key_in_chunks_and_once(settings, monkeypatch):
    settings.PERSONAL_DATA_KEYS = OLD
    monkeypatch.setattr(rotating, "CHUNK", 2)
    GamerFactory.create_batch(5, email="swift@example.com")
    GamerFactory()
    KgenAccountFactory(phone="+919876543210")
    settings.PERSONAL_DATA_KEYS = f"{NEW},{OLD}"

    first, second = rotated(), rotated()

    assert first == [
        "common_authenticator.key: 0",
        "accounts_kgenaccount.phone: 1",
        "accounts_gamer.email: 5",
        "accounts_gamer.phonenumber: 0",
        "accounts_otprequest.phone: 0",
    ]
    assert {line.split()[-1] for line in second} == {"0"}
    assert key_ids() == {"k2"}
    settings.PERSONAL_DATA_KEYS = NEW
    emails = [gamer.email for gamer in Gamer.objects.exclude(email_hash=None)]
    assert emails == ["swift@example.com"] * 5
    assert KgenAccount.objects.get().phone == "+919876543210"


def test_a_key_that_is_gone_is_told_and_what_is_done_stays(settings):
    settings.PERSONAL_DATA_KEYS = OLD
    GamerFactory(email="swift@example.com")
    settings.PERSONAL_DATA_KEYS = NEW
    KgenAccountFactory(phone="+919876543210")

    with pytest.raises(CommandError, match=r"accounts_gamer\.email is under a key"):
        rotated()

    assert key_ids() == {"k1", "k2"}
