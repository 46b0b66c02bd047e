"""What the wallet keeps of a gamer, and when it cannot let go of one."""

from typing import Any

from accounts.models import Gamer
from kgen.common.errors import Conflict
from kgen.common.transactions import requires_transaction
from wallet import custody, ledger
from wallet.models import KgenWallet, Payout, Wallet, WalletTransaction


class WithdrawalUnderWay(Conflict):
    code = "WITHDRAWAL_UNDER_WAY"
    message = "A withdrawal of this gamer is under way. Wait until it is over, or void it."


class MoneyLeft(Conflict):
    code = "MONEY_LEFT"
    message = "This gamer has KCash left, which nobody could reach any more."


def held(*, gamer: Gamer) -> dict[str, Any]:
    """Wallets, balances, and all transactions."""
    wallet = Wallet.objects.filter(gamer=gamer).first()
    if wallet is None:
        return {"wallet": None}
    kept = ledger.balances(wallet.pk)
    outside = _kgen_wallet_of(gamer)
    return {
        "wallet": {
            "address": wallet.address,
            "opened_at": wallet.created_at,
            "kgen_wallet_address": outside and outside.address,
            "balances": {
                "bonus": kept.bonus,
                "bought": kept.bought,
                "earned": kept.earned,
                "claimable": kept.claimable,
                "on_hold": kept.hold,
            },
            "transactions": list(
                wallet.transactions.order_by("seq").values(
                    "uid",
                    "type",
                    "direction",
                    "amount",
                    "counterparty",
                    "description",
                    "sync_status",
                    "created_at",
                )
            ),
        }
    }


@requires_transaction
def refuse_erasing(*, gamer: Gamer, forfeits: bool) -> None:
    """Hold the wallet; raise `WithdrawalUnderWay`, or unless it `forfeits` them `MoneyLeft`.

    A bonus cannot leave the wallet, and so is nobody's loss.
    """
    wallet = Wallet.objects.filter(gamer=gamer).first()
    if wallet is None:
        return
    custody.lock(wallet.pk)
    over = [Payout.State.COMPLETED, Payout.State.VOIDED]
    withdrawals = wallet.payouts.filter(kind=Payout.Kind.WITHDRAW).exclude(state__in=over)
    kept = ledger.balances(wallet.pk)
    if kept.hold or withdrawals.exists():
        raise WithdrawalUnderWay
    money = {"bought": kept.bought, "earned": kept.earned, "claimable": kept.claimable}
    left = {name: amount for name, amount in money.items() if amount}
    if left and not forfeits:
        named = ", ".join(f"{amount:,} {name}" for name, amount in left.items())
        raise MoneyLeft(f"{MoneyLeft.message} ({named})", details=dict(left))
    if not forfeits and _is_last_way_to_money(gamer, wallet):
        raise MoneyLeft("The KGeN wallet that is kept for this phone has got KCash of this gamer.")


def _is_last_way_to_money(gamer: Gamer, wallet: Wallet) -> bool:
    """Whether withdrawals went to a wallet whose key we hold, and whose phone no other gamer has."""
    outside = _kgen_wallet_of(gamer)
    if outside is None or outside.hd_index is None:
        return False
    if Gamer.objects.filter(kgen_account=gamer.kgen_account).exclude(pk=gamer.pk).exists():
        return False
    withdrawn = wallet.transactions.filter(
        type=WalletTransaction.Type.WITHDRAW, counterparty=outside.address
    )
    return withdrawn.exclude(sync_status=WalletTransaction.SyncStatus.FAILED).exists()


def _kgen_wallet_of(gamer: Gamer) -> KgenWallet | None:
    return KgenWallet.objects.filter(account=gamer.kgen_account_id).first()
