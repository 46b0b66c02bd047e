"""What may be withdrawn without anybody being asked, and how soon.

A limit refuses nothing: the KCash is set aside for the gamer at once, and the payout waits for
staff. How much each limit is, the settings say and the game's own column.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.models import Count, Q, Sum

from accounts.models import Game
from kgen.common.transactions import requires_transaction
from wallet.models import KgenWallet, Payout, Wallet

# Looked back over, so that no midnight gives a second day's worth.
DAY: Final = timedelta(hours=24)


@dataclass(frozen=True)
class Judgement:
    """Why staff are asked, and how many of them; before when nothing is paid whatever they say."""

    reasons: Sequence[str]
    approvals_needed: int
    not_before: datetime | None

    @property
    def state(self) -> Payout.State:
        """What the payout begins as."""
        return Payout.State.AWAITING_APPROVAL if self.approvals_needed else Payout.State.PENDING


@requires_transaction
def judge(
    *,
    game: Game,
    wallet: Wallet,
    to: KgenWallet,
    linked_at: datetime | None,
    amount: int,
    now: datetime,
) -> Judgement:
    """What is to become of a withdrawal that is about to be made.

    The caller holds the wallet and the account behind the KGeN wallet, so that what was withdrawn
    before stays as it is counted here: by this wallet, and to that one out of any game.
    """
    before, number = _withdrawn(wallet=wallet, to=to, since=now - DAY)
    total = before + amount

    reasons = []
    if amount > game.auto_approve_limit:
        reasons.append(f"{amount:,} KCash is above the {game.auto_approve_limit:,} of {game}.")
    if total > settings.AUTO_APPROVE_PER_GAMER_AND_DAY:
        reasons.append(
            f"{total:,} KCash in 24 h is above the"
            f" {settings.AUTO_APPROVE_PER_GAMER_AND_DAY:,} of one gamer."
        )
    if number >= settings.AUTO_APPROVE_TIMES_PER_GAMER_AND_DAY:
        reasons.append(
            f"Withdrawal no. {number + 1} in 24 h is above the"
            f" {settings.AUTO_APPROVE_TIMES_PER_GAMER_AND_DAY} of one gamer."
        )
    # Counted last, because only what goes out by itself counts.
    if not reasons and not _is_within_the_day(amount, now=now):
        reasons.append(
            f"The {settings.AUTO_APPROVE_PER_DAY:,} KCash a day of all gamers together are used up."
        )
    return Judgement(
        reasons=tuple(reasons),
        approvals_needed=_approvals_needed(total) if reasons else 0,
        not_before=_not_before(game=game, to=to, linked_at=linked_at, now=now),
    )


def _withdrawn(*, wallet: Wallet, to: KgenWallet, since: datetime) -> tuple[int, int]:
    """How much, and how often; what was voided came back and does not count."""
    found = (
        Payout.objects.filter(
            Q(wallet=wallet) | Q(to_address=to.address),
            kind=Payout.Kind.WITHDRAW,
            created_at__gt=since,
        )
        .exclude(state=Payout.State.VOIDED)
        .aggregate(amount=Sum("amount"), number=Count("pk"))
    )
    return found["amount"] or 0, found["number"]


def _approvals_needed(total: int) -> int:
    """By what the day comes to, so that a large withdrawal is no cheaper in pieces."""
    return 2 if total > settings.SECOND_APPROVAL_ABOVE else 1


def _is_within_the_day(amount: int, *, now: datetime) -> bool:
    """Count it to what goes out by itself today, unless that would be too much."""
    if amount > settings.AUTO_APPROVE_PER_DAY:
        return False
    # One statement: of two withdrawals at once the second one waits here, and sees the first.
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO wallet_unattendedday AS total (day, amount)"
            " VALUES (%(day)s, %(amount)s)"
            " ON CONFLICT (day) DO UPDATE SET amount = total.amount + excluded.amount"
            " WHERE total.amount + excluded.amount <= %(most)s RETURNING 1",
            {"day": now.date(), "amount": amount, "most": settings.AUTO_APPROVE_PER_DAY},
        )
        return cursor.fetchone() is not None


def _not_before(
    *, game: Game, to: KgenWallet, linked_at: datetime | None, now: datetime
) -> datetime | None:
    """A wallet that is new, or new to this gamer, waits: a thief's phone would be both."""
    if game.is_sandbox:
        return None
    known_since = max(to.created_at, linked_at or to.created_at)
    waits_until = known_since + timedelta(hours=settings.KGEN_WALLET_WAIT_HOURS)
    return waits_until if waits_until > now else None
