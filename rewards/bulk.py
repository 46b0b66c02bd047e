"""Many rewards from one file: what each row would do, and then, once confirmed, doing it.

A file is kept as it came, so that exactly what was looked at is granted. It is granted in chunks, and
what was not done yet is done by whoever comes next: nobody need wait for it.
"""

import csv
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from typing import Final

from django.contrib.auth.models import User
from django.db import transaction

from accounts.models import Game, Gamer
from kgen.common.errors import Conflict, Invalid
from kgen.common.money import LARGEST_AMOUNT_IN_JSON
from rewards import granting
from rewards.models import BulkGrant, Reward
from wallet import custody

MOST_BYTES: Final = 1024 * 1024
MOST_ROWS: Final = 10_000
LONGEST_TEXT: Final = 128

# Small, since the gamers of a chunk can neither play nor claim until it is over.
CHUNK: Final = 200

NEEDED: Final = ("gamer_id", "amount", "reference")
COLUMNS: Final = (*NEEDED, "expires_at")


class BadFile(Invalid):
    code = "BAD_FILE"
    message = "The file cannot be read."


class RowsRefused(Invalid):
    code = "ROWS_REFUSED"


class AlreadyConfirmed(Conflict):
    code = "ALREADY_CONFIRMED"
    message = "This file has been confirmed before."


@dataclass(frozen=True)
class Row:
    """One row as it says itself; `problem` tells why it can never be granted."""

    line: int
    gamer_id: str
    amount: int
    reference: str
    expires_at: datetime | None
    problem: str = ""


@dataclass(frozen=True)
class Sheet:
    digest: str
    rows: Sequence[Row]


class Outcome(Enum):
    NEW = "new"
    ALREADY_GRANTED = "already granted"
    REFUSED = "refused"


@dataclass(frozen=True)
class Verdict:
    row: Row
    outcome: Outcome
    problem: str = ""


@dataclass(frozen=True)
class Total:
    rows: int
    amount: int


# --- Reading -------------------------------------------------------------------------------------


