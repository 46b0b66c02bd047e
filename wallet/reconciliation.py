"""Proof that the books are right: each audit looks for what must not be, and repairs nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from django.db import connection

from wallet.models import LedgerAccount, Transfer, Wallet

Kind = Transfer.Kind


@dataclass(frozen=True)
class Finding:
    """Something that must not be: where, and what is wrong there."""

    subject: str
    problem: str


@dataclass(frozen=True)
class Audit:
    title: str
    find: Callable[[], list[Finding]]


@dataclass(frozen=True)
class TournamentBooks:
    """What the ledger says went into and out of one tournament's pool."""

    stakes: int
    refunds: int
    sponsored: int
    prizes: int
    rake: int
    remainder: int
    in_pool: int
    ledger_sum: int

    @property
    def is_balanced(self) -> bool:
        paid_out = self.refunds + self.prizes + self.rake + self.remainder
        return self.ledger_sum == 0 and self.stakes + self.sponsored == paid_out + self.in_pool


def sums_that_are_not_zero() -> list[Finding]:
    """Per asset, kept balances, waiting credits and the tail of accounts without balance cancel."""
    return _find(
        """
        WITH held AS (
            SELECT asset_id, balance AS amount FROM ledger.account
            UNION ALL
            SELECT asset_id, amount
              FROM ledger.pending_credit JOIN ledger.account ON account.id = account_id
            UNION ALL
            SELECT asset_id, change FROM ledger.entry JOIN ledger.account ON account.id = account_id
             WHERE mode = 'N'
        )
        SELECT asset.code, 'all accounts together hold ' || sum(held.amount)
          FROM held JOIN ledger.asset ON asset.id = held.asset_id
         GROUP BY asset.code
        HAVING sum(held.amount) <> 0
        """
    )


def overdrawn_accounts() -> list[Finding]:
    """No kept balance is below zero."""
    return _find(
        """
        SELECT concat_ws(' ', owner_kind, owner_id, bucket), 'balance ' || balance
          FROM ledger.account
         WHERE balance < 0
        """
    )


def broken_chains() -> list[Finding]:
    """An account's numbered transfers run from 1 to its seq, each balance following from the last."""
    return _find(
        """
        WITH step AS (
            SELECT account_id, change, seq, after,
                   lag(seq, 1, 0::bigint) OVER numbered AS previous_seq,
                   lag(after, 1, 0::numeric) OVER numbered AS previous_after
              FROM ledger.entry
             WHERE seq IS NOT NULL
            WINDOW numbered AS (PARTITION BY account_id ORDER BY seq)
        )
        SELECT concat_ws(' ', owner_kind, owner_id, bucket), 'transfer ' || step.seq || ' does not follow the one before it'
          FROM step JOIN ledger.account ON account.id = step.account_id
         WHERE step.seq <> previous_seq + 1
            OR (account.mode = 'S' AND step.after <> previous_after + change)
        UNION ALL
        SELECT concat_ws(' ', owner_kind, owner_id, bucket),
               'balance ' || balance || ' at ' || account.seq || ', last transfer says '
               || coalesce(last.after, 0) || ' at ' || coalesce(last.seq, 0)
          FROM ledger.account
          LEFT JOIN (
               SELECT DISTINCT ON (account_id) account_id, seq, after FROM step
                ORDER BY account_id, seq DESC
          ) AS last ON last.account_id = account.id
         WHERE (balance, account.seq) <> (coalesce(last.after, 0), coalesce(last.seq, 0))
        """
    )


def balances_that_differ_from_transfers() -> list[Finding]:
    """A kept balance and its waiting credits are the sum of the account's transfers."""
    return _find(
        """
        WITH total AS (
            SELECT account_id, sum(change) AS amount FROM ledger.entry GROUP BY account_id
        ),
        waiting AS (
            SELECT account_id, sum(amount) AS amount FROM ledger.pending_credit GROUP BY account_id
        )
        SELECT concat_ws(' ', owner_kind, owner_id, bucket),
               'holds ' || balance + coalesce(waiting.amount, 0) || ', its transfers make '
               || coalesce(total.amount, 0)
          FROM ledger.account
          LEFT JOIN total ON total.account_id = account.id
          LEFT JOIN waiting ON waiting.account_id = account.id
         WHERE mode <> 'N'
           AND balance + coalesce(waiting.amount, 0) <> coalesce(total.amount, 0)
        """
    )


