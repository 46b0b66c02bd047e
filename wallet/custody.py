"""The wallets kept for gamers, and their addresses: children of two account keys.

Only the public half of those keys is known here. A custodial wallet is m/44'/60'/0'/0/index, a
gamer's KGeN wallet m/44'/60'/1'/0/index. Nothing in this module can sign; the seed is opened by the
signer alone, a process of its own (`wallet.settlement.signer`).
"""

from collections.abc import Collection
from datetime import datetime

from django.conf import settings
from django.db import connection

from accounts.models import Gamer, KgenAccount
from kgen.common.errors import Conflict
from kgen.common.transactions import requires_transaction
from wallet import ledger
from wallet.addresses import child_address
from wallet.models import KgenWallet, Wallet


class OtherWalletLinked(Conflict):
    code = "KGEN_WALLET_ALREADY_LINKED"
    message = "This phone has another KGeN wallet."


class AddressTaken(Conflict):
    code = "ADDRESS_TAKEN"
    message = "This address is somebody's wallet already."


class AddressUnusable(Conflict):
    code = "ADDRESS_UNUSABLE"
    message = "No gamer can hold KCash at this address."


def wallet_of(gamer: Gamer) -> Wallet:
    """The gamer's custodial wallet. Every gamer has one from the first session on."""
    return Wallet.objects.get(gamer=gamer)


@requires_transaction
def lock(wallet_id: int) -> Wallet:
    """The wallet as it is, and as it stays until the transaction ends."""
    return Wallet.objects.select_for_update(no_key=True).get(pk=wallet_id)


@requires_transaction
def lock_each(wallet_ids: Collection[int], *, skip_locked: bool = False) -> list[int]:
    """Lock many wallets in the order of their numbers; says which, where those in use are skipped."""
    wallets = Wallet.objects.filter(pk__in=wallet_ids).order_by("pk")
    locked = wallets.select_for_update(no_key=True, skip_locked=skip_locked)
    return list(locked.values_list("pk", flat=True))


@requires_transaction
def open_wallet(*, gamer: Gamer, now: datetime) -> Wallet:
    """Open the custodial wallet of a new gamer, with an address and all its ledger accounts.

    The caller holds the gamer's row: a second wallet would break UNIQUE (gamer).
    """
    index = _next_index("wallet_hd_index")
    wallet = Wallet.objects.create(
        gamer=gamer,
        hd_index=index,
        address=custodial_address(index),
        created_at=now,
        modified_at=now,
    )
    ledger.open_accounts(ledger.Owner.WALLET, wallet.pk)
    return wallet


@requires_transaction
def open_kgen_wallet(*, account: KgenAccount, now: datetime) -> KgenWallet:
    """Make the KGeN wallet that is held for a phone until its gamer exports it."""
    index = _next_index("kgen_hd_index")
    return KgenWallet.objects.create(
        account=account, hd_index=index, address=kgen_address(index), created_at=now
    )


@requires_transaction
def open_outside_wallet(*, account: KgenAccount, address: str, now: datetime) -> KgenWallet:
    """Make an address whose key we do not hold the KGeN wallet of a phone.

    Found if it is that already. Raises OtherWalletLinked, AddressTaken, AddressUnusable.
    """
    address = address.lower()
    if address in _nobodys_addresses():
        raise AddressUnusable
    linked = KgenWallet.objects.filter(account=account).first()
    if linked is not None and linked.address == address:
        return linked
    if linked is not None:
        raise OtherWalletLinked
    # A custodial wallet would send its withdrawals in a circle.
    if (
        KgenWallet.objects.filter(address=address).exists()
        or Wallet.objects.filter(address=address).exists()
    ):
        raise AddressTaken
    return KgenWallet.objects.create(account=account, address=address, created_at=now)


def _nobodys_addresses() -> set[str]:
    """Where KCash would be lost, or come back to us."""
    return {
        "0x" + 40 * "0",
        settings.KCASH_ADDRESS,
        settings.SETTLEMENT_ADDRESS,
        settings.FLOAT_ADDRESS,
    }


def custodial_address(index: int) -> str:
    """Where the gamer with this index keeps KCash in this game; lower case."""
    return child_address(settings.CUSTODY_XPUB, index)


def kgen_address(index: int) -> str:
    """The KGeN wallet held for the account with this index until it is exported; lower case."""
    return child_address(settings.KGEN_XPUB, index)


def _next_index(sequence: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(%s)", [sequence])
        index: int = cursor.fetchone()[0]
    return index
