"""What happened to a wallet, posting by posting, in the words of those who answer for it. Reads alone.

A line is one posting as far as it touches the wallet: a fee out of two buckets is one line. The
lines are ordered by moment and posting id, and pages are cut by that key. The indexes of the ledger
give a wallet's transfers by account, so that a page costs one scan of that wallet's own transfers
however far down it is, and nothing of anybody else's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import groupby, islice
from typing import Any, Final, Self
from uuid import UUID

from django.db import connection
from django.utils.text import get_text_list

from wallet.ledger import SPENDABLE, Bucket, Kind
from wallet.models import Wallet, WalletTransaction

# What staff choose from, and the postings behind each.
GROUPS: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "bonus": ("Welcome bonus", (Kind.WELCOME_BONUS,)),
    "deposits": ("Deposits", (Kind.DEPOSIT,)),
    "fees": ("Entry fees and refunds", (Kind.ENTRY_FEE, Kind.REFUND)),
    "rewards": ("Prizes, rewards and claims", (Kind.PRIZE, Kind.GRANT, Kind.CLAIM, Kind.EXPIRY)),
    "withdrawals": ("Withdrawals", (Kind.HOLD, Kind.SETTLE, Kind.RELEASE)),
    "corrections": ("Corrections", (Kind.ADJUST,)),
    "chain": ("Booked on the chain", (Kind.CONFIRM,)),
}

BUCKET_WORDS: Final[Mapping[str, str]] = {
    Bucket.BONUS: "bonus",
    Bucket.BOUGHT: "bought",
    Bucket.EARNED: "earned",
    Bucket.CLAIMABLE: "to claim",
    Bucket.HOLD: "on hold",
    Bucket.ONCHAIN: "on the chain",
}

_LINES_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Wanted:
    """Which lines: of a group of kinds, on and between two days in UTC; empty for all."""

    group: str = ""
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True)
class Key:
    """The place of a line in the order of all lines of its wallet."""

    moment: datetime
    posting_id: UUID
    phase: int

    def __str__(self) -> str:
        return f"{self.moment.isoformat()}/{self.posting_id}/{self.phase}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The key that `text` spells; None if it spells none."""
        try:
            moment, posting_id, phase = text.split("/")
            key = cls(datetime.fromisoformat(moment), UUID(posting_id), int(phase))
        except ValueError:
            return None
        return key if key.moment.tzinfo is not None and 0 <= key.phase <= 2 else None


@dataclass(frozen=True)
class Line:
    key: Key
    kind: str
    text: str
    # By bucket, signed; a bucket that was not touched is not there.
    changes: Mapping[str, int]
    # Under which the gamer sees it too, if they do.
    transaction_uid: UUID | None

    @property
    def lazy(self) -> int:
        """By how much it changed what may be spent."""
        return sum(self.changes.get(bucket, 0) for bucket in SPENDABLE)


@dataclass(frozen=True)
class Page:
    """Newest first, with the keys of the pages on either side where there is one."""

    lines: Sequence[Line]
    newer_than: Key | None
    older_than: Key | None


# --- Names from above ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Promise:
    """A posting that gave the wallet something to claim, or took it back unclaimed.

    `tournament_uid` where a pool paid it.
    """

    posting_id: UUID
    tournament_uid: UUID | None


Namer = Callable[[int, Sequence[Promise]], Mapping[UUID, str]]

_namers: list[Namer] = []


def names_promises(namer: Namer) -> Namer:
    """Let an upper app say what promises were made for, which the wallet does not know.

    It is given the gamer's key and answers by posting id: "rank 1 in Daily Carrom".
    """
    _namers.append(namer)
    return namer


# --- Reading -------------------------------------------------------------------------------------


def page_of(
    *,
    wallet: Wallet,
    wanted: Wanted,
    size: int,
    older_than: Key | None = None,
    newer_than: Key | None = None,
) -> Page:
    """At most `size` lines: the newest, or those next to a key that an earlier page gave."""
    before, after = older_than, None if older_than else newer_than
    with closing(connection.cursor()) as cursor:
        _execute(cursor, wallet, wanted, before=before, after=after, limit=size + 1)
        found = list(_postings(cursor))
    shown = found[:size]
    if after is not None:
        shown.reverse()
    lines = _lines(wallet, shown)
    if not lines:
        return Page(lines=(), newer_than=None, older_than=None)
    has_more = len(found) > size
    # The line of the key that one came by lies on the other side.
    return Page(
        lines=lines,
        newer_than=lines[0].key if before or (after and has_more) else None,
        older_than=lines[-1].key if after or has_more else None,
    )


