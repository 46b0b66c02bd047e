"""Proof that the books are right: each audit looks for what must not be, and repairs nothing.

An audit asks one question of one moment, so that money on the move is no finding. It looks at all
accounts, or at those that it is given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Min, QuerySet
from django.utils.module_loading import import_string

from wallet import prize_pools, transactions
from wallet.ledger import TREASURY
from wallet.models import ChainCursor, LedgerAccount, Payout, Transfer, WalletTransaction

if TYPE_CHECKING:
    # Loads web3, which processes that serve requests can do without.
    from wallet.settlement.chain import Block

Kind = Transfer.Kind
Type = WalletTransaction.Type

# The numbers of the accounts to look at; None for all.
Accounts = Sequence[int] | None

# No audit tells more than this: where so much is wrong, the first hundred say where to look.
MOST_FINDINGS: Final = 100


@dataclass(frozen=True)
class Finding:
    """Something that must not be: where, and what is wrong there."""

    subject: str
    problem: str


@dataclass(frozen=True)
class Audit:
    title: str
    question: Callable[[Accounts], list[Finding]]
    # Whether it can look at some accounts alone; if not, it is asked with everything else, nightly.
    is_partial: bool = True

    def find(self, accounts: Accounts = None) -> list[Finding]:
        return self.question(accounts)


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


def sums_that_are_not_zero(_accounts: Accounts = None) -> list[Finding]:
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


def overdrawn_accounts(accounts: Accounts = None) -> list[Finding]:
    """No kept balance is below zero."""
    return _find(
        """
        SELECT concat_ws(' ', owner_kind, owner_id, bucket), 'balance ' || balance
          FROM ledger.account
         WHERE balance < 0
           AND (%(accounts)s::bigint[] IS NULL OR id = ANY (%(accounts)s))
        """,
        accounts,
    )


def broken_chains(accounts: Accounts = None) -> list[Finding]:
    """An account's numbered transfers run from 1 to its seq, each balance following from the last."""
    return _find(
        """
        WITH step AS (
            SELECT account_id, change, seq, after,
                   lag(seq, 1, 0::bigint) OVER numbered AS previous_seq,
                   lag(after, 1, 0::numeric) OVER numbered AS previous_after
              FROM ledger.entry
             WHERE seq IS NOT NULL
               AND (%(accounts)s::bigint[] IS NULL OR account_id = ANY (%(accounts)s))
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
           AND (%(accounts)s::bigint[] IS NULL OR account.id = ANY (%(accounts)s))
        """,
        accounts,
    )


def balances_that_differ_from_transfers(accounts: Accounts = None) -> list[Finding]:
    """A kept balance and its waiting credits are the sum of the account's transfers."""
    return _find(
        """
        WITH total AS (
            SELECT account_id, sum(change) AS amount
              -- In two halves, since the indexes are: sides with a number, and sides without.
              FROM (SELECT account_id, change FROM ledger.entry
                     WHERE seq IS NOT NULL
                       AND (%(accounts)s::bigint[] IS NULL OR account_id = ANY (%(accounts)s))
                    UNION ALL
                    SELECT account_id, change FROM ledger.entry
                     WHERE seq IS NULL
                       AND (%(accounts)s::bigint[] IS NULL OR account_id = ANY (%(accounts)s))
                   ) AS side
             GROUP BY account_id
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
           AND (%(accounts)s::bigint[] IS NULL OR account.id = ANY (%(accounts)s))
        """,
        accounts,
    )


