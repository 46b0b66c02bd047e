from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import Gamer
from kgen.common.errors import Conflict, Invalid
from kgen.common.identifiers import uuid7
from wallet import freezing, ledger, transactions
from wallet.models import KgenWallet, Wallet, WalletTransaction
from wallet.settlement import batching


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

    Raises freezing.WalletFrozen, MinimumNotMet, KgenWalletNotLinked, in this order.
    """
    # Everybody who changes a wallet's earned balance holds its row, so what is read here stays.
    wallet = Wallet.objects.select_for_update(no_key=True).get(gamer=gamer)
    freezing.refuse_frozen(wallet, now=now)
    earned = ledger.balances(wallet.pk).earned
    minimum = gamer.game.min_withdrawal
    if earned == 0 or earned < minimum:
        raise MinimumNotMet(details={"earned_balance": earned, "minWalletBalToWithdraw": minimum})
    linked = KgenWallet.objects.filter(account__gamers=gamer).first()
    if linked is None:
        raise KgenWalletNotLinked

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
    batching.open_withdrawal(
        transaction=withdrawal, wallet=wallet, to_address=linked.address, now=now
    )
    ledger.hold(wallet_id=wallet.pk, total=earned, posting_id=withdrawal.uid)
    return Withdrawal(kgen_address=linked.address, amount=earned, transaction_uid=withdrawal.uid)
