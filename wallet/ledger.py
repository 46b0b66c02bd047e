"""The ledger: the one way to move KCash, and to read what is where.

Money moves in the database functions of `migrations/sql/ledger.sql`; here is their Python side. Each
posting is named by an id saved on the row that it is made for, so that making it again does nothing.
Call it last in a transaction: the accounts are then locked for the shortest time.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, Final
from uuid import UUID

from django.db import DatabaseError, connection

from kgen.common.errors import Conflict, Invalid, NotFound, Refusal, Unavailable
from kgen.common.prepared import Prepared
from kgen.common.transactions import requires_transaction
from wallet.models import LedgerAccount, Transfer

Bucket = LedgerAccount.Bucket
Kind = Transfer.Kind
Owner = LedgerAccount.Owner
Phase = Transfer.Phase

# Accounts of the system, numbered by the migration.
MINT: Final = 1
TREASURY: Final = 2
PLATFORM_RAKE: Final = 3
KGEN_OUT: Final = 4
CHAIN_SUPPLY: Final = 5

# One more than the largest amount that the ledger's columns hold.
MOST: Final = 10**78

# What a gamer may play with, in the order in which it is spent (API contract, section 2).
SPENDABLE: Final = (Bucket.BONUS, Bucket.BOUGHT, Bucket.EARNED)


class LedgerError(Refusal):
    """A posting that the ledger refused; nothing moved."""


class BadPosting(LedgerError, Invalid):
    """It can never be right: a wrong amount, wrong legs, or a posting id of another kind."""


class InsufficientFunds(LedgerError, Invalid):
    """An account holds less than that; `available` is what there is, where that is known."""

    code = "INSUFFICIENT_BALANCE"

    def __init__(self, message: str, *, available: int | None = None) -> None:
        super().__init__(message)
        self.available = available


class UnknownAccount(LedgerError, NotFound):
    """No such account, no such posting to take back, or two accounts of different assets."""


class PostingConflict(LedgerError, Conflict):
    """The posting id already names another posting."""

    code = "IDEMPOTENCY_KEY_REUSED"


class PostingIdOutOfRange(LedgerError, Invalid):
    """The posting id belongs to a month that is archived, or too far ahead to be ours."""


class LedgerBusy(Unavailable):
    """Two postings met; this one lost, left nothing behind, and may be made again at once."""

    def __init__(self) -> None:
        super().__init__(retry_after=timedelta(seconds=1))


# Planning takes a tenth of the whole call, so the usual one is prepared.
POST1: Final = Prepared(
    name="ledger_post1",
    types=("uuid", "smallint", "text", "bigint", "bigint", "numeric"),
    text="SELECT ledger.post1($1, $2, $3, $4, $5, $6)",
)


@dataclass(frozen=True)
class Leg:
    debit: int
    credit: int
    amount: int
    kind: Kind

    def __post_init__(self) -> None:
        check_amount(self.amount)


@dataclass(frozen=True)
class Confirmation:
    """A wallet transaction that the chain has made final, and the account of its wallet's mirror."""

    transaction_uid: UUID
    account_id: int
    signed_amount: int


class Outcome(Enum):
    POSTED = "posted"
    # This very posting was made before; nothing was added.
    REPLAYED = "replayed"


@dataclass(frozen=True)
class Balances:
    """A wallet's accounts at one moment."""

    bonus: int
    bought: int
    earned: int
    claimable: int
    hold: int
    onchain: int

    @property
    def lazy(self) -> int:
        """Spendable at once: neither unclaimed nor on its way out."""
        return self.bonus + self.bought + self.earned

    @property
    def delta(self) -> int:
        """What the chain has yet to follow; below zero while a withdrawal is under way."""
        return self.lazy - self.onchain


def check_amount(amount: object) -> None:
    """Raises BadPosting unless it is an `int` from 1 to 10^78 - 1."""
    # A float or a Decimal would reach the database as a fraction and look right until then.
    if type(amount) is not int or not 0 < amount < MOST:
        raise BadPosting(f"an amount is a whole number from 1 to 10^78 - 1, not {amount!r}")


# --- Moving ------------------------------------------------------------------------------------


@requires_transaction
def post(legs: Sequence[Leg], *, posting_id: UUID, phase: Phase = Phase.POST) -> Outcome:
    """Move all legs in their order, or none.

    Raises BadPosting, InsufficientFunds, UnknownAccount, PostingConflict, PostingIdOutOfRange.
    """
    if len(legs) == 1 and phase != Phase.RESOLVE:
        (leg,) = legs
        with _named_errors():
            is_new = POST1.value(posting_id, phase, leg.kind, leg.debit, leg.credit, leg.amount)
        return Outcome.POSTED if is_new else Outcome.REPLAYED
    return _call(
        "SELECT ledger.post(%s, %s::smallint, %s::text[], %s::bigint[], %s::bigint[],"
        " %s::numeric[])",
        [
            posting_id,
            phase,
            [str(leg.kind) for leg in legs],
            [leg.debit for leg in legs],
            [leg.credit for leg in legs],
            [leg.amount for leg in legs],
        ],
    )


