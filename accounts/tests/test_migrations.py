"""Phones and e-mails that were there before they were encrypted."""

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Gamer, KgenAccount, OtpRequest, PhoneVerification
from accounts.tests.factories import GamerFactory, KgenAccountFactory
from kgen.common.encryption import keyed_hash
from kgen.common.tests.owner import owner_of_this_database

encrypting = import_module("accounts.migrations.0006_encrypt_personal_data")


@pytest.mark.usefixtures("committed_database")
def test_plain_rows_are_encrypted_in_chunks_and_lose_their_plain_text(monkeypatch):
    monkeypatch.setattr(encrypting, "CHUNK", 2)
    now = timezone.now()
    accounts = [KgenAccountFactory() for _ in range(3)]
    gamers = [GamerFactory(kgen_account=account) for account in accounts]
    nobody = GamerFactory()
    verification = PhoneVerification.objects.create(gamer=gamers[0], phone_hash="")
    OtpRequest.objects.create(
        verification=verification,
        created_at=now,
        expires_at=now,
        game=gamers[0].game,
        gamer=gamers[0],
        phone="",
        prefix_hash="",
    )
    with owner_of_this_database() as owner:
        for table, columns in encrypting.COLUMNS.items():
            for plain, sealed, hashed, _ in columns:
                owner.execute(f"ALTER TABLE {table} ADD {plain} text NOT NULL DEFAULT ''")
                for name, empty in ((sealed, "''"), (hashed, "NULL")):
                    if name:
                        owner.execute(f"ALTER TABLE {table} ALTER {name} DROP NOT NULL")
                        owner.execute(f"UPDATE {table} SET {name} = {empty}")  # noqa: S608
        owner.execute("UPDATE accounts_kgenaccount SET phone_plain = '+9198765432' || id")
        owner.execute(
            "UPDATE accounts_gamer SET email_plain = 'A' || id || '@b.c',"
            " phonenumber_plain = '0' || id WHERE id <> %s",
            [nobody.pk],
        )
        owner.execute("UPDATE accounts_phoneverification SET phone_plain = '+12025550143'")
        owner.execute(
            "UPDATE accounts_otprequest SET phone_plain = '+12025550143', prefix_plain = '+12025550'"
        )

    encrypting.seal(None, SimpleNamespace(connection=connection))
    encrypting.seal(None, SimpleNamespace(connection=connection))

    for account in KgenAccount.objects.all():
        assert account.phone == f"+9198765432{account.pk}"
        assert account.phone_hash == keyed_hash("phone", account.phone)
    for gamer in Gamer.objects.exclude(pk=nobody.pk):
        assert (gamer.email, gamer.phonenumber) == (f"A{gamer.pk}@b.c", f"0{gamer.pk}")
        assert gamer.email_hash == keyed_hash("email", f"a{gamer.pk}@b.c")
    nobody.refresh_from_db()
    assert (nobody.email, nobody.email_hash, nobody.phonenumber) == ("", None, "")
    request = OtpRequest.objects.get()
    phone_hash = keyed_hash("phone", "+12025550143")
    assert (request.phone, request.phone_hash) == ("+12025550143", phone_hash)
    assert request.prefix_hash == keyed_hash("prefix", "+12025550")
    assert PhoneVerification.objects.get().phone_hash == phone_hash
    with connection.cursor() as cursor:
        for table, columns in encrypting.COLUMNS.items():
            for plain, *_ in columns:
                cursor.execute(f"SELECT count(*) FROM {table} WHERE {plain} <> ''")  # noqa: S608
                assert cursor.fetchone() == (0,)
