from datetime import datetime

from django.conf import settings

from kgen.common.transactions import requires_transaction
from wallet import ledger, transactions
from wallet.models import Wallet, WalletTransaction


@requires_transaction
def grant(*, wallet: Wallet, now: datetime) -> WalletTransaction | None:
    """Give a new wallet its welcome bonus; None where the platform gives none.

    Once per wallet: the posting's id was saved with the wallet (API contract, section 3.1).
    """
    amount: int = settings.WELCOME_BONUS
    if amount == 0:
        return None
    bonus = transactions.record(
        WalletTransaction.Type.WELCOME_BONUS,
        WalletTransaction.Direction.CREDIT,
        wallet=wallet,
        uid=wallet.bonus_posting_id,
        amount=amount,
        counterparty=transactions.float_address(),
        description="Welcome bonus",
        now=now,
    )
    ledger.post(
        [
            ledger.Leg(
                debit=ledger.MINT,
                credit=ledger.wallet_account(wallet.pk, ledger.Bucket.BONUS),
                amount=amount,
                kind=ledger.Kind.WELCOME_BONUS,
            )
        ],
        posting_id=bonus.uid,
    )
    return bonus
