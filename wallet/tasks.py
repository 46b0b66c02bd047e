"""The wallet's background work. Each task looks for what is due, so running one twice is nothing."""

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from wallet import closing, ledger
from wallet.models import ReconciliationRun

if TYPE_CHECKING:
    from wallet.settlement.chain import Web3Chain

logger = logging.getLogger(__name__)

# Far enough that a month of failing runs harms nobody.
LEDGER_MONTHS_AHEAD: Final = timedelta(days=365)

# For a full audit of very many transfers.
AUDIT_SECONDS: Final = 3000


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


# Web3 and the audits are loaded where these run alone, as above.
@shared_task(acks_late=True, reject_on_worker_lost=True, time_limit=AUDIT_SECONDS)
def reconcile_changes(**_later: object) -> None:
    """Compare what was written since the last clean run; run every 45 s."""
    _reconcile(ReconciliationRun.Scope.CHANGED)


@shared_task(acks_late=True, reject_on_worker_lost=True, time_limit=AUDIT_SECONDS)
def reconcile_everything(**_later: object) -> None:
    """Compare all books with themselves and with the chain; run nightly."""
    from wallet import drift  # noqa: PLC0415

    drift.forget_old_runs(now=timezone.now())
    _reconcile(ReconciliationRun.Scope.FULL)


@shared_task(acks_late=True, reject_on_worker_lost=True, time_limit=AUDIT_SECONDS)
def look_again(run_id: int, **_later: object) -> None:
    """The second look of a run that suspects something. Nobody waits for it meanwhile."""
    from wallet import drift  # noqa: PLC0415

    run = ReconciliationRun.objects.get(pk=run_id)
    drift.conclude(run, chain=_chain(), now=timezone.now())


def _reconcile(scope: ReconciliationRun.Scope) -> None:
    from wallet import drift  # noqa: PLC0415

    run = drift.first_look(scope=scope, chain=_chain(), now=timezone.now())
    if run.suspects:
        look_again.apply_async(args=(run.pk,), countdown=drift.BETWEEN_LOOKS.total_seconds())
    else:
        drift.conclude(run, chain=None, now=timezone.now())


def _chain() -> "Web3Chain | None":
    from wallet.settlement.chain import Web3Chain  # noqa: PLC0415

    if not (settings.CHAIN_RPC_URL and settings.KCASH_ADDRESS):
        return None
    return Web3Chain(settings.CHAIN_RPC_URL, kcash_address=settings.KCASH_ADDRESS)


@shared_task(acks_late=True, reject_on_worker_lost=True)
def make_ledger_partitions(**_later: object) -> None:
    """Make the ledger's months for a year ahead; run daily."""
    made = ledger.ensure_partitions(until=(timezone.now() + LEDGER_MONTHS_AHEAD).date())
    logger.info("Made %s months of the ledger", made)


@shared_task(acks_late=True, reject_on_worker_lost=True)
def close_ledger_days(**_later: object) -> None:
    """Close the ledger's days that are over, UTC; run hourly, since it does nothing twice."""
    closing.close_days(now=timezone.now())
