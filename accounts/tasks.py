from celery import shared_task
from django.utils import timezone

from accounts import sessions


@shared_task
def forget_expired_tokens(**_later: object) -> None:
    sessions.forget_expired_tokens(now=timezone.now())
