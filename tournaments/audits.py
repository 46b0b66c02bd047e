"""Tournaments held against the ledger: each seat's stake, each refund, and the prizes."""

from typing import Any, Final

from django.db.models import OuterRef, QuerySet, Subquery, Sum, TextField, Value
from django.db.models.functions import Cast, Concat

from rewards.models import Reward
from tournaments.models import Participation, Tournament
from wallet.ledger import Kind
from wallet.reconciliation import Accounts, Audit, Finding, differences_from_postings

_SEAT: Final = Concat(Value("seat "), Cast("pk", TextField()), output_field=TextField())
_TOURNAMENT: Final = Concat(
    Value("tournament "), Cast("uid", TextField()), output_field=TextField()
)


def seats_without_their_fee(_accounts: Accounts = None) -> list[Finding]:
    """Each seat of a tournament with a fee was paid for once; no fee was taken without a seat."""
    seats = Participation.objects.filter(tournament__entry_fee__gt=0)
    return differences_from_postings(
        Kind.ENTRY_FEE, seats.values_list("fee_posting_id", "tournament__entry_fee", _SEAT)
    )


def refunds_without_their_seat(_accounts: Accounts = None) -> list[Finding]:
    """Each stake that a seat says it got back was given back, and no other."""
    refunded = Participation.objects.filter(refund_posting_id__isnull=False)
    return differences_from_postings(
        Kind.REFUND, refunded.values_list("refund_posting_id", "tournament__entry_fee", _SEAT)
    )


def prizes_that_differ_from_results(_accounts: Accounts = None) -> list[Finding]:
    """The prizes of the final ranks are what the finish posting paid out of the pool."""
    won = Participation.objects.filter(tournament=OuterRef("pk")).order_by().values("tournament")
    return _prizes(won.annotate(sum=Sum("prize")).values("sum"))


def prizes_that_differ_from_rewards(_accounts: Accounts = None) -> list[Finding]:
    """What the winners were promised is what the finish posting paid out of the pool."""
    promised = Reward.objects.filter(tournament_uid=OuterRef("uid")).values("tournament_uid")
    return _prizes(promised.annotate(sum=Sum("amount")).values("sum"))


def _prizes(paid: QuerySet[Any, Any]) -> list[Finding]:
    settled = Tournament.objects.filter(phase=Tournament.Phase.COMPLETED)
    return differences_from_postings(
        Kind.PRIZE,
        settled.annotate(paid=Subquery(paid))
        .filter(paid__gt=0)
        .values_list("finish_posting_id", "paid", _TOURNAMENT),
    )


AUDITS: Final = (
    Audit("Entry fees are seats", seats_without_their_fee, is_partial=False),
    Audit("Refunds are seats given up", refunds_without_their_seat, is_partial=False),
    Audit("Prizes are results", prizes_that_differ_from_results, is_partial=False),
    Audit("Prizes are rewards", prizes_that_differ_from_rewards, is_partial=False),
)
