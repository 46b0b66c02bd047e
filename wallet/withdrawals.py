from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import Gamer
from kgen.common.errors import Conflict, Invalid
from kgen.common.identifiers import uuid7
from wallet import approvals, freezing, ledger, limits, transactions
from wallet.models import Wallet, WalletTransaction
from wallet.settlement import batching, sandboxes


class MinimumNotMet(Invalid):
    code = "MIN_WITHDRAW_BALANCE_NOT_MET"
    message = "The earned balance is below what can be withdrawn."


class KgenWalletNotLinked(Conflict):
    code = "KGEN_WALLET_NOT_LINKED"
    message = "No KGeN wallet is linked yet: verify a phone number first."


@dataclass(frozen=True)
class Withdrawal:
    kgen_address: str
    amount: int
    transaction_uid: UUID


@transaction.atomic
def withdraw(*, gamer: Gamer, now: datetime) -> Withdrawal:
    """Set the whole earned balance aside and send it to the linked KGeN wallet (contract 3.13).

    Above a limit it waits for staff, and to a new KGeN wallet for a day: `limits.judge`. Raises
    freezing.WalletFrozen, sandboxes.SandboxNotPaid, MinimumNotMet, KgenWalletNotLinked, in this order.
    """
    # Everybody who changes a wallet's earned balance holds its row, so what is read here stays.
    wallet = Wallet.objects.select_for_update(no_key=True).get(gamer=gamer)
    freezing.refuse_frozen(wallet, now=now)
    sandboxes.refuse(gamer.game)
    earned = ledger.balances(wallet.pk).earned
    minimum = gamer.game.min_withdrawal
    if earned == 0 or earned < minimum:
        raise MinimumNotMet(details={"earned_balance": earned, "minWalletBalToWithdraw": minimum})
    # Read anew, with the limits of the moment. The account is held too: one person's withdrawals
    # out of several games are counted together.
    owner = (
        Gamer.objects.select_for_update(of=("kgen_account",), no_key=True)
        .select_related("game", "kgen_account__wallet")
        .filter(kgen_account__wallet__isnull=False)
        .filter(pk=gamer.pk)
        .first()
    )
    if owner is None or owner.kgen_account is None:
        raise KgenWalletNotLinked
    linked = owner.kgen_account.wallet
    judgement = limits.judge(
        game=owner.game,
        wallet=wallet,
        to=linked,
        linked_at=owner.linked_at,
        amount=earned,
        now=now,
    )

    withdrawal = transactions.record(
        WalletTransaction.Type.WITHDRAW,
        WalletTransaction.Direction.DEBIT,
        wallet=wallet,
        uid=uuid7(),
        amount=earned,
        counterparty=linked.address,
        description="Withdrawal to the KGeN wallet",
        now=now,
    )
    payout = batching.open_withdrawal(
        transaction=withdrawal,
        wallet=wallet,
        to_address=linked.address,
        state=judgement.state,
        not_before=judgement.not_before,
        now=now,
    )
    if judgement.approvals_needed:
        approvals.request(payout=payout, judgement=judgement, now=now)
    ledger.hold(wallet_id=wallet.pk, total=earned, posting_id=withdrawal.uid)
    return Withdrawal(kgen_address=linked.address, amount=earned, transaction_uid=withdrawal.uid)
