from celery import shared_task
from django.utils import timezone

from rewards import expiring


@shared_task(acks_late=True, reject_on_worker_lost=True)
def expire_rewards(**_later: object) -> None:
    """Take back what was not claimed in time; run every few seconds."""
    expiring.expire_due(now=timezone.now())