def waiting_credits_without_transfer(accounts: Accounts = None) -> list[Finding]:
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
           AND (%(accounts)s::bigint[] IS NULL OR waiting.account_id = ANY (%(accounts)s))
        """,
        accounts,
    )


def transfers_between_strangers(_accounts: Accounts = None) -> list[Finding]:
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


def holds_without_payout(accounts: Accounts = None) -> list[Finding]:
    """What a wallet holds back is its unresolved holds, and those are its withdrawals under way."""
    return _find(
        """
        WITH unresolved AS (
            SELECT credit_id AS account_id, sum(amount) AS amount
              FROM ledger.transfer AS held
             WHERE kind = 'HOLD' AND phase = 0 AND credit_seq IS NOT NULL
               AND (%(accounts)s::bigint[] IS NULL OR credit_id = ANY (%(accounts)s))
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
           AND (%(accounts)s::bigint[] IS NULL OR account.id = ANY (%(accounts)s))
        """,
        accounts,
    )


def wallets_that_differ_from_their_transactions(accounts: Accounts = None) -> list[Finding]:
    """Lazy and on-chain balance are what a wallet's transactions, and its synced ones, make."""
    return _find(
        """
        WITH wanted AS (
            SELECT id FROM wallet_wallet
             WHERE %(accounts)s::bigint[] IS NULL
                OR id IN (SELECT owner_id FROM ledger.account
                           WHERE owner_kind = 'WALLET' AND id = ANY (%(accounts)s))
        ),
        kept AS (
            SELECT owner_id AS wallet_id,
                   sum(balance) FILTER (WHERE bucket IN ('bonus', 'bought', 'earned')) AS lazy,
                   sum(balance) FILTER (WHERE bucket = 'onchain') AS onchain
              FROM ledger.account
             WHERE owner_kind = 'WALLET' AND owner_id IN (SELECT id FROM wanted)
             GROUP BY owner_id
        ),
        told AS (
            SELECT wallet_id, sum(signed) AS lazy,
                   sum(signed) FILTER (WHERE sync_status = 'COMPLETED') AS onchain
              FROM (SELECT wallet_id, sync_status,
                           CASE direction WHEN 'CREDIT' THEN amount ELSE -amount END AS signed
                      FROM wallet_wallettransaction
                     WHERE wallet_id IN (SELECT id FROM wanted)) AS entry
             GROUP BY wallet_id
        )
        SELECT 'wallet ' || wallet.id,
               'lazy ' || kept.lazy || ', transactions say ' || coalesce(told.lazy, 0)
               || '; on chain ' || kept.onchain || ', synced transactions say '
               || coalesce(told.onchain, 0)
          FROM wanted AS wallet
          LEFT JOIN kept ON kept.wallet_id = wallet.id
          LEFT JOIN told ON told.wallet_id = wallet.id
         WHERE (kept.lazy, kept.onchain)
               IS DISTINCT FROM (coalesce(told.lazy, 0), coalesce(told.onchain, 0))
        """,
        accounts,
    )


# The posting that each type of transaction records under its own uid; a reversal's is the release of
# the hold that it takes back.
_KIND_OF_TYPE: Final[Mapping[str, str]] = {
    Type.JOIN: Kind.ENTRY_FEE,
    Type.WELCOME_BONUS: Kind.WELCOME_BONUS,
    Type.REFUND: Kind.REFUND,
    Type.REWARD_CLAIM: Kind.CLAIM,
    Type.WITHDRAW: Kind.HOLD,
    Type.DEPOSIT: Kind.DEPOSIT,
    Type.ADJUST: Kind.ADJUST,
}


def transactions_without_their_posting(_accounts: Accounts = None) -> list[Finding]:
    """A transaction has one posting, of its amount; one that is synced has the chain's word too."""
    return _find(
        """
        WITH kind_of AS (
            SELECT * FROM unnest(%(types)s::text[], %(kinds)s::text[]) AS pair (type, kind)
        ),
        posted AS (
            SELECT posting_id, phase, kind, sum(amount) AS amount
              FROM ledger.transfer GROUP BY posting_id, phase, kind
        )
        SELECT 'transaction ' || entry.uid,
               entry.type || ' of ' || entry.amount || ', posted '
               || coalesce(posting.amount::text, 'nowhere')
          FROM wallet_wallettransaction AS entry
          LEFT JOIN kind_of ON kind_of.type = entry.type
          LEFT JOIN posted AS posting
               ON posting.posting_id = entry.uid AND posting.phase = 0
              AND posting.kind = kind_of.kind
         WHERE entry.type <> 'REVERSAL' AND posting.amount IS DISTINCT FROM entry.amount
        UNION ALL
        SELECT 'transaction ' || entry.uid,
               'REVERSAL of ' || entry.amount || ', released '
               || coalesce(released.amount::text, 'nothing')
          FROM wallet_wallettransaction AS entry
          LEFT JOIN posted AS released
               ON released.posting_id = entry.reverses_id AND released.phase = 1
              AND released.kind = 'RELEASE'
         WHERE entry.type = 'REVERSAL' AND released.amount IS DISTINCT FROM entry.amount
        UNION ALL
        SELECT 'transaction ' || entry.uid,
               'synced ' || entry.amount || ', the chain''s word is booked for '
               || coalesce(confirmed.amount, 0)
          FROM wallet_wallettransaction AS entry
          LEFT JOIN wallet_wallettransaction AS reversal
               ON reversal.reverses_id = entry.uid AND reversal.type = 'REVERSAL'
          LEFT JOIN posted AS confirmed
               ON confirmed.posting_id = entry.uid AND confirmed.phase = 2
         -- Neither a voided withdrawal nor its reversal is ever on the chain.
         WHERE CASE WHEN entry.sync_status = 'COMPLETED' AND entry.type <> 'REVERSAL'
                     AND reversal.uid IS NULL THEN entry.amount ELSE 0 END
               <> coalesce(confirmed.amount, 0)
        """,
        types=list(_KIND_OF_TYPE.keys()),
        kinds=list(_KIND_OF_TYPE.values()),
    )


def postings_without_their_transaction(_accounts: Accounts = None) -> list[Finding]:
    """Every posting that a gamer should see is seen; every end of a hold is its payout's."""
    return _find(
        """
        SELECT DISTINCT 'posting ' || posting_id, transfer.kind || ' is no transaction'
          FROM ledger.transfer
          LEFT JOIN wallet_wallettransaction AS entry ON entry.uid = posting_id
         WHERE entry.uid IS NULL
           AND (transfer.kind = ANY (%(kinds)s) OR transfer.kind = 'CONFIRM')
        UNION ALL
        SELECT DISTINCT 'posting ' || posting_id,
               transfer.kind || ', but its payout is ' || coalesce(payout.state, 'missing')
          FROM ledger.transfer
          LEFT JOIN wallet_payout AS payout
               ON payout.uid = posting_id AND payout.kind = 'WITHDRAW'
         WHERE phase = 1
           AND payout.state IS DISTINCT FROM
               CASE transfer.kind WHEN 'SETTLE' THEN 'COMPLETED' ELSE 'VOIDED' END
        """,
        kinds=list(_KIND_OF_TYPE.values()),
    )


def corrections_without_their_posting(_accounts: Accounts = None) -> list[Finding]:
    """What two people approved is posted as they approved it, and nothing else is corrected."""
    return _find(
        """
        WITH posted AS (
            SELECT posting_id, phase, leg, owner_id AS wallet_id, bucket, transfer.amount,
                   CASE id WHEN credit_id THEN 'CREDIT' ELSE 'DEBIT' END AS direction
              FROM ledger.transfer
              -- The other side is the treasury's.
              LEFT JOIN ledger.account
                   ON id = CASE %(treasury)s WHEN debit_id THEN credit_id
                                             WHEN credit_id THEN debit_id END
                  AND owner_kind = 'WALLET'
             WHERE kind = 'ADJUST'
        ),
        approved AS (
            SELECT * FROM wallet_correction WHERE state = 'APPROVED'
        )
        SELECT coalesce('correction ' || approved.id, 'posting ' || posting_id),
               CASE WHEN posting_id IS NULL THEN 'approved, and not posted as approved'
                    ELSE 'ADJUST of ' || posted.amount || ' that nobody approved' END
          FROM approved
          FULL JOIN posted
               ON posting_id = approved.transaction_id AND phase = 0 AND leg = 1
              AND posted.wallet_id = approved.wallet_id AND posted.bucket = approved.bucket
              AND posted.direction = approved.direction AND posted.amount = approved.amount
         WHERE posting_id IS NULL OR approved.id IS NULL
        """,
        treasury=TREASURY,
    )


def pools_with_something_left(_accounts: Accounts = None) -> list[Finding]:
    """A tournament that has given out its prizes keeps nothing: fees in are prizes and rake out."""
    return _find(
        """
        WITH waiting AS (
            SELECT account_id, sum(amount) AS amount FROM ledger.pending_credit GROUP BY account_id
        )
        SELECT 'tournament ' || owner_id,
               'has paid its prizes, and keeps ' || balance + coalesce(waiting.amount, 0)
          FROM ledger.account
          LEFT JOIN waiting ON waiting.account_id = account.id
         WHERE owner_kind = 'TOURNAMENT'
           AND balance + coalesce(waiting.amount, 0) <> 0
           AND EXISTS (SELECT FROM ledger.transfer
                        WHERE debit_id = account.id AND debit_seq IS NOT NULL
                          AND kind IN ('PRIZE', 'RAKE_PLATFORM', 'RAKE_DEVELOPER', 'REMAINDER'))
        """
    )


def payments_that_nobody_ordered(_accounts: Accounts = None) -> list[Finding]:
    """What the chain did with our contract or our addresses is a payout, a deposit, or explained."""
    return _find(
        """
        SELECT 'transaction ' || tx_hash || ' event ' || log_index,
               name || concat(' of ' || amount, ' from ' || from_address, ' to ' || to_address,
                              ' under ' || onchain_id) || ' was ordered by nobody here'
          FROM wallet_chainevent
         WHERE meaning = 'UNKNOWN' AND explained_at IS NULL AND dropped_at IS NULL
        """
    )


def rewritten_days(_accounts: Accounts = None) -> list[Finding]:
    """Each closed day still has the digest it was closed with, and follows from the one before."""
    return _find(
        """
        SELECT 'day ' || day,
               CASE WHEN prev_sha256 <> previous THEN 'does not follow from the day before'
                    ELSE 'was closed with ' || row_count || ' transfers, and has ' || now_count
                         || ' or others' END
          FROM (SELECT digest.*, again.row_count AS now_count, again.sha256 AS now_sha256,
                       lag(digest.sha256, 1, ''::bytea) OVER (ORDER BY day) AS previous
                  FROM ledger.day_digest AS digest
                 CROSS JOIN LATERAL ledger.digest_of(day, prev_sha256) AS again) AS compared
         WHERE prev_sha256 <> previous
            OR (row_count, sha256) IS DISTINCT FROM (now_count, now_sha256)
        """
    )


def snapshots_that_differ_from_transfers(_accounts: Accounts = None) -> list[Finding]:
    """The newest snapshot of each account without a kept balance is the sum of its transfers."""
    return _find(
        """
        SELECT 'account ' || newest.account_id,
               'snapshot of ' || newest.as_of || ' says ' || newest.balance
               || ', its transfers make ' || total.amount
          FROM (SELECT DISTINCT ON (account_id) * FROM ledger.snapshot
                 ORDER BY account_id, as_of DESC) AS newest
         CROSS JOIN LATERAL (
               SELECT coalesce(sum(change), 0) AS amount, count(*) AS row_count
                 FROM ledger.entry
                WHERE entry.account_id = newest.account_id AND seq IS NULL
                  AND created_at < newest.as_of) AS total
         WHERE (newest.balance, newest.row_count) <> (total.amount, total.row_count)
        """
    )


AUDITS: Final[Sequence[Audit]] = (
    Audit("All accounts together are zero", sums_that_are_not_zero, is_partial=False),
    Audit("No account is overdrawn", overdrawn_accounts),
    Audit("Each account's transfers follow each other", broken_chains),
    Audit("Balances are the sum of transfers", balances_that_differ_from_transfers),
    Audit("Waiting credits are transfers", waiting_credits_without_transfer),
    Audit("Transfers join accounts of one asset", transfers_between_strangers, is_partial=False),
    Audit("Holds are withdrawals under way", holds_without_payout),
    Audit("Wallets are the sum of transactions", wallets_that_differ_from_their_transactions),
    Audit("Transactions are posted", transactions_without_their_posting, is_partial=False),
    Audit("Postings are transactions", postings_without_their_transaction, is_partial=False),
    Audit("Corrections are what was approved", corrections_without_their_posting, is_partial=False),
    Audit("Pools are empty once paid out", pools_with_something_left, is_partial=False),
    Audit("The chain did what was ordered", payments_that_nobody_ordered),
    Audit("Closed days are as they were", rewritten_days, is_partial=False),
    Audit("Snapshots are sums", snapshots_that_differ_from_transfers, is_partial=False),
)


def all_audits() -> Sequence[Audit]:
    """The ledger's own audits, and those of the apps above that hold their rows against it."""
    return [audit for path in settings.LEDGER_AUDITS for audit in import_string(path)]


def differences_from_postings(kind: Transfer.Kind, promised: QuerySet[Any, Any]) -> list[Finding]:
    """Where an app's rows and the postings made for them are not the same, looked at from both ends.

    `promised` yields (posting id, amount above 0, what the row is called), each posting id once.
    """
    rows, parameters = promised.order_by().query.sql_with_params()
    return [
        Finding(*found)
        for found in _rows(
            f"""
            WITH promised (posting_id, amount, subject) AS ({rows}),
            posted AS (
                SELECT posting_id, sum(amount) AS amount FROM ledger.transfer
                 WHERE kind = %s AND phase = 0 GROUP BY posting_id
            )
            SELECT coalesce(subject, 'posting ' || posting_id),
                   coalesce(promised.amount::text, 'nothing') || ' was promised, '
                   || coalesce(posted.amount::text, 'nothing') || ' posted'
              FROM promised FULL JOIN posted USING (posting_id)
             WHERE promised.amount IS DISTINCT FROM posted.amount
             ORDER BY 1, 2
             LIMIT {MOST_FINDINGS}
            """,  # noqa: S608 - the query of a queryset, its parameters apart
            (*parameters, kind),
        )
    ]


def differences_from_balances(
    bucket: LedgerAccount.Bucket, promised: QuerySet[Any, Any]
) -> list[Finding]:
    """Where an app's sums and what the wallets hold in a bucket are not the same.

    `promised` yields (wallet id, amount), each wallet once; a wallet that is not there has nothing.
    """
    rows, parameters = promised.order_by().query.sql_with_params()
    return [
        Finding(*found)
        for found in _rows(
            f"""
            WITH promised (wallet_id, amount) AS ({rows})
            SELECT 'wallet ' || coalesce(wallet_id, owner_id),
                   coalesce(amount, 0) || ' was promised, ' || coalesce(balance, 0) || ' is there'
              FROM promised
              FULL JOIN (SELECT owner_id, balance FROM ledger.account
                          WHERE owner_kind = 'WALLET' AND bucket = %s) AS kept
                   ON owner_id = wallet_id
             WHERE coalesce(amount, 0) <> coalesce(balance, 0)
             ORDER BY 1, 2
             LIMIT {MOST_FINDINGS}
            """,  # noqa: S608 - the query of a queryset, its parameters apart
            (*parameters, bucket),
        )
    ]


# --- What changed --------------------------------------------------------------------------------


def horizon() -> int:
    """The number of the oldest transaction that is not over: what is older cannot change any more."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        number: int = cursor.fetchone()[0]
    return number


def rewritten_rows() -> int:
    """How many rows of the history were changed or deleted, as PostgreSQL counts: none, ever.

    The owner can switch every guard off, but not this counter. It starts at 0 again after a crash.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(pg_stat_get_tuples_updated(inhrelid)"
            "                    + pg_stat_get_tuples_deleted(inhrelid)), 0)::bigint"
            "  FROM pg_inherits WHERE inhparent = 'ledger.transfer'::regclass"
        )
        rows: int = cursor.fetchone()[0]
    return rows


def accounts_changed_since(moment: datetime, *, past: int) -> list[int]:
    """The accounts written since a horizon by whomever, and those with something under way.

    Told by the version of the row, which an administrator's hand edit changes like any other.
    `moment` is a little before the horizon: a transfer inserted by hand touches no account.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH recent AS (
                SELECT DISTINCT side.id
                  FROM ledger.transfer
                 CROSS JOIN LATERAL (VALUES (debit_id), (credit_id)) AS side (id)
                 WHERE posting_id >= ledger.first_id_at(%(moment)s)
            )
            SELECT id FROM ledger.account
             WHERE age(xmin) <= age(mod(%(past)s::bigint, 4294967296)::text::xid) AND mode <> 'N'
            UNION
            SELECT id FROM recent JOIN ledger.account USING (id) WHERE mode <> 'N'
            UNION
            SELECT account_id FROM ledger.pending_credit
            UNION
            SELECT account.id
              FROM wallet_payout JOIN ledger.account ON owner_id = wallet_id
             WHERE wallet_payout.kind = 'WITHDRAW'
               AND state NOT IN ('COMPLETED', 'VOIDED')
               AND owner_kind = 'WALLET' AND bucket = 'hold'
            """,
            {"moment": moment, "past": past},
        )
        return [number for (number,) in cursor.fetchall()]


