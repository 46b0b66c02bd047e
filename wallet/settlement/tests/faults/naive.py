"""The loop that everybody writes first: send, then write down that it was sent.

It is here to be caught: a harness that finds nothing wrong with it would find nothing at all.
"""

import time
from typing import Protocol

from django.conf import settings
from django.db.transaction import atomic
from eth_account import Account
from web3 import HTTPProvider, Web3

from wallet import ledger
from wallet.contracts import artifact
from wallet.models import WalletTransaction

SENT_NOT_RECORDED = "sent, not recorded"


class Mortal(Protocol):
    def at(self, point: str) -> None: ...


def settle(death: Mortal) -> None:
    """Pay each waiting transaction of a wallet out of the float, one by one, until none is left."""
    web3 = Web3(HTTPProvider(settings.CHAIN_RPC_URL))
    kcash = web3.eth.contract(
        address=Web3.to_checksum_address(settings.KCASH_ADDRESS), abi=artifact("KCash")["abi"]
    )
    payer = Account.from_key(settings.FLOAT_KEY)
    waiting = WalletTransaction.objects.filter(sync_status=WalletTransaction.SyncStatus.PENDING)
    while True:
        entry = waiting.select_related("wallet").order_by("uid").first()
        if entry is None:
            time.sleep(0.01)
            continue
        call = kcash.functions.transfer(
            Web3.to_checksum_address(entry.wallet.address), entry.amount
        ).build_transaction(
            {
                "from": payer.address,
                "nonce": web3.eth.get_transaction_count(payer.address, "pending"),
            }
        )
        web3.eth.send_raw_transaction(payer.sign_transaction(call).raw_transaction)
        death.at(SENT_NOT_RECORDED)
        with atomic():
            WalletTransaction.objects.filter(pk=entry.pk).update(
                sync_status=WalletTransaction.SyncStatus.COMPLETED
            )
            ledger.confirm_on_chain(
                transaction_uid=entry.uid,
                wallet_id=entry.wallet_id,
                signed_amount=entry.signed_amount,
            )
