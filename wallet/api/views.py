import re
from typing import Final

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.views import GamerViewSet
from kgen.common.api.exceptions import InvalidRequest
from kgen.common.api.schema import leads_to, refuses
from wallet import custody, freezing, statements, withdrawals
from wallet.api.serializers import (
    BalanceSerializer,
    PageQuerySerializer,
    TransactionPageSerializer,
    WithdrawalSerializer,
)
from wallet.settlement import sandboxes

_ADDRESS: Final = re.compile(r"0[xX][0-9a-fA-F]{40}")


class WalletViewSet(GamerViewSet):
    bodiless_actions = frozenset({"withdraw"})
    counted_actions = frozenset({"withdraw"})

    def admit(self) -> None:
        super().admit()
        if self.action == "withdraw":
            wallet = custody.wallet_of(self.caller.gamer)
            freezing.refuse_frozen(wallet, now=timezone.now())

    @extend_schema(operation_id="read_balance", responses=BalanceSerializer)
    @leads_to(list_transactions={"address": "$response.body#/wallet_address"})
    def balance(self, request: Request) -> Response:
        """What the gamer may spend, and how far the chain has followed."""
        return Response(BalanceSerializer(statements.balance_of(gamer=self.caller.gamer)).data)

    @extend_schema(
        operation_id="list_transactions",
        parameters=[PageQuerySerializer],
        responses=TransactionPageSerializer,
    )
    @leads_to(
        list_transactions={
            "address": "$request.path.address",
            "last_evaluated_key": "$response.body#/last_evaluated_key",
        }
    )
    @refuses(statements.WalletNotFound)
    def transactions(self, request: Request, address: str) -> Response:
        """The transactions of the gamer's own wallet, newest first, a page at a time."""
        if not _ADDRESS.fullmatch(address):
            raise InvalidRequest({"wallet_address": "Give 0x and 40 hex digits."})
        query = self.query(PageQuerySerializer)
        try:
            page = statements.page_of(
                gamer=self.caller.gamer,
                address=address,
                limit=query["limit"],
                key=query["last_evaluated_key"],
            )
        except statements.BadPageKey:
            raise InvalidRequest(
                {"last_evaluated_key": "Give the key of an earlier answer."}
            ) from None
        return Response(TransactionPageSerializer(page).data)

    @extend_schema(operation_id="withdraw", request=None, responses=WithdrawalSerializer)
    @refuses(
        freezing.WalletFrozen,
        sandboxes.SandboxNotPaid,
        withdrawals.MinimumNotMet,
        withdrawals.KgenWalletNotLinked,
    )
    def withdraw(self, request: Request) -> Response:
        """Send the whole earned balance to the linked KGeN wallet."""
        withdrawal = withdrawals.withdraw(gamer=self.caller.gamer, now=timezone.now())
        return Response(WithdrawalSerializer(withdrawal).data)
