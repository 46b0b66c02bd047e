"""Drift: what reconciliation finds wrong in two looks a little apart. It pauses the payouts.

The minute's run looks at what was written since the last clean run, so that a drift which lasts is
found by each run; the nightly run looks at everything.
"""

import logging
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from wallet import reconciliation
from wallet.models import ReconciliationRun
from wallet.reconciliation import Accounts, ChainReader, Finding
from wallet.settlement import pausing, verifying
from wallet.settlement.chain import ChainUnavailable

logger = logging.getLogger(__name__)

Scope = ReconciliationRun.Scope

BETWEEN_LOOKS: Final = timedelta(seconds=10)
KEPT_FOR: Final = timedelta(days=30)

# Longer than anybody takes between making a posting's id and posting it.
_MARGIN: Final = timedelta(minutes=5)


def first_look(
    *, scope: ReconciliationRun.Scope, chain: ChainReader | None, now: datetime
) -> ReconciliationRun:
    """Begin a run. `conclude` ends it: at once if it suspects nothing, else 10 s later.

    A run over what changed becomes one over everything where no clean run says what is old, and
    where rows of the ledger's history were rewritten since.
    """
    rewritten = reconciliation.rewritten_rows()
    clean = _last_clean()
    if clean is None or clean.rewritten_rows != rewritten:
        scope = Scope.FULL
    run = ReconciliationRun(
        scope=scope,
        started_at=now,
        horizon=reconciliation.horizon(),
        rewritten_rows=rewritten,
    )
    run.suspects = _look(run, clean, chain, now=now)
    run.save(force_insert=True)
    return run


def conclude(run: ReconciliationRun, *, chain: ChainReader | None, now: datetime) -> None:
    """Look again where something was suspected; what is wrong at the same place still is drift."""
    if run.suspects:
        suspected = {(one["audit"], one["subject"]) for one in run.suspects}
        again = _look(run, _last_clean(before=run), chain, now=now)
        run.findings = [one for one in again if (one["audit"], one["subject"]) in suspected]
    run.finished_at = now
    run.save(update_fields=["findings", "drift", "problem", "finished_at"])
    if run.findings:
        _pause(run, now=now)


def forget_old_runs(*, now: datetime) -> None:
    """Drop the runs that are older than a month."""
    ReconciliationRun.objects.filter(started_at__lt=now - KEPT_FOR).delete()


def _last_clean(*, before: ReconciliationRun | None = None) -> ReconciliationRun | None:
    runs = ReconciliationRun.objects.filter(finished_at__isnull=False, findings=[], problem="")
    if before is not None:
        runs = runs.filter(pk__lt=before.pk)
    return runs.order_by("-pk").first()


def _look(
    run: ReconciliationRun,
    clean: ReconciliationRun | None,
    chain: ChainReader | None,
    *,
    now: datetime,
) -> list[dict[str, Any]]:
    accounts: Accounts = None
    if run.scope == Scope.CHANGED and clean is not None:
        accounts = reconciliation.accounts_changed_since(
            clean.started_at - _MARGIN, past=clean.horizon
        )
    found = [
        (audit.title, finding)
        for audit in reconciliation.all_audits()
        if accounts is None or audit.is_partial
        for finding in audit.find(accounts)
    ]
    found += _look_at_chain(run, chain, accounts, now=now)
    return [{"audit": title, **asdict(finding)} for title, finding in found]


def _look_at_chain(
    run: ReconciliationRun, chain: ChainReader | None, accounts: Accounts, *, now: datetime
) -> list[tuple[str, Finding]]:
    if chain is None:
        return []
    try:
        verifying.refuse_stale(chain, now=now)
        look = reconciliation.look_at_chain(chain, accounts)
    except ChainUnavailable as problem:
        logger.warning("The chain could not be compared with: %s", problem)
        run.problem = f"The chain could not be asked: {problem}"
        return []
    run.drift = look.kcash
    # Not drift: a stranger who sends a wallet one KCash must not stop everybody's payouts.
    for deposit in look.unbooked:
        logger.warning("A deposit is not booked: %s: %s", deposit.subject, deposit.problem)
    return look.wrong


def _pause(run: ReconciliationRun, *, now: datetime) -> None:
    first = run.findings[0]
    reason = (
        f"Drift, {len(run.findings)} findings; the first: {first['audit']}: "
        f"{first['subject']}: {first['problem']}"
    )
    logger.error("Payouts are paused. %s", reason)
    try:
        pausing.pause(reason=reason, by="reconciliation", now=now)
    except pausing.AlreadySo:
        logger.warning("Payouts were paused already.")
