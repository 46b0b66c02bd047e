"""Staff look at a withdrawal that is above a limit. They let it go, or void it; nobody can send."""

import logging
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from accounts.models import Gamer
from kgen.common.encryption import keyed_hash
from kgen.common.errors import Conflict, Forbidden
from kgen.common.transactions import requires_transaction
from wallet import freezing
from wallet.limits import Judgement
from wallet.models import Approval, ApprovalRequest, Payout
from wallet.settlement import payouts

logger = logging.getLogger(__name__)


class NotAwaitingApproval(Conflict):
    code = "PAYOUT_NOT_AWAITING_APPROVAL"
    message = "This payout does not wait for approval any more."


class ApprovedAlready(Conflict):
    code = "PAYOUT_APPROVED_ALREADY"
    message = "You have approved it already; the second approval is somebody else's to give."


class OwnWithdrawal(Forbidden):
    code = "OWN_WITHDRAWAL"
    message = "This is your own withdrawal; somebody else has to approve it."


@requires_transaction
def request(*, payout: Payout, judgement: Judgement, now: datetime) -> ApprovalRequest:
    """Put a withdrawal into the queue for staff; the caller has just made it, awaiting approval."""
    logger.warning("Payout %s waits for approval: %s", payout.pk, " ".join(judgement.reasons))
    return ApprovalRequest.objects.create(
        payout=payout,
        approvals_needed=judgement.approvals_needed,
        reasons="\n".join(judgement.reasons),
        created_at=now,
    )


@transaction.atomic
def approve(*, payout_uid: UUID, by: User, reason: str, now: datetime) -> Payout:
    """Say that a withdrawal may be paid; with the last approval that it needs it is PENDING.

    Raises NotAwaitingApproval, freezing.WalletFrozen, OwnWithdrawal, ApprovedAlready.
    """
    # All who approve or void it hold this row, so that what they saw of it stays.
    payout = (
        Payout.objects.select_for_update(of=("self",), no_key=True)
        .select_related("wallet__gamer", "approval_request")
        .get(pk=payout_uid)
    )
    if payout.state != Payout.State.AWAITING_APPROVAL:
        raise NotAwaitingApproval(details={"state": payout.state})
    freezing.refuse_frozen(payout.wallet, now=now)
    if _is_own(payout.wallet.gamer, by):
        raise OwnWithdrawal
    if payout.approvals.filter(staff=by).exists():
        raise ApprovedAlready

    Approval.objects.create(payout=payout, staff=by, reason=reason, created_at=now)
    if payout.approvals.count() >= payout.approval_request.approvals_needed:
        payouts.move([payout], to=Payout.State.PENDING, now=now)
    return payout


def _is_own(gamer: Gamer, staff: User) -> bool:
    """Whether gamer and staff are one person, as far as an e-mail tells: in any of their games."""
    if not staff.email:
        return False
    themselves = Q(pk=gamer.pk)
    if gamer.kgen_account_id is not None:
        themselves |= Q(kgen_account=gamer.kgen_account_id)
    mail_hash = keyed_hash("email", staff.email)
    return Gamer.objects.filter(themselves, email_hash=mail_hash).exists()
