"""Taking what was promised (API contract, 3.11 and 3.12)."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import Gamer
from kgen.common.errors import NotFound
from kgen.common.identifiers import uuid7
from rewards.models import Reward
from wallet import claims, custody, freezing


class RewardNotFound(NotFound):
    code = "REWARD_NOT_FOUND"
    message = "No such reward for this gamer."


def claimable(*, gamer: Gamer, now: datetime) -> list[Reward]:
    """What the gamer may claim, newest first."""
    rewards = Reward.objects.claimable_at(now).filter(gamer=gamer)
    return list(rewards.order_by("-created_at", "-id").select_related("gamer__wallet"))


def refuse_frozen(*, gamer: Gamer, now: datetime) -> None:
    """Raises the wallet's WalletFrozen; `claim` asks again, under the wallet's lock."""
    freezing.refuse_frozen(custody.wallet_of(gamer), now=now)


@transaction.atomic
def claim(
    *, gamer: Gamer, now: datetime, reward_uids: Collection[UUID] | None = None
) -> list[Reward]:
    """Credit the named rewards, or all, to the gamer's earned balance; each is credited once.

    Returns those credited by this call: one claimed before counts as done. Refuses with
    RewardNotFound, and claims nothing, if one is unknown, expired or another gamer's, and with the
    wallet's WalletFrozen.
    """
    # The wallet first, as everywhere: a parallel claim waits here and then finds nothing left.
    wallet = custody.lock(custody.wallet_of(gamer).pk)
    freezing.refuse_frozen(wallet, now=now)

    if reward_uids is None:
        rewards = list(
            Reward.objects.claimable_at(now)
            .filter(gamer=gamer)
            .order_by("id")
            .select_for_update(no_key=True)
        )
    else:
        rewards = _named(gamer, reward_uids, now=now)

    posting_ids = [uuid7() for _ in rewards]
    for reward, posting_id in zip(rewards, posting_ids, strict=True):
        reward.claim_posting_id = posting_id
        reward.status = Reward.Status.CLAIMED_SUCCESSFULLY
        reward.claimed_at = reward.updated_at = now
    Reward.objects.bulk_update(
        rewards, ["status", "claim_posting_id", "claimed_at", "updated_at"], batch_size=1000
    )
    for reward, posting_id in zip(rewards, posting_ids, strict=True):
        claims.credit(
            wallet=wallet,
            amount=reward.amount,
            reference=posting_id,
            description=_description(reward),
            now=now,
        )
    return rewards


def _named(gamer: Gamer, uids: Collection[UUID], *, now: datetime) -> list[Reward]:
    own = Reward.objects.filter(gamer=gamer, uid__in=uids)
    found = list(own.order_by("id").select_for_update(no_key=True))
    open_ones = [reward for reward in found if reward.is_claimable_at(now)]
    done = [reward for reward in found if reward.status == Reward.Status.CLAIMED_SUCCESSFULLY]
    if len(open_ones) + len(done) < len(set(uids)):
        raise RewardNotFound
    return open_ones


def _description(reward: Reward) -> str:
    if reward.tournament_title is None:
        return f"Reward {reward.reference}"
    return f"Prize for rank {reward.rank} in {reward.tournament_title}"
