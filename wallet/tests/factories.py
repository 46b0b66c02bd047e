from typing import Any

import factory
from django.utils import timezone

from accounts.tests.factories import GamerFactory, KgenAccountFactory
from kgen.common.identifiers import uuid7
from wallet import custody, ledger
from wallet.models import KgenWallet, Wallet


class WalletFactory(factory.Factory):
    """An open wallet with its ledger accounts and nothing in them; buckets are filled by name.

    `WalletFactory(earned=1000)` puts money there without a wallet transaction, as no flow does: for
    tests that look at ledger and flows, not at the wallet's own history.
    """

    class Meta:
        model = Wallet

    gamer = factory.SubFactory(GamerFactory)
    now = factory.LazyFunction(timezone.now)

    @classmethod
    def _create(cls, model_class: type[Wallet], *args: Any, **kwargs: Any) -> Wallet:
        filled = {bucket: kwargs.pop(bucket) for bucket in ledger.Bucket if bucket in kwargs}
        wallet = custody.open_wallet(**kwargs)
        for bucket, amount in filled.items():
            fill(wallet, bucket, amount)
        return wallet


class KgenWalletFactory(factory.Factory):
    """The KGeN wallet that is held for a phone."""

    class Meta:
        model = KgenWallet

    account = factory.SubFactory(KgenAccountFactory)
    now = factory.LazyFunction(timezone.now)

    @classmethod
    def _create(cls, model_class: type[KgenWallet], *args: Any, **kwargs: Any) -> KgenWallet:
        return custody.open_kgen_wallet(**kwargs)


def fill(wallet: Wallet, bucket: ledger.Bucket, amount: int) -> None:
    """Give a bucket money out of the mint, or out of the chain's supply."""
    source = ledger.CHAIN_SUPPLY if bucket == ledger.Bucket.ONCHAIN else ledger.MINT
    target = ledger.account_of(ledger.Owner.WALLET, wallet.pk, bucket)
    leg = ledger.Leg(debit=source, credit=target, amount=amount, kind=ledger.Kind.GRANT)
    ledger.post([leg], posting_id=uuid7())
