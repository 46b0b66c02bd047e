"""Corrections: what one member of staff asks for, and another approves or rejects.

Nothing else changes a balance by hand. A frozen wallet may be corrected.
"""

from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction

from kgen.common.errors import Conflict, Forbidden, Invalid
from kgen.common.identifiers import uuid7
from kgen.common.transactions import requires_transaction
from wallet import custody, ledger, reasons, transactions
from wallet.models import Correction, Wallet, WalletTransaction

State = Correction.State
Direction = WalletTransaction.Direction


class SamePerson(Forbidden):
    code = "CORRECTION_NEEDS_ANOTHER_PERSON"
    message = "You asked for this correction: somebody else of Support or Finance decides it."


class AlreadyDecided(Conflict):
    code = "CORRECTION_ALREADY_DECIDED"
    message = "This correction is decided already."


class NotCorrectable(Invalid):
    code = "BUCKET_NOT_CORRECTABLE"
    message = "Only the bonus, bought and earned balances can be corrected."


def ask(
    *,
    wallet: Wallet,
    bucket: ledger.Bucket,
    direction: WalletTransaction.Direction,
    amount: int,
    reason: str,
    by: User,
    now: datetime,
) -> Correction:
    """Put a correction before a second person; nothing moves yet.

    Raises NotCorrectable, reasons.NoReason, ledger.BadPosting, ledger.InsufficientFunds.
    """
    if bucket not in ledger.SPENDABLE:
        raise NotCorrectable
    ledger.check_amount(amount)
    asked = Correction(
        wallet=wallet,
        bucket=bucket,
        direction=direction,
        amount=amount,
        reason=reasons.checked(reason),
        asked_by=by,
        asked_at=now,
    )
    _refuse_overdraft(asked)
    asked.save(force_insert=True)
    return asked


@transaction.atomic
def approve(*, correction: Correction, reason: str, by: User, now: datetime) -> Correction:
    """Post the correction, once, and write the transaction that the chain follows.

    Raises SamePerson, AlreadyDecided, reasons.NoReason, ledger.InsufficientFunds.
    """
    asked = _lock_undecided(correction, by=by)
    reason = reasons.checked(reason)
    # From here on nobody else changes the bucket.
    wallet = custody.lock(asked.wallet_id)
    _refuse_overdraft(asked)

    entry = transactions.record(
        WalletTransaction.Type.ADJUST,
        Direction(asked.direction),
        wallet=wallet,
        uid=uuid7(),
        amount=asked.amount,
        counterparty=transactions.float_address(),
        # The game reads this: why is between the two who decided it.
        description="Correction by support",
        now=now,
    )
    bucket = ledger.wallet_account(wallet.pk, ledger.Bucket(asked.bucket))
    is_credit = asked.direction == Direction.CREDIT
    ledger.post(
        [
            ledger.Leg(
                debit=ledger.TREASURY if is_credit else bucket,
                credit=bucket if is_credit else ledger.TREASURY,
                amount=asked.amount,
                kind=ledger.Kind.ADJUST,
            )
        ],
        posting_id=entry.uid,
    )
    # After the posting, which the database wants to see.
    asked.transaction = entry
    return _decide(asked, State.APPROVED, reason=reason, by=by, now=now)


@transaction.atomic
def reject(*, correction: Correction, reason: str, by: User, now: datetime) -> Correction:
    """Close the correction; nothing moves. Raises SamePerson, AlreadyDecided, reasons.NoReason."""
    asked = _lock_undecided(correction, by=by)
    return _decide(asked, State.REJECTED, reason=reasons.checked(reason), by=by, now=now)


@requires_transaction
def _lock_undecided(correction: Correction, *, by: User) -> Correction:
    asked = Correction.objects.select_for_update(no_key=True).get(pk=correction.pk)
    if asked.state != State.ASKED:
        raise AlreadyDecided(details={"state": asked.state})
    if asked.asked_by_id == by.pk:
        raise SamePerson
    return asked


def _refuse_overdraft(correction: Correction) -> None:
    if correction.direction == Direction.CREDIT:
        return
    held: int = getattr(ledger.balances(correction.wallet_id), correction.bucket)
    if held < correction.amount:
        raise ledger.InsufficientFunds(
            f"The {correction.bucket} balance is {held:,} KCash: less than that.", available=held
        )


@requires_transaction
def _decide(
    correction: Correction, state: Correction.State, *, reason: str, by: User, now: datetime
) -> Correction:
    correction.state, correction.decision_reason = state, reason
    correction.decided_by, correction.decided_at = by, now
    correction.save(
        update_fields=["state", "decision_reason", "decided_by", "decided_at", "transaction"]
    )
    return correction
