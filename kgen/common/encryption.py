"""Personal data at rest: encrypted under keys of ours, and found again by a keyed hash.

A stored value is `<key id>:<base64 of nonce, ciphertext and tag>`, AES-256 in GCM. Table and column
are its associated data, so that a value moved into another column opens nowhere. Nothing encrypted
can be compared or ordered by the database; what is looked up has a keyed hash beside it.
"""

import base64
import binascii
import hmac
import re
import secrets
from functools import cache
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression

# What a hash is of: one text as a phone and as an e-mail has two.
Kind = Literal["phone", "prefix", "email", "gamer_id"]

_NONCE_BYTES: Final = 12
_KEY: Final = re.compile(r"([a-z0-9]{1,16}):([A-Za-z0-9_-]{43})=?", re.ASCII)


class EncryptionError(Exception):
    """A stored value does not open. The message never holds what it is about."""


class UnknownKey(EncryptionError):
    """The key that a value was encrypted under is not among PERSONAL_DATA_KEYS."""


class Tampered(EncryptionError):
    """A value is not one of ours, was changed, or belongs into another column."""


def encrypt(text: str, *, place: str) -> str:
    """`text` under the first key, for the column `place` alone."""
    keys = _keys(settings.PERSONAL_DATA_KEYS)
    key_id, key = next(iter(keys.items()))
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = key.encrypt(nonce, text.encode(), place.encode())
    return f"{key_id}:{base64.b64encode(nonce + sealed).decode()}"


def decrypt(stored: str, *, place: str) -> str:
    """The text that was encrypted for the column `place`. Raises `UnknownKey` or `Tampered`."""
    key_id, colon, encoded = stored.partition(":")
    if not colon:
        raise Tampered(f"A value of {place} is not encrypted.")
    key = _keys(settings.PERSONAL_DATA_KEYS).get(key_id)
    if key is None:
        raise UnknownKey(f"A value of {place} is under a key that is not among ours.")
    try:
        raw = base64.b64decode(encoded, validate=True)
        opened = key.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode())
    except (InvalidTag, ValueError, binascii.Error):
        raise Tampered(f"A value of {place} was changed, or belongs elsewhere.") from None
    return opened.decode()


def first_key_id() -> str:
    """Of the key that everything new is encrypted under."""
    return next(iter(_keys(settings.PERSONAL_DATA_KEYS)))


def keyed_hash(kind: Kind, text: str) -> str:
    """What `text` is found by; without the key nobody can try all phones there are.

    E-mails are one whatever their case.
    """
    normal = text.strip().casefold() if kind == "email" else text
    key = settings.PERSONAL_DATA_HASH_KEY.encode()
    return hmac.digest(key, f"{kind}:{normal}".encode(), "sha256").hex()


class EncryptedText(models.TextField):  # type: ignore[type-arg]  # not subscriptable at run time
    """Text that only this process can read. An empty one is kept empty: it hides nothing."""

    @property
    def place(self) -> str:
        return f"{self.model._meta.db_table}.{self.column}"

    def from_db_value(
        self, value: str | None, _expression: Expression, _connection: BaseDatabaseWrapper
    ) -> str | None:
        return decrypt(value, place=self.place) if value else value

    def get_prep_value(self, value: Any) -> Any:
        text = super().get_prep_value(value)
        return encrypt(text, place=self.place) if text else text

    def get_lookup(self, lookup_name: str) -> Any:
        """Each encryption of a text is another: whoever compares would find nothing, silently."""
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None


class KeyedHash(models.CharField):  # type: ignore[type-arg]  # not subscriptable at run time
    """The keyed hash of another field of the row, written whenever the row is; null of nothing.

    Where only some fields are saved, this one has to be named beside the other.
    """

    def __init__(self, *, of: str = "", kind: Kind = "phone", **options: Any) -> None:
        self.of, self.kind = of, kind
        super().__init__(**{"max_length": 64, "null": True, "editable": False, **options})

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        return name, path, args, {**options, "of": self.of, "kind": self.kind}

    def pre_save(self, model_instance: models.Model, add: bool) -> str | None:
        text = getattr(model_instance, self.of)
        value = keyed_hash(self.kind, text) if text else None
        setattr(model_instance, self.attname, value)
        return value


@cache
def _keys(listed: str) -> dict[str, AESGCM]:
    keys: dict[str, AESGCM] = {}
    for part in filter(None, (part.strip() for part in listed.split(","))):
        matched = _KEY.fullmatch(part)
        if matched is None or matched[1] in keys:
            raise ImproperlyConfigured(
                "PERSONAL_DATA_KEYS is a list of <id>:<32 bytes in URL-safe base64>, each with an "
                "id of its own, separated by commas; new values are under the first one."
            )
        keys[matched[1]] = AESGCM(base64.urlsafe_b64decode(matched[2] + "="))
    if not keys:
        raise ImproperlyConfigured("PERSONAL_DATA_KEYS names no key.")
    return keys