def waiting_credits_without_transfer() -> list[Finding]:
    """Every credit that waits is a transfer's, of the same account and amount."""
    return _find(
        """
        SELECT 'posting ' || waiting.posting_id, 'a credit waits that no transfer made'
          FROM ledger.pending_credit AS waiting
          LEFT JOIN ledger.transfer
               ON transfer.posting_id = waiting.posting_id AND transfer.phase = waiting.phase
              AND transfer.leg = waiting.leg AND transfer.credit_id = waiting.account_id
              AND transfer.amount = waiting.amount
         WHERE transfer.leg IS NULL
        """
    )


def transfers_between_strangers() -> list[Finding]:
    """Both accounts of a transfer exist and count the same asset."""
    return _find(
        """
        SELECT 'posting ' || posting_id, 'leg ' || leg || ' joins no two accounts of one asset'
          FROM ledger.transfer
          LEFT JOIN ledger.account AS debit ON debit.id = debit_id
          LEFT JOIN ledger.account AS credit ON credit.id = credit_id
         WHERE debit.asset_id IS NULL OR debit.asset_id IS DISTINCT FROM credit.asset_id
        """
    )


def holds_without_payout() -> list[Finding]:
    """What a wallet holds back is its unresolved holds, and those are its withdrawals under way."""
    return _find(
        """
        WITH unresolved AS (
            SELECT credit_id AS account_id, sum(amount) AS amount
              FROM ledger.transfer AS held
             WHERE kind = 'HOLD' AND phase = 0
               AND NOT EXISTS (SELECT FROM ledger.transfer AS resolved
                                WHERE resolved.posting_id = held.posting_id AND resolved.phase = 1)
             GROUP BY credit_id
        ),
        under_way AS (
            SELECT wallet_id, sum(amount) AS amount
              FROM wallet_payout
             WHERE kind = 'WITHDRAW' AND state NOT IN ('COMPLETED', 'VOIDED')
             GROUP BY wallet_id
        )
        SELECT 'wallet ' || owner_id,
               'holds back ' || balance || ', unresolved ' || coalesce(unresolved.amount, 0)
               || ', under way ' || coalesce(under_way.amount, 0)
          FROM ledger.account
          LEFT JOIN unresolved ON unresolved.account_id = account.id
          LEFT JOIN under_way ON under_way.wallet_id = account.owner_id
         WHERE owner_kind = 'WALLET' AND bucket = 'hold'
           AND (balance <> coalesce(unresolved.amount, 0)
                OR balance <> coalesce(under_way.amount, 0))
        """
    )


def wallets_that_differ_from_their_transactions() -> list[Finding]:
    """Lazy and on-chain balance are what a wallet's transactions, and its synced ones, make."""
    return _find(
        """
        WITH kept AS (
            SELECT owner_id AS wallet_id,
                   sum(balance) FILTER (WHERE bucket IN ('bonus', 'bought', 'earned')) AS lazy,
                   sum(balance) FILTER (WHERE bucket = 'onchain') AS onchain
              FROM ledger.account
             WHERE owner_kind = 'WALLET'
             GROUP BY owner_id
        ),
        told AS (
            SELECT wallet_id, sum(signed) AS lazy,
                   sum(signed) FILTER (WHERE sync_status = 'COMPLETED') AS onchain
              FROM (SELECT wallet_id, sync_status,
                           CASE direction WHEN 'CREDIT' THEN amount ELSE -amount END AS signed
                      FROM wallet_wallettransaction) AS entry
             GROUP BY wallet_id
        )
        SELECT 'wallet ' || wallet.id,
               'lazy ' || kept.lazy || ', transactions say ' || coalesce(told.lazy, 0)
               || '; on chain ' || kept.onchain || ', synced transactions say '
               || coalesce(told.onchain, 0)
          FROM wallet_wallet AS wallet
          LEFT JOIN kept ON kept.wallet_id = wallet.id
          LEFT JOIN told ON told.wallet_id = wallet.id
         WHERE (kept.lazy, kept.onchain)
               IS DISTINCT FROM (coalesce(told.lazy, 0), coalesce(told.onchain, 0))
        """
    )


