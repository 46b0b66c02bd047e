"""The staff console: the Django admin behind a password and a one-time code."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, cast

from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_credentials
from django import forms
from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.utils import timezone
from django_otp.admin import OTPAdminSite

from accounts import staff
from kgen.common import audit
from kgen.common.admin import made_for
from kgen.common.client_address import client_address

# A session's last use is written down no oftener.
USE_WRITTEN_EVERY: Final = 60


class LoginForm(AdminAuthenticationForm):
    """Name, password and code on one page: the code itself tells which device it is of."""

    otp_token = forms.CharField(
        label="One-time code",
        required=False,
        max_length=32,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "spellcheck": "false"}),
    )
    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "token_required": "Enter the six digits of your authenticator app, or a backup code.",
        "invalid_token": "That code is not right or was already used. Try the next one.",
    }

    def clean_otp_token(self) -> str:
        # Apps show "123 456"; backup codes are handed out in lower case.
        return "".join(self.cleaned_data["otp_token"].split()).lower()

    def clean(self) -> dict[str, Any]:
        name = self.cleaned_data.get("username") or ""
        try:
            data: dict[str, Any] = super().clean() or self.cleaned_data
        except ValidationError:
            # Whoever is locked out already is told so, and fills no history.
            if not getattr(self.request, "axes_locked_out", False):
                self._write_down("login_failed", "Failed to sign in", name)
            elif self.request.axes_failures_since_start is not None:  # type: ignore[union-attr]
                self._write_down("login_failed", "Failed to sign in", name)
                self._write_down("locked_out", "Locked out for a while", name)
            raise
        if data.get("username") and data.get("password"):
            self._check_code(data.get("otp_token", ""))
        return data

    def _check_code(self, code: str) -> None:
        user = self.get_user()
        if not code:
            raise ValidationError(self.error_messages["token_required"], code="token_required")
        try:
            device = staff.check_code(user=user, code=code, request=self._sent, now=timezone.now())
        except staff.TooManyWrongCodes as refusal:
            raise ValidationError(str(refusal), code="too_many_codes") from refusal
        if device is None:
            # Wrong codes lock out as wrong passwords do.
            AxesProxyHandler.user_login_failed(
                sender=__name__,
                credentials=get_credentials(user.get_username()),
                request=self._sent,
            )
            if getattr(self._sent, "axes_locked_out", False):
                self._write_down("locked_out", "Locked out for a while", user.get_username())
            raise ValidationError(self.error_messages["invalid_token"], code="invalid_token")
        user.otp_device = device  # type: ignore[attr-defined]  # kept in the session by django-otp

    @property
    def _sent(self) -> HttpRequest:
        if self.request is None:
            raise RuntimeError("Nobody signs in without a request.")
        return self.request

    def _write_down(self, name: str, label: str, who: str) -> None:
        audit.record(name=name, label=label, by_name=who, request=self._sent)


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

    def get_urls(self) -> list[URLPattern | URLResolver]:
        own = path("backup-codes/", self.admin_view(self.own_backup_codes), name="own_backup_codes")
        return [own, *super().get_urls()]

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        end_if_over(request)
        response = super().login(request, extra_context)
        # Signing in has given the session another key.
        if request.method == "POST" and response.status_code == 302:
            request.session[staff.BEGAN] = request.session[staff.USED] = int(time.time())
            device = request.user.otp_device  # type: ignore[union-attr]
            audit.record(
                name="login",
                label="Signed in",
                details={"with": device.name},
                request=request,
            )
        return _with_own_origin(response)

    def logout(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        if request.method == "POST" and request.user.is_authenticated:
            audit.record(name="logout", label="Signed out", request=request)
        response: HttpResponseBase = super().logout(request, extra_context)
        return response

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """One's own password, which has to be known; every other session of one's ends with it."""
        with transaction.atomic():
            response: HttpResponseBase = super().password_change(request, extra_context)
            if request.method == "POST" and response.status_code == 302:
                audit.record(
                    name="change_password",
                    label="Changed the own password",
                    row=_signed_in(request),
                    request=request,
                )
        return response

    def own_backup_codes(self, request: HttpRequest) -> HttpResponse:
        """New backup codes for who proves again to hold the authenticator."""
        form = CodeForm(request.POST if request.method == "POST" else None)
        user = _signed_in(request)
        codes: list[str] = []
        if request.method == "POST" and form.is_valid():
            codes = self._made_backup_codes(request, user, form)
        context = {
            **self.each_context(request),
            "title": "Your backup codes",
            "form": form,
            "codes": codes,
        }
        return TemplateResponse(request, "admin/own_backup_codes.html", context)

    def _made_backup_codes(self, request: HttpRequest, user: User, form: "CodeForm") -> list[str]:
        code = "".join(form.cleaned_data["code"].split())
        try:
            device = staff.check_code(user=user, code=code, request=request, now=timezone.now())
        except staff.TooManyWrongCodes as refusal:
            form.add_error("code", str(refusal))
            return []
        if device is None:
            form.add_error("code", LoginForm.error_messages["invalid_token"])
            return []
        with transaction.atomic():
            before = staff.state_of(user)
            codes = staff.make_backup_codes(user=user)
            audit.record(
                name="make_backup_codes",
                label="Made own backup codes",
                row=user,
                before=before,
                after=staff.state_of(user),
                request=request,
            )
        return list(codes)

    def admin_view(
        self, view: Callable[..., HttpResponseBase], cacheable: bool = False
    ) -> Callable[..., HttpResponseBase]:
        checked = super().admin_view(view, cacheable)

        @wraps(checked)
        def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            end_if_over(request)
            with made_for(request):
                response = checked(request, *args, **kwargs)
                if isinstance(response, SimpleTemplateResponse):
                    response.render()  # a page's cells are made as it is written
            return _with_own_origin(response)

        return answered


class CodeForm(forms.Form):
    code = forms.CharField(
        label="One-time code",
        max_length=32,
        help_text="Six digits from your authenticator app.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "spellcheck": "false"}),
    )


def end_if_over(request: HttpRequest) -> None:
    """Sign out whoever was idle, or signed in, for too long."""
    if not request.user.is_authenticated:
        return
    now, session = int(time.time()), request.session
    began, used = session.get(staff.BEGAN, 0), session.get(staff.USED, 0)
    idle, whole = settings.STAFF_IDLE.total_seconds(), settings.STAFF_SESSION_LIFE.total_seconds()
    if now - used >= idle or now - began >= whole:
        logout(request)
    elif now - used >= USE_WRITTEN_EVERY:
        session[staff.USED] = now


def locked_out(
    request: HttpRequest, response: HttpResponse, credentials: dict[str, Any] | None
) -> HttpResponse:
    """What somebody is told who is locked out; everybody else signs in as ever."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    context = {"minutes": seconds // 60, "title": "Locked out"}
    page = render(request, "admin/locked_out.html", context, status=429)
    page["Retry-After"] = str(seconds)
    return page


def _signed_in(request: HttpRequest) -> User:
    """Whoever is signed in: the console lets nobody else in."""
    return cast(User, request.user)


def address_of(request: HttpRequest) -> str | None:
    address = client_address(request)
    return str(address) if address else None


def _with_own_origin(response: HttpResponseBase) -> HttpResponseBase:
    # Under the API's "no-referrer" a browser sends its forms with "Origin: null", which no check of
    # a forged request can let pass.
    response.headers["Referrer-Policy"] = "same-origin"
    return response
