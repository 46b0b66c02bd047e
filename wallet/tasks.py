"""The wallet's background work. Each task looks for what is due, so running one twice is nothing."""

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from wallet import chain_events, closing, ledger, solvency, transactions
from wallet.models import ReconciliationRun
from wallet.settlement import reopening

if TYPE_CHECKING:
    from wallet.settlement.chain import Web3Chain

logger = logging.getLogger(__name__)

# Far enough that a month of failing runs harms nobody.
LEDGER_MONTHS_AHEAD: Final = timedelta(days=365)

# How far back payments are looked for that a reorg may have taken off the chain.
LOST_FOR: Final = timedelta(days=7)

# A tick that finds no worker for so long is worth nothing: the next one does the same.
TICK_EXPIRES_SECONDS: Final = 10

# For a full audit of very many transfers.
AUDIT_SECONDS: Final = 3000


@shared_task(acks_late=True, reject_on_worker_lost=True)
def settle_tick(**_later: object) -> None:
    """Have each lane take its payouts one step further; run by the clock, or by a nudge."""
    if not (settings.CHAIN_RPC_URL and settings.SETTLEMENT_ADDRESS):
        return
    # Side by side where there are workers for it; the first lane is this worker's.
    for number in range(1, len(settings.OPERATOR_KEYS)):
        settle_lane.apply_async(args=(number,), expires=TICK_EXPIRES_SECONDS)
    settle_lane(0)


@shared_task(acks_late=True, reject_on_worker_lost=True)
def settle_lane(number: int, **_later: object) -> None:
    """Take every payout of one lane one step further towards the chain."""
    # Views nudge these tasks, and web3, which this needs, must not be loaded where they run.
    from wallet.settlement.chain import ChainUnavailable  # noqa: PLC0415
    from wallet.settlement.lane import tick_configured_lane  # noqa: PLC0415
    from wallet.settlement.signing import SignerUnavailable  # noqa: PLC0415
    from wallet.settlement.verifying import WrongChain  # noqa: PLC0415

    try:
        run = tick_configured_lane(number, now=timezone.now())
    except ChainUnavailable as problem:
        logger.warning("The chain does not answer: %s", problem)
    except SignerUnavailable as problem:
        logger.warning("Lane %s has no signer: %s", number, problem)
    except WrongChain as problem:
        logger.error("Lane %s refuses to work: %s", number, problem)
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
    solvency.forget_old_samples(now=timezone.now())
    _read_chain(looks_for_lost=True)
    _reconcile(ReconciliationRun.Scope.FULL)


@shared_task(acks_late=True, reject_on_worker_lost=True, time_limit=AUDIT_SECONDS)
def read_chain(**_later: object) -> None:
    """Read what the chain has made final, and book deposits; run every 15 s."""
    _read_chain(looks_for_lost=False)


@shared_task(acks_late=True, reject_on_worker_lost=True)
def sample_solvency(**_later: object) -> None:
    """Note what we owe and what we hold; run every minute."""
    from wallet.settlement.chain import ChainUnavailable  # noqa: PLC0415
    from wallet.settlement.verifying import WrongChain  # noqa: PLC0415

    chain = _chain()
    if chain is None:
        return
    try:
        _verify(chain)
        solvency.take_sample(chain=chain, now=timezone.now())
    except ChainUnavailable as problem:
        logger.warning("The chain could not be asked: %s", problem)
    except WrongChain as problem:
        logger.error("Nothing is sampled: %s", problem)


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


def _read_chain(*, looks_for_lost: bool) -> None:
    from wallet.settlement import reorgs, verifying  # noqa: PLC0415
    from wallet.settlement.chain import ChainUnavailable  # noqa: PLC0415
    from wallet.settlement.verifying import WrongChain  # noqa: PLC0415

    chain, now = _chain(), timezone.now()
    if chain is None:
        return
    try:
        # On another chain everything would look lost.
        _verify(chain)
        # On a node that lags behind the newest would look lost.
        verifying.refuse_stale(chain, now=now)
        # Before the reading forgets that blocks were replaced.
        if looks_for_lost or chain_events.was_replaced(chain):
            reorgs.find_lost(chain=chain, since=now - LOST_FOR, now=now)
        chain_events.read(chain=chain, now=now)
    except ChainUnavailable as problem:
        logger.warning("The chain's events could not be read: %s", problem)
    except WrongChain as problem:
        logger.error("The chain's events are not read: %s", problem)
    reopening.carry_on(now=now)


def _verify(chain: "Web3Chain") -> None:
    from wallet.settlement import verifying  # noqa: PLC0415

    verifying.verify(
        chain,
        chain_id=settings.CHAIN_ID,
        kcash_address=settings.KCASH_ADDRESS,
        settlement_address=settings.SETTLEMENT_ADDRESS,
        float_address=transactions.float_address(),
    )


def _chain() -> "Web3Chain | None":
    from wallet.settlement.chain import connect  # noqa: PLC0415

    if not (settings.CHAIN_RPC_URL and settings.SETTLEMENT_ADDRESS):
        return None
    return connect()


@shared_task(acks_late=True, reject_on_worker_lost=True)
def make_ledger_partitions(**_later: object) -> None:
    """Make the ledger's months for a year ahead; run daily."""
    made = ledger.ensure_partitions(until=(timezone.now() + LEDGER_MONTHS_AHEAD).date())
    logger.info("Made %s months of the ledger", made)


@shared_task(acks_late=True, reject_on_worker_lost=True)
def close_ledger_days(**_later: object) -> None:
    """Close the ledger's days that are over, UTC; run hourly, since it does nothing twice."""
    closing.close_days(now=timezone.now())
