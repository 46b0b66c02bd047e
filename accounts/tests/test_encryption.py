"""Personal data at rest: what opens a stored value, and what does not."""

import base64

import pytest
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import connection

from accounts.models import Gamer, KgenAccount
from accounts.tests.factories import GamerFactory, KgenAccountFactory
from kgen.common import encryption
from kgen.common.encryption import decrypt, encrypt, keyed_hash

OLD, NEW = "k1:" + "A" * 43, "k2:" + "B" * 42 + "A"
PLACE = "accounts_gamer.email"


@pytest.fixture(autouse=True)
def _keys(settings):
    settings.PERSONAL_DATA_KEYS = OLD


def stored(table: str, column: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table} ORDER BY id")  # noqa: S608 - names of ours
        return [value for (value,) in cursor.fetchall()]


@pytest.mark.parametrize("text", ["+919876543210", "ü@example.com", "x" * 256])
def test_a_value_opens_and_shows_nothing_while_shut(text):
    sealed = encrypt(text, place=PLACE)

    assert decrypt(sealed, place=PLACE) == text
    assert sealed.startswith("k1:")
    assert text not in sealed
    assert encrypt(text, place=PLACE) != sealed


def test_the_first_key_encrypts_and_all_decrypt(settings):
    old = encrypt("a", place=PLACE)
    settings.PERSONAL_DATA_KEYS = f"{NEW}, {OLD}"

    assert encrypt("a", place=PLACE).startswith("k2:")
    assert decrypt(old, place=PLACE) == "a"


def test_a_key_that_is_gone_is_named_as_such(settings):
    sealed = encrypt("a", place=PLACE)
    settings.PERSONAL_DATA_KEYS = NEW

    with pytest.raises(encryption.UnknownKey):
        decrypt(sealed, place=PLACE)


def test_another_key_under_the_same_id_opens_nothing(settings):
    sealed = encrypt("a", place=PLACE)
    settings.PERSONAL_DATA_KEYS = NEW.replace("k2", "k1")

    with pytest.raises(encryption.Tampered):
        decrypt(sealed, place=PLACE)


@pytest.mark.parametrize("place", range(3 + 12 + 5 + 16))
def test_a_changed_byte_anywhere_is_found(place):
    key_id, _, encoded = encrypt("12345", place=PLACE).partition(":")
    raw = bytearray(key_id.encode() + b":" + base64.b64decode(encoded))
    raw[place] ^= 1
    head, body = bytes(raw[:3]).decode(), bytes(raw[3:])

    with pytest.raises(encryption.EncryptionError):
        decrypt(head + base64.b64encode(body).decode(), place=PLACE)


@pytest.mark.parametrize("value", ["+919876543210", "k1:", "k1:abc", "k1:üü", "k1:" + "A" * 8])
def test_what_was_never_encrypted_is_refused(value):
    with pytest.raises(encryption.Tampered) as refused:
        decrypt(value, place=PLACE)

    assert value not in str(refused.value)


def test_a_value_of_another_column_is_refused():
    with pytest.raises(encryption.Tampered):
        decrypt(encrypt("a", place=PLACE), place="accounts_gamer.phonenumber")


@pytest.mark.parametrize("keys", ["", "k1", "k1:short", f"{OLD},{OLD}", "K1:" + "A" * 43])
def test_wrong_keys_are_told_when_they_are_first_needed(settings, keys):
    settings.PERSONAL_DATA_KEYS = keys

    with pytest.raises(ImproperlyConfigured, match="PERSONAL_DATA_KEYS"):
        encrypt("a", place=PLACE)


def test_hashes_differ_by_kind_and_key_and_an_email_is_one_in_any_case(settings):
    one = keyed_hash("email", "Swift@Example.com ")

    assert one == keyed_hash("email", "swift@example.com")
    assert one != keyed_hash("phone", "swift@example.com")
    settings.PERSONAL_DATA_HASH_KEY = "another"
    assert one != keyed_hash("email", "swift@example.com")


@pytest.mark.django_db
def test_rows_hold_no_plain_text_and_read_as_before():
    gamer = GamerFactory(email="swift@example.com", phonenumber="0987")
    KgenAccountFactory(phone="+919876543210")

    kept = Gamer.objects.get()
    assert (kept.email, kept.phonenumber) == ("swift@example.com", "0987")
    assert KgenAccount.objects.get().phone == "+919876543210"
    values = [
        *stored("accounts_gamer", "email"),
        *stored("accounts_gamer", "phonenumber"),
        *stored("accounts_kgenaccount", "phone"),
    ]
    assert all(value.startswith("k1:") for value in values)
    assert stored("accounts_gamer", "email_hash") == [keyed_hash("email", gamer.email)]


@pytest.mark.django_db
def test_what_is_empty_stays_empty():
    GamerFactory()

    assert Gamer.objects.get().email == ""
    assert stored("accounts_gamer", "email") == [""]
    assert stored("accounts_gamer", "email_hash") == [None]


@pytest.mark.django_db
def test_a_value_swapped_between_columns_does_not_open():
    GamerFactory(email="swift@example.com", phonenumber="0987")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_gamer SET email = phonenumber")

    with pytest.raises(encryption.Tampered):
        Gamer.objects.get()


@pytest.mark.django_db
@pytest.mark.parametrize("lookup", ["email", "email__iexact", "email__in", "email__contains"])
def test_comparing_what_is_encrypted_is_an_error_rather_than_nothing_found(lookup):
    with pytest.raises(FieldError):
        Gamer.objects.filter(**{lookup: "swift@example.com"})
