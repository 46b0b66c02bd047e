"""Rewards whose time to claim is over: what was set aside for them goes back to the treasury."""

from datetime import datetime
from typing import Final

from django.db import transaction

from kgen.common.identifiers import uuid7
from rewards.models import Reward
from wallet import claims, custody

# Small, since the gamers of a chunk can neither play nor claim until it is over.
CHUNK: Final = 100


def expire_due(*, now: datetime) -> int:
    """Expire each unclaimed reward whose time is over, once, and say how many they were.

    A gamer whose wallet is in use is left for the next run: of claim and expiry the first has it.
    """
    expired, place = 0, 0
    while (chunk := _expire_chunk(after=place, now=now)) is not None:
        place, count = chunk
        expired += count
    return expired


@transaction.atomic
def _expire_chunk(*, after: int, now: datetime) -> tuple[int, int] | None:
    """How far that was, and how many expired; None when nothing is due behind `after`."""
    due = Reward.objects.due_to_expire(now)
    found = list(
        due.filter(pk__gt=after).order_by("pk").values_list("pk", "gamer__wallet__pk")[:CHUNK]
    )
    if not found:
        return None

    # The wallets first, as everywhere; then again what is due, now that nobody else can claim it.
    wallets = dict(found)
    free = custody.lock_each(set(wallets.values()), skip_locked=True)
    rewards = list(
        due.filter(pk__in=wallets, gamer__wallet__in=free)
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
    return found[-1][0], len(rewards)
