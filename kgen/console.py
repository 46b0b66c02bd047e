"""The staff console: the Django admin behind a password and a one-time code."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django_otp.admin import OTPAdminAuthenticationForm, OTPAdminSite
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from kgen.common.admin import made_for


class LoginForm(OTPAdminAuthenticationForm):  # type: ignore[misc]  # untyped package
    """Name, password and code on one page: the code itself tells which device it is of."""

    otp_token = forms.CharField(
        label="One-time code",
        required=False,
        max_length=32,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "spellcheck": "false"}),
    )
    otp_error_messages = {
        **OTPAdminAuthenticationForm.otp_error_messages,
        "token_required": "Enter the six digits of your authenticator app, or a backup code.",
        "invalid_token": "That code is not right or was already used. Try the next one.",
        "device_required": "That code is not right or was already used. Try the next one.",
    }

    def clean_otp_token(self) -> str:
        # Apps show "123 456"; backup codes are handed out in lower case.
        return "".join(self.cleaned_data["otp_token"].split()).lower()

    def _chosen_device(self, user: AbstractBaseUser) -> Device | None:
        # Stock django-otp asks everybody who has an app and backup codes to pick a device first.
        token = self.cleaned_data.get("otp_token", "")
        kind = TOTPDevice if len(token) == 6 and token.isdecimal() else StaticDevice
        device: Device | None = kind.objects.filter(user=user, confirmed=True).first()
        return device

    def _update_form(self, user: AbstractBaseUser) -> None:
        # Stock django-otp would write the password into the page that asks for the code again.
        pass


class ConsoleSite(OTPAdminSite):  # type: ignore[misc]  # untyped package
    site_header = "KGeN console"
    site_title = "KGeN console"
    index_title = "Tournaments, rewards and wallets"
    site_url = None
    enable_nav_sidebar = False  # the lists need the width
    login_form = LoginForm
    login_template = "admin/login_with_code.html"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        return _with_own_origin(super().login(request, extra_context))

    def admin_view(
        self, view: Callable[..., HttpResponseBase], cacheable: bool = False
    ) -> Callable[..., HttpResponseBase]:
        checked = super().admin_view(view, cacheable)

        @wraps(checked)
        def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            with made_for(request):
                response = checked(request, *args, **kwargs)
                if isinstance(response, SimpleTemplateResponse):
                    response.render()  # a page's cells are made as it is written
            return _with_own_origin(response)

        return answered


def _with_own_origin(response: HttpResponseBase) -> HttpResponseBase:
    # Under the API's "no-referrer" a browser sends its forms with "Origin: null", which no check of
    # a forged request can let pass.
    response.headers["Referrer-Policy"] = "same-origin"
    return response
