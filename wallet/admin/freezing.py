"""Freezing a wallet, and unfreezing it."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from kgen.common.admin import SUPPORT, Act, Done, act
from wallet.models import Wallet


@act(Wallet)
class Freeze(Act[Wallet]):
    name, label, roles = "freeze", "Freeze", (SUPPORT,)
    is_dangerous = True

    def is_offered(self, wallet: Wallet) -> bool:
        return not wallet.is_frozen

    def consequences(self, wallet: Wallet) -> list[str]:
        return [
            f"{wallet.gamer} can neither claim nor withdraw until the wallet is unfrozen.",
            "Playing, joining and scoring go on; a withdrawal under way is not stopped.",
            "One that waits for approval cannot be approved until then, but voided.",
        ]

    def perform(self, request: HttpRequest, wallet: Wallet, data: dict[str, Any]) -> Done:
        _set_frozen(wallet, True, now=timezone.now())
        return Done("The wallet is frozen.")


@act(Wallet)
class Unfreeze(Act[Wallet]):
    name, label, roles = "unfreeze", "Unfreeze", (SUPPORT,)

    def is_offered(self, wallet: Wallet) -> bool:
        return wallet.is_frozen

    def consequences(self, wallet: Wallet) -> list[str]:
        return [f"{wallet.gamer} can claim and withdraw again at once."]

    def perform(self, request: HttpRequest, wallet: Wallet, data: dict[str, Any]) -> Done:
        _set_frozen(wallet, False, now=timezone.now())
        return Done("The wallet is open again.")


def _set_frozen(wallet: Wallet, frozen: bool, *, now: datetime) -> None:
    Wallet.objects.filter(pk=wallet.pk).update(is_frozen=frozen, modified_at=now)
