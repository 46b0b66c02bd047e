"""The staff console: the Django admin behind a password and a one-time code."""

from django_otp.admin import OTPAdminSite


class ConsoleSite(OTPAdminSite):
    site_header = "KGeN console"
    site_title = "KGeN console"
    index_title = "Tournaments, rewards and wallets"
