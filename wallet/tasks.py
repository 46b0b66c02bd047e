"""The wallet's background work. Each task looks for what is due, so running one twice is nothing."""

import logging
from datetime import timedelta
from typing import Final

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from wallet import ledger

logger = logging.getLogger(__name__)

# Far enough that a month of failing runs harms nobody.
LEDGER_MONTHS_AHEAD: Final = timedelta(days=365)


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


@shared_task(acks_late=True, reject_on_worker_lost=True)
def make_ledger_partitions(**_later: object) -> None:
    """Make the ledger's months for a year ahead; run daily."""
    made = ledger.ensure_partitions(until=(timezone.now() + LEDGER_MONTHS_AHEAD).date())
    logger.info("Made %s months of the ledger", made)
