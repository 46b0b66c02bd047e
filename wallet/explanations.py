"""Why a wallet holds what it holds: each bucket as a sum of causes. Reads alone.

A wallet's transfers are found by the ledger's two indexes of an account's numbers, and summed up in
the database: no more than the wallet's own rows are read, and a handful of sums comes back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from django.db import connection

from wallet.ledger import Bucket, Kind
from wallet.models import Wallet, WalletTransaction

Type = WalletTransaction.Type

# What the chain has booked is told by the transaction that it was booked for.
WORDS: Final[Mapping[str, str]] = {
    Kind.WELCOME_BONUS: "welcome bonus",
    Kind.DEPOSIT: "deposits",
    Kind.ENTRY_FEE: "entry fees",
    Kind.REFUND: "refunds",
    Kind.PRIZE: "prizes",
    Kind.GRANT: "rewards granted",
    Kind.CLAIM: "claims",
    Kind.EXPIRY: "rewards expired",
    Kind.HOLD: "set aside for withdrawals",
    Kind.SETTLE: "withdrawals paid out",
    Kind.RELEASE: "withdrawals given back",
    Kind.ADJUST: "corrections",
    Type.JOIN: "entry fees",
    Type.REWARD_CLAIM: "claims",
    Type.WITHDRAW: "withdrawals",
    Kind.CONFIRM: "booked without a transaction",
}


@dataclass(frozen=True)
class Cause:
    words: str
    count: int
    # Signed: below zero for what left the bucket.
    amount: int


@dataclass(frozen=True)
class Explanation:
    bucket: Bucket
    balance: int
    causes: Sequence[Cause]

    @property
    def drift(self) -> int:
        """What no cause accounts for; anything but 0 is wrong."""
        return self.balance - sum(cause.amount for cause in self.causes)

    @property
    def sum_of_causes(self) -> str:
        """`+ 300 claims (3) - 60 entry fees (2)`."""
        return " ".join(
            f"{'+' if cause.amount > 0 else '-'} {abs(cause.amount):,} {cause.words} ({cause.count:,})"
            for cause in self.causes
        )


def explanations_of(*, wallet: Wallet) -> list[Explanation]:
    """The six buckets in their order, balances and causes of one moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH own AS (
                SELECT id, bucket, balance FROM ledger.account
                 WHERE owner_kind = 'WALLET' AND owner_id = %(wallet)s
            ),
            side AS (
                SELECT debit_id AS account_id, false AS is_in, kind, posting_id, amount
                  FROM ledger.transfer
                 WHERE debit_id = ANY (ARRAY (SELECT id FROM own)) AND debit_seq IS NOT NULL
                UNION ALL
                SELECT credit_id, true, kind, posting_id, amount
                  FROM ledger.transfer
                 WHERE credit_id = ANY (ARRAY (SELECT id FROM own)) AND credit_seq IS NOT NULL
            ),
            cause AS (
                SELECT account_id, is_in,
                       CASE kind WHEN 'CONFIRM' THEN coalesce(entry.type, kind) ELSE kind END
                           AS what,
                       count(*), sum(side.amount) AS amount
                  FROM side
                  LEFT JOIN wallet_wallettransaction AS entry
                       ON kind = 'CONFIRM' AND entry.wallet_id = %(wallet)s
                      AND entry.uid = posting_id
                 GROUP BY 1, 2, 3
            )
            SELECT bucket, balance, what, count, CASE WHEN is_in THEN amount ELSE -amount END
              FROM own LEFT JOIN cause ON account_id = own.id
             ORDER BY own.id, is_in DESC, amount DESC, what
            """,
            {"wallet": wallet.pk},
        )
        rows = cursor.fetchall()
    return [
        Explanation(
            bucket=Bucket(bucket),
            balance=int(balance),
            causes=[
                Cause(_words(what), count, int(amount))
                for *_, what, count, amount in causes
                if what is not None
            ],
        )
        for (bucket, balance), causes in groupby(rows, key=lambda row: row[:2])
    ]


def _words(what: str) -> str:
    return WORDS.get(what, what.replace("_", " ").lower())
