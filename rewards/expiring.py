"""Rewards whose time to claim is over: what was set aside for them goes back to the treasury."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db import transaction

from kgen.common.identifiers import uuid7
from rewards.models import Reward
from wallet import claims, custody, ledger

logger = logging.getLogger(__name__)

# Small, since the gamers of a chunk can neither play nor claim until it is over.
CHUNK: Final = 100

# A reward's key, and its gamer's wallet's.
_Due = tuple[int, int]


def expire_due(*, now: datetime) -> int:
    """Expire each unclaimed reward whose time is over, once, and say how many they were.

    A gamer whose wallet is in use is left for the next run: of claim and expiry the first has it.
    One whose wallet holds less than was promised keeps nobody else's from expiring.
    """
    expired = 0
    due = _due(after=0, now=now)
    while due:
        try:
            expired += _expire(due, now=now)
        except ledger.InsufficientFunds:
            expired += sum(_expire_alone(one, now=now) for one in due)
        due = _due(after=due[-1][0], now=now)
    return expired


def _due(*, after: int, now: datetime) -> list[_Due]:
    due = Reward.objects.due_to_expire(now).filter(pk__gt=after).order_by("pk")
    return list(due.values_list("pk", "gamer__wallet__pk")[:CHUNK])


def _expire_alone(one: _Due, *, now: datetime) -> int:
    try:
        return _expire([one], now=now)
    except ledger.InsufficientFunds:
        reward, wallet = one
        logger.exception("Reward %s cannot expire: wallet %s holds too little", reward, wallet)
        return 0


@transaction.atomic
def _expire(due: Sequence[_Due], *, now: datetime) -> int:
    wallets = dict(due)
    # The wallets first, as everywhere; then again what is due, now that nobody else can claim it.
    free = custody.lock_each(set(wallets.values()), skip_locked=True)
    rewards = list(
        Reward.objects.due_to_expire(now)
        .filter(pk__in=wallets, gamer__wallet__in=free)
        .order_by("pk")
        .select_for_update(of=("self",), no_key=True)
    )
    posting_ids = [uuid7() for _ in rewards]
    for reward, posting_id in zip(rewards, posting_ids, strict=True):
        reward.expiry_posting_id = posting_id
        reward.status = Reward.Status.EXPIRED
        reward.updated_at = now
    Reward.objects.bulk_update(rewards, ["status", "expiry_posting_id", "updated_at"])
    claims.take_back_each(
        [
            claims.Movement(wallets[reward.pk], reward.amount, posting_id)
            for reward, posting_id in zip(rewards, posting_ids, strict=True)
        ]
    )
    return len(rewards)
