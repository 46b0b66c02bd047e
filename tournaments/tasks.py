from uuid import UUID

from celery import shared_task
from django.utils import timezone

from tournaments import cancelling, ranking, settling
from tournaments.models import Tournament

# The next sweep asks again: an old request must not pile up behind a busy worker.
_EXPIRES_S = 10


@shared_task
def close_due_tournaments(**_later: object) -> None:
    """Find the tournaments that ask for something and hand each to a task of its own."""
    now = timezone.now()
    due = (
        (cancel_short_tournament, Tournament.objects.short_of_entrants(now)),
        (settle_tournament, Tournament.objects.due_to_settle(now)),
        (refund_cancelled_tournament, Tournament.objects.owing_refunds()),
    )
    for task, tournaments in due:
        for uid in tournaments.order_by("ends_at").values_list("uid", flat=True):
            task.apply_async(kwargs={"uid": str(uid)}, expires=_EXPIRES_S)


@shared_task
def cancel_short_tournament(*, uid: str, **_later: object) -> None:
    cancelling.cancel_if_short(uid=UUID(uid), now=timezone.now())


@shared_task
def settle_tournament(*, uid: str, **_later: object) -> None:
    settling.settle(uid=UUID(uid), now=timezone.now())


@shared_task
def refund_cancelled_tournament(*, uid: str, **_later: object) -> None:
    cancelling.refund_stakes(uid=UUID(uid), now=timezone.now())


@shared_task
def build_wanted_rankings(**_later: object) -> None:
    """Copy the big boards that readers have missed in Valkey."""
    ranking.build_wanted()