# --- The chain -----------------------------------------------------------------------------------


class ChainReader(Protocol):
    """The part of `wallet.settlement.chain.Chain` that an audit asks."""

    def finalized(self) -> "Block": ...

    def finalized_block(self) -> int: ...

    def balances(self, addresses: Sequence[str], *, block: int) -> list[int]: ...

    def nonce(self, address: str, *, block: int | str) -> int: ...


@dataclass(frozen=True)
class ChainComparison:
    """Where the mirror and the chain differ, and not because of payouts under way."""

    missing: list[Finding]
    """The chain holds less than we say: never right."""
    unbooked: list[Finding]
    """It holds more. Anybody may send KCash to a wallet; a deposit waits to be booked."""
    kcash: int = field(default=0, compare=False)
    """What all the differences come to."""


@dataclass(frozen=True)
class ChainLook:
    """What all questions to the chain have found."""

    wrong: list[tuple[str, Finding]]
    """With the title of the question."""
    unbooked: list[Finding]
    kcash: int


WALLETS_TITLE: Final = "Wallets are what the chain says"
FLOAT_TITLE: Final = "The float is what was put in and not paid out"
LANES_TITLE: Final = "Lanes have used the nonces of their slots"

# The chain may have paid these before the books say so. Of a payment and a void the chain takes the
# one that comes first.
_UNDER_WAY: Final = (Payout.State.SUBMITTED, Payout.State.CONFIRMING, Payout.State.VOIDING)


