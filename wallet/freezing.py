"""Freezing a wallet: its gamer plays on, but claims and withdraws nothing while the freeze is in force.

No job ends a freeze: it is over when the clock has passed its expiry.
"""

from datetime import datetime

from django.db import transaction

from kgen.common.errors import Conflict, Forbidden, Invalid
from wallet import custody, reasons
from wallet.models import Wallet, WalletFreeze


class WalletFrozen(Forbidden):
    """The gamer plays on, but nothing may be claimed or withdrawn (API contract, section 0)."""

    code = "GAMER_BLOCKED"
    message = "This wallet is frozen. Please contact support."

    def __init__(self) -> None:
        # What staff wrote is not for the game.
        super().__init__(details={"reason": "WALLET_FROZEN"})


class AlreadyFrozen(Conflict):
    code = "WALLET_ALREADY_FROZEN"
    message = "The wallet is frozen already: unfreeze it first."


class NotFrozen(Conflict):
    code = "WALLET_NOT_FROZEN"
    message = "The wallet is not frozen, or not any more."


class ExpiryNotAhead(Invalid):
    code = "FREEZE_EXPIRY_NOT_AHEAD"
    message = "A freeze ends in the future, or when it is lifted."


def freeze_in_force(wallet: Wallet, *, now: datetime) -> WalletFreeze | None:
    """The freeze that binds the wallet at this moment, if any."""
    newest = wallet.freeze
    return newest if newest is not None and newest.is_in_force(now) else None


def refuse_frozen(wallet: Wallet, *, now: datetime) -> None:
    """Raises WalletFrozen. Binding only for whoever holds the wallet's lock."""
    if freeze_in_force(wallet, now=now) is not None:
        raise WalletFrozen


@transaction.atomic
def freeze(
    *, wallet: Wallet, reason: str, by: str, now: datetime, until: datetime | None = None
) -> WalletFreeze:
    """Stop claims and withdrawals until a moment, or until the freeze is lifted.

    None is committed once this has returned; a withdrawal under way goes on. Raises AlreadyFrozen,
    ExpiryNotAhead, reasons.NoReason.
    """
    reason = reasons.checked(reason)
    if until is not None and until <= now:
        raise ExpiryNotAhead
    wallet = custody.lock(wallet.pk)
    if freeze_in_force(wallet, now=now) is not None:
        raise AlreadyFrozen
    made = WalletFreeze.objects.create(
        wallet=wallet, reason=reason, frozen_by=by, frozen_at=now, expires_at=until
    )
    wallet.freeze, wallet.modified_at = made, now
    wallet.save(update_fields=["freeze", "modified_at"])
    return made


@transaction.atomic
def unfreeze(*, wallet: Wallet, reason: str, by: str, now: datetime) -> WalletFreeze:
    """Lift the freeze in force. Raises NotFrozen, reasons.NoReason."""
    reason = reasons.checked(reason)
    lifted = freeze_in_force(custody.lock(wallet.pk), now=now)
    if lifted is None:
        raise NotFrozen
    lifted.lifted_by, lifted.lifted_at, lifted.lift_reason = by, now, reason
    lifted.save(update_fields=["lifted_by", "lifted_at", "lift_reason"])
    return lifted
