"""A sandbox plays for KCash of no value: on a chain where KCash is money, none of it is ever paid."""

from django.conf import settings
from django.db.models import Q

from accounts.models import Game
from kgen.common.errors import Forbidden
from wallet.settlement import networks


class SandboxNotPaid(Forbidden):
    """The gamer plays on, but nothing may be withdrawn (API contract, section 0)."""

    code = "GAMER_BLOCKED"
    message = "A sandbox plays for KCash of no value, which is not paid out on this chain."

    def __init__(self) -> None:
        super().__init__(details={"reason": "SANDBOX"})


def refuse(game: Game) -> None:
    """Raises SandboxNotPaid."""
    if game.is_sandbox and _kcash_is_money():
        raise SandboxNotPaid


def is_paid() -> Q:
    """Of a row with a wallet: the chain may follow what the wallet does."""
    return Q(wallet__gamer__game__is_sandbox=False) if _kcash_is_money() else Q()


def _kcash_is_money() -> bool:
    network = networks.NETWORKS.get(settings.CHAIN_ID)
    return network is None or network.is_mainnet