def look_at_chain(chain: ChainReader, accounts: Accounts = None) -> ChainLook:
    """Ask the chain all that there is to ask, or what concerns these accounts.

    Raises ChainUnavailable. Some may be on its way: ask twice before believing it.
    """
    lanes = lanes_that_differ(chain)
    wallets = compare_with_chain(chain, accounts)
    off = float_difference(chain) if accounts is None else 0
    wrong = [(LANES_TITLE, finding) for finding in lanes]
    wrong += [(WALLETS_TITLE, finding) for finding in wallets.missing]
    if off:
        wrong.append((FLOAT_TITLE, Finding(transactions.float_address(), f"{off:+} KCash")))
    return ChainLook(wrong=wrong, unbooked=wallets.unbooked, kcash=wallets.kcash + abs(off))


def lanes_that_differ(chain: ChainReader) -> list[Finding]:
    """Each lane's nonces are used by the chain up to its first open slot, and none beyond its last."""
    # Before the chain is asked, so that what is over here is over there, too.
    lanes = _rows(
        """
        SELECT address, next_nonce,
               next_nonce - (SELECT count(*) FROM wallet_slot
                              WHERE operator_id = lane.id AND state = 'OPEN')
          FROM wallet_operator AS lane
         WHERE chain_id = %(chain)s
         ORDER BY address
        """,
        {"chain": settings.CHAIN_ID},
    )
    if not lanes:
        return []
    block = chain.finalized_block()
    used = [(lane, chain.nonce(lane[0], block=block)) for lane in lanes]
    return [
        Finding(f"lane {address}", f"nonces {least} to {most} here, {nonce} on the chain")
        for (address, most, least), nonce in used
        if not least <= nonce <= most
    ]