AUDITS: Final[Sequence[Audit]] = (
    Audit("All accounts together are zero", sums_that_are_not_zero),
    Audit("No account is overdrawn", overdrawn_accounts),
    Audit("Each account's transfers follow each other", broken_chains),
    Audit("Balances are the sum of transfers", balances_that_differ_from_transfers),
    Audit("Waiting credits are transfers", waiting_credits_without_transfer),
    Audit("Transfers join accounts of one asset", transfers_between_strangers),
    Audit("Holds are withdrawals under way", holds_without_payout),
    Audit("Wallets are the sum of transactions", wallets_that_differ_from_their_transactions),
)


# --- The chain -----------------------------------------------------------------------------------


class ChainReader(Protocol):
    """The part of `wallet.settlement.chain.Chain` that an audit asks."""

    def finalized_block(self) -> int: ...

    def balance(self, address: str, *, block: int) -> int: ...


def wallets_that_differ_from_the_chain(chain: ChainReader) -> list[Finding]:
    """A wallet's mirror is what its address holds in the newest final block.

    A payout that became final a moment ago may not be booked yet: ask twice before believing it.
    """
    # Wallets first: each of them has its mirror by the time that mirrors are read.
    wallets = list(Wallet.objects.order_by("pk").values_list("pk", "address"))
    mirrors = LedgerAccount.objects.filter(
        owner_kind=LedgerAccount.Owner.WALLET, bucket=LedgerAccount.Bucket.ONCHAIN
    )
    mirrored = dict(mirrors.values_list("owner_id", "balance"))
    block = chain.finalized_block()
    differences = []
    for wallet_id, address in wallets:
        held = chain.balance(address, block=block)
        if held != mirrored[wallet_id]:
            problem = f"ledger {mirrored[wallet_id]}, chain {held}"
            differences.append(Finding(f"wallet {wallet_id} {address}", problem))
    return differences


# --- One tournament ------------------------------------------------------------------------------


def tournament_books(uid: UUID) -> TournamentBooks:
    """One tournament's money, read from its pool account. Raises LedgerAccount.DoesNotExist."""
    pool = LedgerAccount.objects.get(
        owner_kind=LedgerAccount.Owner.TOURNAMENT,
        owner_uid=uid,
        bucket=LedgerAccount.Bucket.POOL,
    )
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
            {"pool": pool.pk},
        )
        moved = {kind: int(amount) for kind, amount in cursor.fetchall()}
    return TournamentBooks(
        stakes=moved.get(Kind.ENTRY_FEE, 0),
        refunds=moved.get(Kind.REFUND, 0),
        sponsored=moved.get(Kind.SPONSOR, 0),
        prizes=moved.get(Kind.PRIZE, 0),
        rake=moved.get(Kind.RAKE_PLATFORM, 0) + moved.get(Kind.RAKE_DEVELOPER, 0),
        remainder=moved.get(Kind.REMAINDER, 0),
        in_pool=moved[None],
        ledger_sum=ledger_sum(),
    )


def ledger_sum() -> int:
    """All KCash accounts together; anything but 0 is a fault."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(sum(amount), 0)
              FROM (SELECT balance AS amount FROM ledger.account
                    UNION ALL
                    SELECT amount FROM ledger.pending_credit
                    UNION ALL
                    SELECT change FROM ledger.entry
                      JOIN ledger.account ON account.id = account_id
                     WHERE mode = 'N') AS held
            """
        )
        return int(cursor.fetchone()[0])


def _find(question: str) -> list[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return [Finding(subject, problem) for subject, problem in cursor.fetchall()]
