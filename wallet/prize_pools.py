"""A tournament's money between the entry fees and the prizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from kgen.common.transactions import requires_transaction
from wallet import ledger
from wallet.ledger import Bucket, Kind, Leg, Owner


class PoolNotEmptied(Exception):
    """A distribution that leaves something behind is wrong: money without an owner."""


@dataclass(frozen=True)
class Pool:
    tournament_id: int
    game_id: int
    account_id: int


@dataclass(frozen=True)
class Flows:
    """What the ledger says came into a pool, what went out of it, and what is in it."""

    stakes: int = 0
    refunds: int = 0
    sponsored: int = 0
    prizes: int = 0
    platform_rake: int = 0
    developer_rake: int = 0
    remainder: int = 0
    in_pool: int = 0


@requires_transaction
def open_pool(*, tournament_id: int, tournament_uid: UUID, game_id: int) -> Pool:
    """Open the pool of a tournament, and the account of its game's developer if it is the first."""
    ledger.open_accounts(Owner.TOURNAMENT, tournament_id, owner_uid=tournament_uid)
    ledger.open_accounts(Owner.GAME, game_id)
    return pool_of(tournament_id=tournament_id, game_id=game_id)


def pool_of(*, tournament_id: int, game_id: int) -> Pool:
    """The pool of a tournament. Raises ledger.UnknownAccount if none was opened."""
    account_id = ledger.account_of(Owner.TOURNAMENT, tournament_id, Bucket.POOL)
    return Pool(tournament_id=tournament_id, game_id=game_id, account_id=account_id)


@requires_transaction
def sponsor(*, pool: Pool, amount: int, reference: UUID) -> None:
    """Add a sponsor's contribution above 0 to the pool, once per reference."""
    ledger.post(
        [Leg(debit=ledger.TREASURY, credit=pool.account_id, amount=amount, kind=Kind.SPONSOR)],
        posting_id=reference,
    )


@requires_transaction
def return_contribution(*, pool: Pool, amount: int, reference: UUID) -> None:
    """Give a sponsor's contribution above 0 back, once per reference."""
    ledger.post(
        [
            Leg(
                debit=pool.account_id,
                credit=ledger.TREASURY,
                amount=amount,
                kind=Kind.SPONSOR_RETURN,
            )
        ],
        posting_id=reference,
    )


@requires_transaction
def distribute(
    *,
    pool: Pool,
    reference: UUID,
    prizes: Sequence[tuple[int, int]],
    platform: int,
    developer: int,
    remainder: int,
) -> None:
    """Empty the pool in one posting: rake, remainder and each prize, all or nothing.

    `prizes` are (wallet id, amount above 0) in rank order and become claimable. `platform` and
    `developer` are the halves of the rake; `remainder` is what the prizes left over, and goes to the
    platform. Posts nothing if all are 0. Raises PoolNotEmptied, ledger.InsufficientFunds.
    """
    claimable = ledger.accounts_of_each((wallet for wallet, _ in prizes), Bucket.CLAIMABLE)
    parts = [
        (Kind.RAKE_PLATFORM, ledger.PLATFORM_RAKE, platform),
        (Kind.REMAINDER, ledger.PLATFORM_RAKE, remainder),
        *((Kind.PRIZE, claimable[wallet], amount) for wallet, amount in prizes),
    ]
    if developer:
        to_developer = ledger.account_of(Owner.GAME, pool.game_id, Bucket.DEVELOPER_RAKE)
        parts.insert(1, (Kind.RAKE_DEVELOPER, to_developer, developer))
    legs = [
        Leg(debit=pool.account_id, credit=account, amount=amount, kind=kind)
        for kind, account, amount in parts
        if amount
    ]
    if legs:
        ledger.post(legs, posting_id=reference)
    left = ledger.queued_balance(pool.account_id)
    if left:
        raise PoolNotEmptied(f"tournament {pool.tournament_id}: {left} KCash left in the pool")


def flows_of(*, account_id: int) -> Flows:
    """A pool's money, read from its account; a contribution given back is no longer sponsored."""
    # One statement, so that gamers who join meanwhile are in all of its figures or in none.
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT kind, sum(abs(change)) FROM ledger.entry WHERE account_id = %(pool)s GROUP BY kind
            UNION ALL
            SELECT NULL, balance
                   + coalesce((SELECT sum(amount) FROM ledger.pending_credit
                                WHERE account_id = account.id), 0)
              FROM ledger.account WHERE id = %(pool)s
            """,
            {"pool": account_id},
        )
        moved = {kind: int(amount) for kind, amount in cursor.fetchall()}
    return Flows(
        stakes=moved.get(Kind.ENTRY_FEE, 0),
        refunds=moved.get(Kind.REFUND, 0),
        sponsored=moved.get(Kind.SPONSOR, 0) - moved.get(Kind.SPONSOR_RETURN, 0),
        prizes=moved.get(Kind.PRIZE, 0),
        platform_rake=moved.get(Kind.RAKE_PLATFORM, 0),
        developer_rake=moved.get(Kind.RAKE_DEVELOPER, 0),
        remainder=moved.get(Kind.REMAINDER, 0),
        in_pool=moved[None],
    )