def lines_of(*, wallet: Wallet, wanted: Wanted) -> Iterator[Line]:
    """Every line, newest first, however many: they are never all in memory here."""
    # A cursor of its own in the database, which gives rows as they are asked for.
    with closing(connection.chunked_cursor()) as cursor:
        _execute(cursor, wallet, wanted, before=None, after=None, limit=None)
        postings = _postings(cursor)
        while chunk := list(islice(postings, _LINES_AT_ONCE)):
            yield from _lines(wallet, chunk)


@dataclass(frozen=True)
class _Leg:
    """One transfer as the wallet sees it: a side that is not the wallet's is None."""

    kind: str
    amount: int
    out_of: str | None
    into: str | None
    tournament_uid: UUID | None


_Posting = tuple[Key, Sequence[_Leg]]


def _execute(
    cursor: Any,
    wallet: Wallet,
    wanted: Wanted,
    *,
    before: Key | None,
    after: Key | None,
    limit: int | None,
) -> None:
    """Ask for the legs of the wanted postings, those of one posting together.

    In two halves, since the indexes are; every side of a wallet's account has a number.
    """
    key, conditions = before or after, ["true"]
    if wanted.group:
        conditions.append("kind = ANY (%(kinds)s)")
    if wanted.since:
        conditions.append("created_at >= %(since)s")
    if wanted.until:
        conditions.append("created_at <= %(until)s")
    if key:
        conditions.append(
            f"(created_at, posting_id, phase) {'>' if after else '<'}"
            " (%(moment)s, %(posting_id)s::uuid, %(phase)s::smallint)"
        )
    order = "created_at {0}, posting_id {0}, phase {0}".format("ASC" if after else "DESC")
    cursor.execute(
        # Nothing but fixed words is put into the text.
        f"""
        WITH own AS (
            SELECT id, bucket FROM ledger.account
             WHERE owner_kind = 'WALLET' AND owner_id = %(wallet)s
        ),
        touched AS MATERIALIZED (
            SELECT posting_id, phase, leg, kind, debit_id, credit_id, amount, created_at
              FROM ledger.transfer
             WHERE debit_id = ANY (ARRAY (SELECT id FROM own)) AND debit_seq IS NOT NULL
            UNION ALL
            SELECT posting_id, phase, leg, kind, debit_id, credit_id, amount, created_at
              FROM ledger.transfer
             WHERE credit_id = ANY (ARRAY (SELECT id FROM own)) AND credit_seq IS NOT NULL
               AND debit_id <> ALL (ARRAY (SELECT id FROM own))
        ),
        line AS (
            SELECT DISTINCT created_at, posting_id, phase FROM touched
             WHERE {" AND ".join(conditions)}
             ORDER BY {order} LIMIT %(limit)s
        )
        SELECT created_at, posting_id, phase, kind, amount, debit.bucket, credit.bucket,
               payer.owner_uid
          FROM line
          JOIN touched USING (created_at, posting_id, phase)
          LEFT JOIN own AS debit ON debit.id = debit_id
          LEFT JOIN own AS credit ON credit.id = credit_id
          LEFT JOIN ledger.account AS payer ON payer.id = debit_id AND kind = 'PRIZE'
         ORDER BY {order}, leg
        """,  # noqa: S608
        {
            "wallet": wallet.pk,
            "kinds": [str(kind) for kind in GROUPS[wanted.group][1]] if wanted.group else None,
            "since": wanted.since and datetime.combine(wanted.since, time.min, UTC),
            "until": wanted.until and datetime.combine(wanted.until, time.max, UTC),
            "moment": key and key.moment,
            "posting_id": key and str(key.posting_id),
            "phase": key and key.phase,
            "limit": limit,
        },
    )


def _postings(rows: Iterable[tuple[Any, ...]]) -> Iterator[_Posting]:
    for key, legs in groupby(rows, key=lambda row: Key(*row[:3])):
        yield (
            key,
            [
                _Leg(kind, int(amount), out_of, into, tournament_uid)
                for *_, kind, amount, out_of, into, tournament_uid in legs
            ],
        )


