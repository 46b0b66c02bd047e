from typing import Any

from django.db import migrations

from kgen.common.encryption import encrypt, keyed_hash

CHUNK = 1000
# Of each table: the plain column, where it goes encrypted, where its hash goes, and what it is.
COLUMNS = {
    "accounts_kgenaccount": [("phone_plain", "phone", "phone_hash", "phone")],
    "accounts_gamer": [
        ("email_plain", "email", "email_hash", "email"),
        ("phonenumber_plain", "phonenumber", None, None),
    ],
    "accounts_phoneverification": [("phone_plain", None, "phone_hash", "phone")],
    "accounts_otprequest": [
        ("phone_plain", "phone", "phone_hash", "phone"),
        ("prefix_plain", None, "prefix_hash", "prefix"),
    ],
}


def seal(apps: Any, schema_editor: Any) -> None:
    """Each chunk is a transaction; begun again, it goes on where it was broken off."""
    with schema_editor.connection.cursor() as cursor:
        for table, columns in COLUMNS.items():
            while _seal_chunk(cursor, table, columns):
                pass


def _seal_chunk(cursor: Any, table: str, columns: Any) -> int:
    plain = [column[0] for column in columns]
    waiting = " OR ".join(f"{name} <> ''" for name in plain)
    cursor.execute(
        f"SELECT id, {', '.join(plain)} FROM {table} WHERE {waiting} ORDER BY id LIMIT {CHUNK}"  # noqa: S608
    )
    rows = cursor.fetchall()
    if not rows:
        return 0
    assignments: list[str] = []
    values: list[list[Any]] = [[row[0] for row in rows]]
    names = ["id"]
    for place, (name, sealed, hashed, kind) in enumerate(columns, start=1):
        assignments.append(f"{name} = ''")
        texts = [row[place] for row in rows]
        if sealed is not None:
            assignments.append(f"{sealed} = new.{sealed}")
            names.append(sealed)
            values.append([_encrypted(text, f"{table}.{sealed}") for text in texts])
        if hashed is not None:
            assignments.append(f"{hashed} = new.{hashed}")
            names.append(hashed)
            values.append([keyed_hash(kind, text) if text else None for text in texts])
    kinds = ", ".join(["%s::bigint[]", *["%s::text[]"] * (len(values) - 1)])
    cursor.execute(
        f"UPDATE {table} AS old SET {', '.join(assignments)}"  # noqa: S608
        f" FROM unnest({kinds}) AS new ({', '.join(names)}) WHERE old.id = new.id",
        values,
    )
    return len(rows)


def _encrypted(text: str, place: str) -> str:
    return encrypt(text, place=place) if text else ""


class Migration(migrations.Migration):
    # No way back: of some columns only hashes are left.
    atomic = False

    dependencies = [
        ("accounts", "0005_columns_of_personal_data"),
    ]

    operations = [
        migrations.RunPython(seal),
    ]