@requires_transaction
def post_each(postings: Sequence[tuple[UUID, Leg]], *, phase: Phase = Phase.POST) -> None:
    """As `post` of one leg after the other under ids of their own, in one trip: all, or none.

    Whoever posts much at once orders it by the wallets' accounts, as one posting does by itself.
    """
    legs = [leg for _, leg in postings]
    with _named_errors(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT ledger.post1(id, %s::smallint, kind, debit, credit, amount)"
            "  FROM (SELECT *"
            "          FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::bigint[],"
            "                      %s::numeric[])"
            "               WITH ORDINALITY AS one (id, kind, debit, credit, amount, place)"
            "         ORDER BY place) AS one",
            [
                phase,
                [posting_id for posting_id, _ in postings],
                [str(leg.kind) for leg in legs],
                [leg.debit for leg in legs],
                [leg.credit for leg in legs],
                [leg.amount for leg in legs],
            ],
        )


@requires_transaction
def spend(
    *,
    wallet_id: int,
    total: int,
    to: int,
    posting_id: UUID,
    kind: Kind,
    order: Sequence[Bucket] = SPENDABLE,
) -> Outcome:
    """Take `total` out of a wallet's buckets, each emptied before the next is touched.

    The split is decided by the database under the buckets' locks. Raises as `post`.
    """
    check_amount(total)
    return _call(
        "SELECT ledger.spend(%s, %s, %s, %s::text[], %s, %s)",
        [posting_id, kind, wallet_id, [str(bucket) for bucket in order], total, to],
    )


@requires_transaction
def refund(posting_id: UUID, *, new_posting_id: UUID) -> Outcome:
    """Give every bucket back exactly what an earlier posting took from it. Raises as `post`."""
    return _call(
        "SELECT ledger.mirror(%s, 0::smallint, %s, %s)", [new_posting_id, Kind.REFUND, posting_id]
    )


@requires_transaction
def hold(*, wallet_id: int, total: int, posting_id: UUID) -> Outcome:
    """Set earned money aside until `settle` or `release` ends it. Raises as `post`."""
    return spend(
        wallet_id=wallet_id,
        total=total,
        to=wallet_account(wallet_id, Bucket.HOLD),
        posting_id=posting_id,
        kind=Kind.HOLD,
        order=(Bucket.EARNED,),
    )


@requires_transaction
def settle(posting_id: UUID) -> Outcome:
    """End a hold: its money has left for the gamer's KGeN wallet.

    Raises PostingConflict if the hold was released, UnknownAccount if there is none.
    """
    held = Transfer.objects.filter(posting_id=posting_id, phase=Phase.POST, kind=Kind.HOLD)
    legs = [
        Leg(debit=account, credit=KGEN_OUT, amount=amount, kind=Kind.SETTLE)
        for account, amount in held.order_by("leg").values_list("credit_id", "amount")
    ]
    if not legs:
        raise UnknownAccount("there is no such hold")
    return post(legs, posting_id=posting_id, phase=Phase.RESOLVE)


@requires_transaction
def release(posting_id: UUID) -> Outcome:
    """End a hold: its money is the gamer's to spend again.

    Raises PostingConflict if the hold was settled, UnknownAccount if there is none.
    """
    return _call(
        "SELECT ledger.mirror(%s, 1::smallint, %s, %s)", [posting_id, Kind.RELEASE, posting_id]
    )


@requires_transaction
def confirm_on_chain(*, transaction_uid: UUID, wallet_id: int, signed_amount: int) -> Outcome:
    """Book on the wallet's mirror of the chain what the chain has made final. Raises as `post`.

    The mirror cannot go below zero, so a spend confirmed before its funding is refused.
    """
    leg = _on_mirror(wallet_account(wallet_id, Bucket.ONCHAIN), signed_amount)
    return post([leg], posting_id=transaction_uid, phase=Phase.CONFIRM)


@requires_transaction
def confirm_each_on_chain(confirmations: Sequence[Confirmation]) -> None:
    """As `confirm_on_chain` of one after the other, in one trip to the database: all, or none."""
    post_each(
        [
            (one.transaction_uid, _on_mirror(one.account_id, one.signed_amount))
            for one in confirmations
        ],
        phase=Phase.CONFIRM,
    )


def _on_mirror(onchain: int, signed_amount: int) -> Leg:
    debit, credit = (CHAIN_SUPPLY, onchain) if signed_amount > 0 else (onchain, CHAIN_SUPPLY)
    return Leg(debit=debit, credit=credit, amount=abs(signed_amount), kind=Kind.CONFIRM)


