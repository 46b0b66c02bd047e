from django.db import models
from django.db.models import Q

from kgen.common.identifiers import uuid7

ADDRESS = r"^0x[0-9a-f]{40}$"


class Wallet(models.Model):
    """The custodial wallet of one gamer in one game; its balances are ledger accounts.

    The row is also the lock of the wallet: whoever moves its money holds it first.
    """

    gamer = models.OneToOneField("accounts.Gamer", on_delete=models.PROTECT, related_name="wallet")
    hd_index = models.BigIntegerField(unique=True)
    address = models.CharField(max_length=42, unique=True)
    # The number of the newest wallet transaction; the next one is given under this row's lock.
    last_seq = models.BigIntegerField(default=0)
    # The newest freeze, in force or over; the database lets it move to a newer one alone. Kept here so
    # that a wallet which never was frozen is known as such from the row that everybody locks anyway.
    freeze = models.ForeignKey(
        "wallet.WalletFreeze",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    # Names the posting of the welcome bonus before it is made, so that it is made once.
    bonus_posting_id = models.UUIDField(unique=True, default=uuid7)
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="wallet_address_is_lower_case_hex", condition=Q(address__regex=ADDRESS)
            ),
            models.CheckConstraint(
                name="wallet_hd_index_is_unhardened",
                condition=Q(hd_index__gte=0, hd_index__lt=2**31),
            ),
            models.CheckConstraint(name="wallet_last_seq_from_zero", condition=Q(last_seq__gte=0)),
        ]

    def __str__(self) -> str:
        return self.address


class KgenWallet(models.Model):
    """Where a withdrawal goes: the wallet behind one phone, over all games.

    Without an `hd_index` the address is an outside one, whose key we do not hold.
    """

    account = models.OneToOneField(
        "accounts.KgenAccount", on_delete=models.PROTECT, related_name="wallet"
    )
    hd_index = models.BigIntegerField(unique=True, null=True)
    address = models.CharField(max_length=42, unique=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="kgen_wallet_address_is_lower_case_hex", condition=Q(address__regex=ADDRESS)
            ),
            models.CheckConstraint(
                name="kgen_wallet_hd_index_is_unhardened",
                condition=Q(hd_index__isnull=True) | Q(hd_index__gte=0, hd_index__lt=2**31),
            ),
        ]

    def __str__(self) -> str:
        return self.address