def read(content: bytes) -> Sheet:
    """The rows of a CSV file, problems of single rows noted on them. Raises BadFile."""
    if len(content) > MOST_BYTES:
        raise BadFile(f"The file is larger than {MOST_BYTES:,} bytes.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise BadFile("The file is not UTF-8. Save it as “CSV UTF-8”.") from problem
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = _columns(next(reader, []))
        rows: list[Row] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(rows) == MOST_ROWS:
                raise BadFile(f"The file has more than {MOST_ROWS:,} rows.")
            rows.append(_row(reader.line_num, columns, cells))
    except csv.Error as problem:
        raise BadFile(f"Line {reader.line_num} is no CSV: {problem}.") from problem
    if not rows:
        raise BadFile("The file has no rows below its first line.")
    return Sheet(digest=sha256(content).hexdigest(), rows=_without_twins(rows))


def _columns(header: Sequence[str]) -> list[str]:
    columns = [name.strip().lower() for name in header]
    if (
        set(columns) - set(COLUMNS)
        or set(NEEDED) - set(columns)
        or len(set(columns)) < len(columns)
    ):
        raise BadFile(
            "The first line must name the columns gamer_id, amount, reference and, if wanted,"
            " expires_at, with commas between them."
        )
    return columns


def _row(line: int, columns: Sequence[str], cells: Sequence[str]) -> Row:
    given = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    problem = ""
    if len(cells) != len(columns):
        problem = f"has {len(cells)} cells where the first line names {len(columns)}"
    gamer_id, reference = given.get("gamer_id", ""), given.get("reference", "")
    for name, text in (("gamer_id", gamer_id), ("reference", reference)):
        if not text or not text.isprintable() or len(text) > LONGEST_TEXT:
            problem = problem or f"{name} must be 1 to {LONGEST_TEXT} printable characters"
    amount = _amount(given.get("amount", ""))
    if not amount:
        limit = f"{LARGEST_AMOUNT_IN_JSON:,}"
        problem = problem or f"amount must be a whole number from 1 to {limit}"
    expires_at = None
    if written := given.get("expires_at", ""):
        expires_at = _moment(written)
        if expires_at is None:
            problem = problem or "expires_at must be written as 2026-12-31T23:59:59Z"
    return Row(line, gamer_id, amount, reference, expires_at, problem)


def _amount(text: str) -> int:
    """0 for what is no amount."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(LARGEST_AMOUNT_IN_JSON)):
        return 0
    number = int(text)
    return number if number <= LARGEST_AMOUNT_IN_JSON else 0


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _without_twins(rows: Sequence[Row]) -> list[Row]:
    """A reference that stands there twice is refused in each place: nobody knows which was meant."""
    times = Counter(row.reference for row in rows)
    return [
        Row(**{**vars(row), "problem": "another row has the same reference"})
        if times[row.reference] > 1 and not row.problem
        else row
        for row in rows
    ]


# --- What would happen ---------------------------------------------------------------------------


def verdicts_of(bulk_grant: BulkGrant, *, now: datetime) -> list[Verdict]:
    """What granting the file would do now, row by row, in two queries."""
    rows = _sheet(bulk_grant).rows
    return _verdicts(
        rows, gamers=_gamers(bulk_grant, rows), granted=_granted(bulk_grant, rows), now=now
    )


def totals(verdicts: Collection[Verdict]) -> dict[Outcome, Total]:
    of_each = {
        outcome: [verdict.row.amount for verdict in verdicts if verdict.outcome is outcome]
        for outcome in Outcome
    }
    return {outcome: Total(len(amounts), sum(amounts)) for outcome, amounts in of_each.items()}


@dataclass(frozen=True)
class _Gamer:
    pk: int
    wallet_id: int


def _sheet(bulk_grant: BulkGrant) -> Sheet:
    sheet = read(bytes(bulk_grant.content))
    if (sheet.digest, len(sheet.rows)) != (bulk_grant.digest, bulk_grant.rows):
        raise BadFile("The file is not the one that was looked at.")
    return sheet


def _gamers(bulk_grant: BulkGrant, rows: Sequence[Row]) -> dict[str, _Gamer]:
    found = Gamer.objects.filter(
        game=bulk_grant.game_id, gamer_id__in=[row.gamer_id for row in rows if not row.problem]
    )
    return {
        gamer_id: _Gamer(pk, wallet_id)
        for gamer_id, pk, wallet_id in found.values_list("gamer_id", "pk", "wallet__pk")
    }


def _granted(bulk_grant: BulkGrant, rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Gamer and amount of the references that are in use."""
    found = Reward.objects.filter(
        game=bulk_grant.game_id,
        source=bulk_grant.source,
        reference__in=[row.reference for row in rows if not row.problem],
    )
    return {
        reference: (gamer, amount)
        for reference, gamer, amount in found.values_list("reference", "gamer_id", "amount")
    }


def _verdicts(
    rows: Sequence[Row],
    *,
    gamers: Mapping[str, _Gamer],
    granted: Mapping[str, tuple[int, int]],
    now: datetime,
) -> list[Verdict]:
    verdicts = []
    for row in rows:
        gamer, known = gamers.get(row.gamer_id), granted.get(row.reference)
        if row.problem:
            verdict = Verdict(row, Outcome.REFUSED, row.problem)
        elif gamer is None:
            verdict = Verdict(row, Outcome.REFUSED, "the game has no such gamer")
        elif known == (gamer.pk, row.amount):
            verdict = Verdict(row, Outcome.ALREADY_GRANTED)
        elif known is not None:
            verdict = Verdict(row, Outcome.REFUSED, "the reference names another reward")
        elif row.expires_at is not None and row.expires_at <= now:
            verdict = Verdict(row, Outcome.REFUSED, "expires_at is past")
        else:
            verdict = Verdict(row, Outcome.NEW)
        verdicts.append(verdict)
    return verdicts


# --- Doing it ------------------------------------------------------------------------------------


def upload(
    *, game: Game, source: Reward.Source, content: bytes, reason: str, by: User, now: datetime
) -> BulkGrant:
    """Keep a file to be looked at; nothing is granted yet. Raises BadFile."""
    sheet = read(content)
    return BulkGrant.objects.create(
        game=game,
        source=source,
        reason=reason,
        content=content,
        digest=sheet.digest,
        rows=len(sheet.rows),
        uploaded_by=by,
        uploaded_at=now,
    )


@transaction.atomic
def confirm(*, bulk_grant: BulkGrant, skips_refused: bool, by: User, now: datetime) -> BulkGrant:
    """Have the file granted by `carry_out`.

    Raises AlreadyConfirmed, and RowsRefused unless the rows that are refused are to be skipped.
    """
    bulk_grant = BulkGrant.objects.select_for_update(no_key=True).get(pk=bulk_grant.pk)
    if bulk_grant.state != BulkGrant.State.CHECKED:
        raise AlreadyConfirmed
    refused = totals(verdicts_of(bulk_grant, now=now))[Outcome.REFUSED].rows
    if refused and not skips_refused:
        raise RowsRefused(
            f"Nothing is granted: refused rows: {refused:,} of {bulk_grant.rows:,}. Mend the file, or"
            " have them skipped."
        )
    bulk_grant.state = BulkGrant.State.CONFIRMED
    bulk_grant.skips_refused = skips_refused
    bulk_grant.confirmed_by, bulk_grant.confirmed_at = by, now
    bulk_grant.save(update_fields=["state", "skips_refused", "confirmed_by", "confirmed_at"])
    return bulk_grant


def carry_out(*, bulk_grant_id: int, now: datetime) -> None:
    """Grant what is left of a confirmed file, chunk by chunk; running it twice changes nothing.

    What has become impossible since it was confirmed is counted as refused.
    """
    sheet = _sheet(BulkGrant.objects.get(pk=bulk_grant_id))
    while _grant_chunk(bulk_grant_id, sheet, now=now):
        pass


@transaction.atomic
def _grant_chunk(bulk_grant_id: int, sheet: Sheet, *, now: datetime) -> bool:
    """Whether there was something to do; not while somebody else is at it."""
    bulk_grant = (
        BulkGrant.objects.select_for_update(no_key=True, skip_locked=True)
        .filter(pk=bulk_grant_id, state=BulkGrant.State.CONFIRMED)
        .defer("content")
        .first()
    )
    if bulk_grant is None:
        return False
    rows = sheet.rows[bulk_grant.position : bulk_grant.position + CHUNK]

    gamers = _gamers(bulk_grant, rows)
    # From here on nobody else can grant anything to them.
    custody.lock_each({gamer.wallet_id for gamer in gamers.values()})
    verdicts = _verdicts(rows, gamers=gamers, granted=_granted(bulk_grant, rows), now=now)
    counts = Counter(verdict.outcome for verdict in verdicts)
    granted = granting.grant_each(
        game_id=bulk_grant.game_id,
        source=Reward.Source(bulk_grant.source),
        grants=[
            granting.Grant(
                gamer_id=gamers[one.row.gamer_id].pk,
                wallet_id=gamers[one.row.gamer_id].wallet_id,
                amount=one.row.amount,
                reference=one.row.reference,
                expires_at=one.row.expires_at,
            )
            for one in verdicts
            if one.outcome is Outcome.NEW
        ],
        now=now,
    )

    bulk_grant.position += len(rows)
    bulk_grant.granted += granted
    bulk_grant.already_granted += counts[Outcome.ALREADY_GRANTED]
    # Another gamer may have been given a reference at this very moment.
    bulk_grant.refused += counts[Outcome.REFUSED] + counts[Outcome.NEW] - granted
    if bulk_grant.position == bulk_grant.rows:
        bulk_grant.state, bulk_grant.done_at = BulkGrant.State.DONE, now
    bulk_grant.save(
        update_fields=["state", "position", "granted", "already_granted", "refused", "done_at"]
    )
    return True
