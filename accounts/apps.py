from django.apps import AppConfig
from django.core import checks

from accounts.checks import check_gateways


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        checks.register(check_gateways, checks.Tags.security, deploy=True)
