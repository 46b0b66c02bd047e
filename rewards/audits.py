"""Promises held against the ledger: what was set aside for them, and what was paid on them."""

from typing import Final

from django.db.models import QuerySet, Sum, TextField, Value
from django.db.models.functions import Cast, Concat

from rewards.models import Reward
from wallet.ledger import Bucket, Kind
from wallet.reconciliation import (
    Accounts,
    Audit,
    Finding,
    differences_from_balances,
    differences_from_postings,
)

_NAME: Final = Concat(Value("reward "), Cast("uid", TextField()), output_field=TextField())


def grants_without_their_posting(_accounts: Accounts = None) -> list[Finding]:
    """Each reward from outside a tournament was set aside from the treasury, and nothing else was."""
    granted = Reward.objects.filter(grant_posting_id__isnull=False)
    return differences_from_postings(Kind.GRANT, _promised(granted, "grant_posting_id"))


def claims_without_their_posting(_accounts: Accounts = None) -> list[Finding]:
    """Each claimed reward was credited once, with its amount, and nothing else was."""
    claimed = Reward.objects.filter(claim_posting_id__isnull=False)
    return differences_from_postings(Kind.CLAIM, _promised(claimed, "claim_posting_id"))


def expiries_without_their_posting(_accounts: Accounts = None) -> list[Finding]:
    """Each expired reward went back to the treasury once, with its amount, and nothing else did."""
    expired = Reward.objects.filter(expiry_posting_id__isnull=False)
    return differences_from_postings(Kind.EXPIRY, _promised(expired, "expiry_posting_id"))


def unclaimed_rewards_that_differ_from_balances(_accounts: Accounts = None) -> list[Finding]:
    """What a wallet has to claim is the sum of its gamer's unclaimed rewards."""
    unclaimed = Reward.objects.filter(status=Reward.Status.UNCLAIMED).order_by()
    sums = unclaimed.values("gamer__wallet").annotate(sum=Sum("amount"))
    return differences_from_balances(Bucket.CLAIMABLE, sums.values_list("gamer__wallet", "sum"))


def _promised(rewards: QuerySet[Reward], posting: str) -> QuerySet[Reward, tuple[object, ...]]:
    return rewards.values_list(posting, "amount", _NAME)


AUDITS: Final = (
    Audit("Grants are rewards", grants_without_their_posting, is_partial=False),
    Audit("Claims are rewards", claims_without_their_posting, is_partial=False),
    Audit("Expiries are rewards", expiries_without_their_posting, is_partial=False),
    Audit(
        "Rewards to claim are set aside",
        unclaimed_rewards_that_differ_from_balances,
        is_partial=False,
    ),
)