# --- Accounts ----------------------------------------------------------------------------------


@requires_transaction
def open_accounts(owner: Owner, owner_id: int, *, owner_uid: UUID | None = None) -> None:
    """Open all accounts of an owner; those that are open stay as they are."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger.open_accounts(%s, %s, %s)", [str(owner), owner_id, owner_uid])


def account_of(owner: Owner, owner_id: int, bucket: Bucket) -> int:
    """The number of an account. Raises UnknownAccount."""
    ids = LedgerAccount.objects.filter(owner_kind=owner, owner_id=owner_id, bucket=bucket)
    account_id = ids.values_list("pk", flat=True).first()
    if account_id is None:
        raise UnknownAccount(f"{owner} {owner_id} has no account {bucket}")
    return account_id


def wallet_account(wallet_id: int, bucket: Bucket) -> int:
    """The number of one of a wallet's accounts. Raises UnknownAccount."""
    return account_of(Owner.WALLET, wallet_id, bucket)


def accounts_of(wallet_id: int) -> dict[str, int]:
    """The numbers of a wallet's accounts, by bucket."""
    accounts = LedgerAccount.objects.filter(owner_kind=Owner.WALLET, owner_id=wallet_id)
    return dict(accounts.values_list("bucket", "pk"))


def accounts_of_each(wallet_ids: Iterable[int], bucket: Bucket) -> dict[int, int]:
    """The numbers of the same account of many wallets, by wallet. Raises UnknownAccount."""
    wanted = set(wallet_ids)
    accounts = LedgerAccount.objects.filter(
        owner_kind=Owner.WALLET, owner_id__in=wanted, bucket=bucket
    )
    found = {owner: pk for owner, pk in accounts.values_list("owner_id", "pk") if owner is not None}
    if len(found) != len(wanted):
        raise UnknownAccount(f"wallets without an account {bucket}: {wanted - set(found)}")
    return found


def balances(wallet_id: int) -> Balances:
    """All of a wallet's balances from one indexed read. Raises UnknownAccount."""
    kept = dict(
        LedgerAccount.objects.filter(owner_kind=Owner.WALLET, owner_id=wallet_id).values_list(
            "bucket", "balance"
        )
    )
    if not kept:
        raise UnknownAccount(f"wallet {wallet_id} has no accounts")
    return Balances(**kept)


def queued_balance(account_id: int) -> int:
    """What a queued account holds, the credits that no debit has folded in yet included."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT balance + coalesce("
            "    (SELECT sum(amount) FROM ledger.pending_credit WHERE account_id = account.id), 0)"
            "  FROM ledger.account WHERE id = %s",
            [account_id],
        )
        return int(cursor.fetchone()[0])


def unkept_balance(account_id: int, *, at: datetime) -> int:
    """What an account that keeps no balance held at a moment; below zero where it only gives."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT balance FROM ledger.unkept_balance(%s, %s)", [account_id, at])
        return int(cursor.fetchone()[0])


def ensure_partitions(*, until: date) -> int:
    """Make the ledger's missing months up to the one of `until`; says how many were made.

    Raises BadPosting more than five years ahead.
    """
    with _named_errors(), connection.cursor() as cursor:
        cursor.execute("SELECT ledger.ensure_partitions(%s)", [until])
        made: int = cursor.fetchone()[0]
    return made


# --- Towards the database and back --------------------------------------------------------------


def _call(statement: str, parameters: Sequence[Any]) -> Outcome:
    with _named_errors(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        is_new: bool = cursor.fetchone()[0]
    return Outcome.POSTED if is_new else Outcome.REPLAYED


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        named = _named(error)
        if named is None:
            raise
        raise named from error


def _named(error: DatabaseError) -> Exception | None:
    cause = error.__cause__
    code = getattr(cause, "pgcode", None)
    diagnosis = getattr(cause, "diag", None)
    message = getattr(diagnosis, "message_primary", None) or str(error)
    constraint = getattr(diagnosis, "constraint_name", None) or ""
    match code:
        case "LG400" | "22003":  # the latter: a balance would have more digits than there are
            return BadPosting(message)
        case "23514" if constraint == "transfer_between_two_accounts":
            return BadPosting(message)
        case "LG402":
            return InsufficientFunds(message, available=int(diagnosis.message_detail))  # type: ignore[union-attr]
        case "LG404":
            return UnknownAccount(message)
        case "LG409":
            return PostingConflict(message)
        case "23514" if constraint in ("account_never_overdrawn", "transfer_never_overdraws"):
            return InsufficientFunds(message)
        case "23514" if not constraint:
            # No partition takes the row: the bounds are the only check without a name.
            return PostingIdOutOfRange(message)
        case "40P01" | "40001":
            return LedgerBusy()
        case "23505" if constraint.startswith("transfer_") and constraint.endswith("_pkey"):
            return LedgerBusy()
        case _:
            return None
