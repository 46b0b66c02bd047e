"""The wallet's background work. Each task looks for what is due, so running one twice is nothing."""

import logging

from celery import shared_task
from django.conf import settings
from django.utils import timezone

logger = logging.getLogger(__name__)


@shared_task(acks_late=True, reject_on_worker_lost=True)
def settle_tick(**_later: object) -> None:
    """Take every payout one step further towards the chain; run by the clock, or by a nudge."""
    if not (settings.CHAIN_RPC_URL and settings.SETTLEMENT_ADDRESS):
        return
    # Views nudge this task, and web3, which these need, must not be loaded where they run.
    from wallet.settlement.chain import ChainUnavailable  # noqa: PLC0415
    from wallet.settlement.lane import tick_environment_lane  # noqa: PLC0415

    try:
        run = tick_environment_lane(now=timezone.now())
    except ChainUnavailable as problem:
        logger.warning("The chain does not answer: %s", problem)
    else:
        logger.debug("%s", run)
