from uuid import UUID

from celery import shared_task
from django.utils import timezone

from tournaments import closing, ranking, series
from tournaments.closing import Step
from tournaments.models import Series

# The next sweep asks again: an old request must not pile up behind a busy worker.
_EXPIRES_S = 10


@shared_task
def close_due_tournaments(**_later: object) -> None:
    """Find the tournaments that ask for something and hand each to a task of its own."""
    tasks = {
        Step.CANCEL_IF_SHORT: cancel_short_tournament,
        Step.SETTLE: settle_tournament,
        Step.REFUND: refund_cancelled_tournament,
    }
    for step, uid in closing.due(now=timezone.now()):
        tasks[step].apply_async(kwargs={"uid": str(uid)}, expires=_EXPIRES_S)


@shared_task
def cancel_short_tournament(*, uid: str, **_later: object) -> None:
    closing.take(Step.CANCEL_IF_SHORT, uid=UUID(uid), now=timezone.now())


@shared_task
def settle_tournament(*, uid: str, **_later: object) -> None:
    closing.take(Step.SETTLE, uid=UUID(uid), now=timezone.now())


@shared_task
def refund_cancelled_tournament(*, uid: str, **_later: object) -> None:
    closing.take(Step.REFUND, uid=UUID(uid), now=timezone.now())


@shared_task
def build_wanted_rankings(**_later: object) -> None:
    """Copy the big boards that readers have missed in Valkey."""
    ranking.build_wanted()


@shared_task
def carry_series_on(**_later: object) -> None:
    """Find the series with dates to make and hand each to a task of its own."""
    for one in Series.objects.due(timezone.now()):
        make_dates_of_series.apply_async(kwargs={"pk": one.pk}, expires=_EXPIRES_S)


@shared_task
def make_dates_of_series(*, pk: int, **_later: object) -> None:
    series.carry_on(pk=pk, now=timezone.now())
