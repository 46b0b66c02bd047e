from rest_framework import serializers

from kgen.common.api.fields import QueryIntegerField
from wallet.models import WalletTransaction
from wallet.statements import Balance, Page
from wallet.withdrawals import Withdrawal

# What every transaction says of itself, since all of them are ours.
REQUESTING_SYSTEM = "Esports"
GAS_FEE_PAYER = "SYSTEM"


class BalanceSerializer(serializers.Serializer[Balance]):
    wallet_address = serializers.CharField(source="wallet.address")
    earned_balance = serializers.IntegerField(source="balances.earned")
    bought_balance = serializers.IntegerField(source="balances.bought")
    bonus_balance = serializers.IntegerField(source="balances.bonus")
    wallet_transaction_error = serializers.BooleanField(source="has_failed")
    created_at = serializers.DateTimeField(source="wallet.created_at")
    modified_at = serializers.DateTimeField(source="wallet.modified_at")
    lazy_balance_delta = serializers.IntegerField(source="balances.delta")
    is_lazy_balance_updated = serializers.BooleanField(source="is_synced")
    lazy_balance = serializers.IntegerField(source="balances.lazy")
    on_chain_balance = serializers.IntegerField(source="balances.onchain")
    minWalletBalToWithdraw = serializers.IntegerField(source="min_withdrawal")  # noqa: N815
    kgen_wallet_address = serializers.CharField(source="kgen_address", allow_null=True)


class PageQuerySerializer(serializers.Serializer[None]):
    limit = QueryIntegerField(min_value=1, max_value=200, default=50)
    last_evaluated_key = serializers.CharField(default="", allow_blank=True, trim_whitespace=False)


class TransactionDescriptionSerializer(serializers.Serializer[WalletTransaction]):
    platformProtocolsTxnAmount = serializers.IntegerField(source="amount")  # noqa: N815
    platformProtocolsTxnName = serializers.CharField(source="name")  # noqa: N815
    platformProtocolsTxnDescription = serializers.CharField(source="description")  # noqa: N815
    platformProtocolsTxnType = serializers.CharField(source="direction")  # noqa: N815
    type = serializers.CharField()


class TransactionSerializer(serializers.Serializer[WalletTransaction]):
    uid = serializers.UUIDField()
    from_wallet = serializers.SerializerMethodField()
    to_wallet = serializers.SerializerMethodField()
    amount = serializers.IntegerField()
    sync_status = serializers.CharField()
    sync_error = serializers.CharField(allow_null=True)
    requesting_system = serializers.CharField(default=REQUESTING_SYSTEM, read_only=True)
    gas_fee_payer = serializers.CharField(default=GAS_FEE_PAYER, read_only=True)
    tx_hash = serializers.SerializerMethodField()
    block_number = serializers.SerializerMethodField()
    gas_fee = serializers.SerializerMethodField()
    description = TransactionDescriptionSerializer(source="*")
    created_at = serializers.DateTimeField()
    modified_at = serializers.DateTimeField()

    def get_from_wallet(self, entry: WalletTransaction) -> str:
        return _masked(entry.from_address)

    def get_to_wallet(self, entry: WalletTransaction) -> str:
        return _masked(entry.to_address)

    def get_tx_hash(self, entry: WalletTransaction) -> str | None:
        return entry.chain_place.tx_hash if entry.chain_place else None

    def get_block_number(self, entry: WalletTransaction) -> int | None:
        return entry.chain_place.block_number if entry.chain_place else None

    def get_gas_fee(self, entry: WalletTransaction) -> str | None:
        if entry.payout is None or entry.payout.gas_fee is None:
            return None
        return str(entry.payout.gas_fee)


class TransactionPageSerializer(serializers.Serializer[Page]):
    fromTransactions = TransactionSerializer(many=True, source="debits")  # noqa: N815
    toTransactions = TransactionSerializer(many=True, source="credits")  # noqa: N815
    last_evaluated_key = serializers.CharField(source="next_key")


class WithdrawalSerializer(serializers.Serializer[Withdrawal]):
    userKGeNWalletAddr = serializers.CharField(source="kgen_address")  # noqa: N815
    earnedBalance = serializers.IntegerField(source="amount")  # noqa: N815
    status = serializers.SerializerMethodField()
    message = serializers.SerializerMethodField()
    transaction_uid = serializers.UUIDField()

    def get_status(self, withdrawal: Withdrawal) -> str:
        return "SUCCESS"

    def get_message(self, withdrawal: Withdrawal) -> str:
        return "Withdrawn Successfully"


def _masked(address: str) -> str:
    return f"{address[:4]}*****{address[-4:]}"
