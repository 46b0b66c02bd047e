from celery import shared_task
from django.utils import timezone

from rewards import bulk, expiring
from rewards.models import BulkGrant

# The next sweep asks again: an old request must not pile up behind a busy worker.
_EXPIRES_S = 10


@shared_task(acks_late=True, reject_on_worker_lost=True)
def expire_rewards(**_later: object) -> None:
    """Take back what was not claimed in time; run every few seconds."""
    expiring.expire_due(now=timezone.now())


@shared_task
def carry_out_bulk_grants(**_later: object) -> None:
    """Hand each confirmed file that is not done to a task of its own; run every few seconds."""
    confirmed = BulkGrant.objects.filter(state=BulkGrant.State.CONFIRMED).order_by("pk")
    for pk in confirmed.values_list("pk", flat=True):
        carry_out_bulk_grant.apply_async(kwargs={"bulk_grant_id": pk}, expires=_EXPIRES_S)


@shared_task(acks_late=True, reject_on_worker_lost=True)
def carry_out_bulk_grant(*, bulk_grant_id: int, **_later: object) -> None:
    bulk.carry_out(bulk_grant_id=bulk_grant_id, now=timezone.now())
