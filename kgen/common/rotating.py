"""Bringing what is encrypted under the first of PERSONAL_DATA_KEYS, so that an old key can go."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.db import connection, transaction

from kgen.common.encryption import EncryptedText, decrypt, encrypt, first_key_id

CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Rotated:
    """How many values of a column were brought under the first key."""

    place: str
    values: int


def rotate() -> Iterator[Rotated]:
    """Encrypt anew whatever is under another key, a chunk a transaction; tells of each column.

    Broken off and begun again it goes on, since what is done is not found any more. What others
    write meanwhile is theirs. Raises `encryption.UnknownKey` or `encryption.Tampered`.
    """
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, EncryptedText):
                yield Rotated(field.place, _rotate(field))


def _rotate(field: EncryptedText) -> int:
    table, column = field.model._meta.db_table, field.column
    key = field.model._meta.pk.column
    current = f"{first_key_id()}:"
    rotated, last = 0, 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                f'SELECT "{key}", "{column}" FROM "{table}" WHERE "{key}" > %s'  # noqa: S608 - our names
                f""" AND "{column}" <> '' AND NOT starts_with("{column}", %s)"""
                f' ORDER BY "{key}" LIMIT {CHUNK}',
                [last, current],
            )
            rows: list[tuple[Any, str]] = cursor.fetchall()
            if not rows:
                return rotated
            last = rows[-1][0]
            pairs = [
                (row, old, encrypt(decrypt(old, place=field.place), place=field.place))
                for row, old in rows
            ]
            cursor.execute(
                f'UPDATE "{table}" AS kept SET "{column}" = given.new'  # noqa: S608 - our names
                " FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS given (id, old, new)"
                f' WHERE kept."{key}" = given.id AND kept."{column}" = given.old',
                [list(one) for one in zip(*pairs, strict=True)],
            )
            rotated += cursor.rowcount
