from django.urls import URLPattern, path

from wallet.api.phones import OtpViewSet
from wallet.api.sessions import SessionViewSet

urlpatterns: list[URLPattern] = [
    path("session", SessionViewSet.as_view({"post": "create"})),
    path("verification/otp/_request", OtpViewSet.as_view({"post": "request_otp"})),
    path("verification/otp/_verify", OtpViewSet.as_view({"post": "verify_otp"})),
]
