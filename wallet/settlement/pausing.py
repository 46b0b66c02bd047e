"""The one switch of all payouts."""

from datetime import datetime

from kgen.common.errors import Conflict
from wallet.models import PayoutSwitch


class AlreadySo(Conflict):
    code = "PAYOUT_SWITCH_UNCHANGED"
    message = "Payouts are in that state already."


def is_paused() -> bool:
    """Whether nothing new may be submitted."""
    return PayoutSwitch.objects.filter(is_paused=True).exists()


def pause(*, reason: str, by: str, now: datetime) -> None:
    """Submit nothing new from now on; what is under way goes on. Raises AlreadySo."""
    _turn(is_paused=True, reason=reason, by=by, now=now)


def resume(*, reason: str, by: str, now: datetime) -> None:
    """Submit again. Reconciliation pauses again what is still not right. Raises AlreadySo."""
    _turn(is_paused=False, reason=reason, by=by, now=now)


def _turn(*, is_paused: bool, reason: str, by: str, now: datetime) -> None:
    changed = PayoutSwitch.objects.exclude(is_paused=is_paused).update(
        is_paused=is_paused, reason=reason[:500], changed_by=by, changed_at=now
    )
    if not changed:
        raise AlreadySo
