from django.urls import URLPattern, path

from wallet.api.phones import OtpViewSet
from wallet.api.sessions import SessionViewSet
from wallet.api.views import WalletViewSet

urlpatterns: list[URLPattern] = [
    path("session", SessionViewSet.as_view({"post": "create"})),
    path("verification/otp/_request", OtpViewSet.as_view({"post": "request_otp"})),
    path("verification/otp/_verify", OtpViewSet.as_view({"post": "verify_otp"})),
    path("wallet/lazyChain/balance", WalletViewSet.as_view({"get": "balance"})),
    path(
        "wallet/lazyChain/transactions/<str:address>",
        WalletViewSet.as_view({"get": "transactions"}),
    ),
    path("wallet/_withdraw", WalletViewSet.as_view({"post": "withdraw"})),
]
