from celery import shared_task
from django.utils import timezone

from kgen.common.api import idempotency


@shared_task
def forget_expired_keys(**_later: object) -> None:
    idempotency.forget_expired(now=timezone.now())