def _lines(wallet: Wallet, postings: Sequence[_Posting]) -> list[Line]:
    """Put the postings into words, with two queries for all of them and one of each namer."""
    entries = {
        entry.uid: entry
        for entry in WalletTransaction.objects.filter(
            wallet=wallet, uid__in={key.posting_id for key, _ in postings}
        )
    }
    promises = [
        Promise(key.posting_id, legs[0].tournament_uid)
        for key, legs in postings
        if legs[0].kind in (Kind.PRIZE, Kind.GRANT, Kind.EXPIRY)
    ]
    names: dict[UUID, str] = {}
    for namer in _namers if promises else ():
        names.update(namer(wallet.gamer_id, promises))
    return [
        Line(
            key=key,
            kind=legs[0].kind,
            text=_text(legs, entries.get(key.posting_id), names.get(key.posting_id, "")),
            changes=_changes(legs),
            transaction_uid=key.posting_id if key.posting_id in entries else None,
        )
        for key, legs in postings
    ]


def _changes(legs: Sequence[_Leg]) -> dict[str, int]:
    changes: dict[str, int] = {}
    for leg in legs:
        for bucket, change in ((leg.out_of, -leg.amount), (leg.into, leg.amount)):
            if bucket is not None:
                changes[bucket] = changes.get(bucket, 0) + change
    return changes


# --- Words ---------------------------------------------------------------------------------------


def _text(legs: Sequence[_Leg], entry: WalletTransaction | None, promised_for: str) -> str:
    """One sentence on what moved and why."""
    kcash = f"{sum(leg.amount for leg in legs):,} KCash"
    what = _lower_first(entry.description or entry.name) if entry else ""
    match legs[0].kind:
        case Kind.WELCOME_BONUS:
            return f"Welcome bonus of {kcash}"
        case Kind.DEPOSIT:
            # The description begins with the unit: "KCash bought".
            return f"{kcash} {what.removeprefix('KCash ') or 'from outside'}"
        case Kind.ENTRY_FEE:
            return f"{kcash} {what or 'entry fee'}, {_shares(legs)}"
        case Kind.REFUND:
            return f"{kcash} {what or 'refund'}, {_shares(legs, into='back to')}"
        case Kind.PRIZE:
            uid = str(legs[0].tournament_uid)[:8]
            return f"Prize of {kcash} for {promised_for or f'tournament {uid}'}, to claim"
        case Kind.GRANT if legs[0].into == Bucket.CLAIMABLE:
            return f"Reward of {kcash}{promised_for and f' for {promised_for}'}, to claim"
        case Kind.CLAIM:
            return f"Claimed {kcash}, now earned{what and f': {what}'}"
        case Kind.EXPIRY:
            return (
                f"Reward of {kcash}{promised_for and f' for {promised_for}'} expired unclaimed,"
                " back to the treasury"
            )
        case Kind.ADJUST:
            return f"{kcash} {what or 'correction'}, {_shares(legs)}"
        case Kind.HOLD:
            return f"{kcash} set aside for a withdrawal"
        case Kind.SETTLE:
            return f"Withdrawal of {kcash} paid out on the chain"
        case Kind.RELEASE:
            return f"Withdrawal of {kcash} given back, earned again"
        case Kind.CONFIRM if legs[0].into:
            return f"{kcash} booked on the chain{what and f': {what}'}"
        case Kind.CONFIRM:
            return f"{kcash} booked out on the chain{what and f': {what}'}"
        case kind:
            return f"{kcash} {kind.replace('_', ' ').lower()}, {_shares(legs)}"


def _shares(legs: Sequence[_Leg], *, into: str = "to") -> str:
    """`from bonus`, or `6 from bonus and 4 from bought`."""
    parts = [
        (leg.amount, f"from {words}" if leg.out_of else f"{into} {words}")
        for leg in legs
        if (words := BUCKET_WORDS.get(leg.out_of or leg.into or ""))
    ]
    if len(parts) == 1:
        return parts[0][1]
    return get_text_list([f"{amount:,} {words}" for amount, words in parts], "and")


def _lower_first(text: str) -> str:
    """Within a sentence; "KCash" stays as it is."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