def float_difference(chain: ChainReader) -> int:
    """What the float wallet holds beyond what was put in and not paid out; 0 if all is well.

    As of the block up to which the chain's events were read; without any there is nothing to say.
    """
    read_to = ChainCursor.objects.filter(chain_id=settings.CHAIN_ID).aggregate(
        block=Min("next_block")
    )["block"]
    if not read_to:
        return 0
    float_address = transactions.float_address()
    ((expected, coming, going),) = _rows(
        """
        WITH moved AS (
            SELECT coalesce(sum(CASE to_address WHEN %(float)s THEN amount ELSE -amount END), 0) AS net
              FROM wallet_chainevent
             WHERE chain_id = %(chain)s AND block_number <= %(block)s AND dropped_at IS NULL
               AND name = 'Transfer' AND meaning <> 'PAYOUT'
               AND %(float)s IN (from_address, to_address)
        ),
        paid AS (
            SELECT sum(amount) FILTER (WHERE is_over AND kind = 'IN') AS went,
                   sum(amount) FILTER (WHERE is_over AND kind = 'OUT') AS came,
                   sum(amount) FILTER (WHERE is_under_way AND kind = 'IN') AS going,
                   sum(amount) FILTER (WHERE is_under_way AND kind = 'OUT') AS coming
              FROM (SELECT kind, amount,
                           state = 'COMPLETED' AND block_number <= %(block)s AS is_over,
                           state = ANY (%(under_way)s) AS is_under_way
                      FROM wallet_payout
                     WHERE %(float)s IN (from_address, to_address)) AS payout
        )
        SELECT net - coalesce(went, 0) + coalesce(came, 0), coalesce(coming, 0), coalesce(going, 0)
          FROM moved, paid
        """,
        {
            "float": float_address,
            "chain": settings.CHAIN_ID,
            "block": read_to - 1,
            "under_way": [*_UNDER_WAY, Payout.State.REVIEW],
        },
    )
    (held,) = chain.balances([float_address], block=read_to - 1)
    return held - max(int(expected - going), min(held, int(expected + coming)))


