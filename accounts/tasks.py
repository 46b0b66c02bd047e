import logging

from celery import shared_task
from django.utils import timezone

from accounts import otp, otp_watch, sessions

logger = logging.getLogger(__name__)


@shared_task
def forget_expired_tokens(**_later: object) -> None:
    sessions.forget_expired_tokens(now=timezone.now())


@shared_task
def watch_otps(**_later: object) -> None:
    for alarm in otp_watch.alarms(now=timezone.now()):
        logger.warning("%s", alarm)


@shared_task
def tell_gateways(**_later: object) -> None:
    otp.tell_gateways(now=timezone.now())