def compare_with_chain(chain: ChainReader, accounts: Accounts = None) -> ChainComparison:
    """Hold each wallet's mirror against what its address holds in the newest final block.

    A payout under way may be final there and not be booked yet, which is no difference. One that was
    sent while this was asked may look like one: ask twice before believing it.
    """
    # One statement, so that a payout is either under way here or already in the mirror.
    compared = _rows(
        """
        WITH under_way AS (
            SELECT wallet_id,
                   sum(amount) FILTER (WHERE kind = 'IN') AS coming,
                   sum(amount) FILTER (WHERE kind <> 'IN') AS going
              FROM wallet_payout
             WHERE state = ANY (%(under_way)s)
             GROUP BY wallet_id
        )
        SELECT wallet.id, wallet.address, mirror.balance,
               mirror.balance - coalesce(under_way.going, 0),
               mirror.balance + coalesce(under_way.coming, 0)
          FROM wallet_wallet AS wallet
          JOIN ledger.account AS mirror
               ON owner_kind = 'WALLET' AND owner_id = wallet.id AND bucket = 'onchain'
          LEFT JOIN under_way ON under_way.wallet_id = wallet.id
         WHERE %(accounts)s::bigint[] IS NULL
            OR wallet.id IN (SELECT owner_id FROM ledger.account
                              WHERE owner_kind = 'WALLET' AND id = ANY (%(accounts)s))
         ORDER BY wallet.id
        """,
        {"accounts": accounts, "under_way": list(_UNDER_WAY)},
    )
    missing: list[Finding] = []
    unbooked: list[Finding] = []
    off = 0
    if not compared:
        return ChainComparison(missing, unbooked)
    block = chain.finalized_block()
    held = chain.balances([address for _, address, *_ in compared], block=block)
    for (wallet_id, address, mirrored, least, most), on_chain in zip(compared, held, strict=True):
        if least <= on_chain <= most:
            continue
        found = Finding(f"wallet {wallet_id} {address}", f"ledger {mirrored}, chain {on_chain}")
        (missing if on_chain < least else unbooked).append(found)
        off += int(least - on_chain if on_chain < least else on_chain - most)
    return ChainComparison(missing, unbooked, kcash=off)


# --- One tournament ------------------------------------------------------------------------------


def tournament_books(uid: UUID) -> TournamentBooks:
    """One tournament's money, read from its pool account. Raises LedgerAccount.DoesNotExist."""
    pool = LedgerAccount.objects.get(
        owner_kind=LedgerAccount.Owner.TOURNAMENT,
        owner_uid=uid,
        bucket=LedgerAccount.Bucket.POOL,
    )
    flows = prize_pools.flows_of(account_id=pool.pk)
    return TournamentBooks(
        stakes=flows.stakes,
        refunds=flows.refunds,
        sponsored=flows.sponsored,
        prizes=flows.prizes,
        rake=flows.platform_rake + flows.developer_rake,
        remainder=flows.remainder,
        in_pool=flows.in_pool,
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


def _find(question: str, accounts: Accounts = None, **parameters: Any) -> list[Finding]:
    # Sorted, so that two looks at too many findings see the same ones.
    few = f"SELECT * FROM ({question}) AS found ORDER BY 1, 2 LIMIT {MOST_FINDINGS}"  # noqa: S608
    return [Finding(*row) for row in _rows(few, {"accounts": accounts, **parameters})]


def _rows(question: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(question, parameters)
        rows: list[Any] = cursor.fetchall()
    return rows
