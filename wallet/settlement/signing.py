"""Who signs what. Two keepers of keys, each of which signs nothing but what it is named for.

The operator signs transactions. The custodian signs two typed messages with a gamer's key: a permit
in favour of our Settlement contract, and a payout. It never signs a transaction.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

from bip32 import BIP32
from coincurve import PrivateKey
from django.conf import settings
from eth_account import Account
from eth_account.signers.local import LocalAccount

from wallet import custody
from wallet.settlement import calldata
from wallet.settlement.calldata import Signature

# Ethereum, BNB Smart Chain, Polygon, Kaia: keys out of the environment are not good enough there.
MAINNETS: Final = frozenset({1, 56, 137, 8217})


class EnvironmentKeysRefused(Exception):
    """Keys in environment variables are for development and test chains."""


class SignerUnavailable(Exception):
    """The keeper of the key did not answer. Nothing was signed; asking again later is safe."""


@dataclass(frozen=True)
class SignedTransaction:
    tx_hash: str
    raw: bytes


class OperatorSigner(Protocol):
    """Signs the transactions of one lane. Any call may be slow, or raise SignerUnavailable."""

    @property
    def address(self) -> str: ...

    def sign_call(
        self, *, nonce: int, to: str, data: bytes, gas: int, max_fee: int, priority_fee: int
    ) -> SignedTransaction: ...


class Custodian(Protocol):
    """Signs for gamers' wallets. Any call may be slow, or raise SignerUnavailable."""

    def sign_permit(self, *, hd_index: int, nonce: int) -> Signature: ...

    def sign_payout(
        self, *, hd_index: int, settlement_address: str, onchain_id: str, to: str, amount: int
    ) -> Signature: ...


class EnvironmentOperator:
    """The operator's key out of OPERATOR_KEY."""

    def __init__(self) -> None:
        _refuse_mainnets()
        self._account: LocalAccount = Account.from_key(settings.OPERATOR_KEY)

    @property
    def address(self) -> str:
        return str(self._account.address).lower()

    def sign_call(
        self, *, nonce: int, to: str, data: bytes, gas: int, max_fee: int, priority_fee: int
    ) -> SignedTransaction:
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": settings.CHAIN_ID,
                "nonce": nonce,
                "to": bytes.fromhex(to.removeprefix("0x")),
                "value": 0,
                "data": data,
                "gas": gas,
                "maxFeePerGas": max_fee,
                "maxPriorityFeePerGas": priority_fee,
            }
        )
        return SignedTransaction(
            tx_hash="0x" + signed.hash.hex(), raw=bytes(signed.raw_transaction)
        )


class EnvironmentCustodian:
    """Gamers' keys, derived from the seed in CUSTODY_SEED."""

    def __init__(self) -> None:
        _refuse_mainnets()

    def sign_permit(self, *, hd_index: int, nonce: int) -> Signature:
        digest = calldata.permit_digest(
            chain_id=settings.CHAIN_ID,
            kcash_address=settings.KCASH_ADDRESS,
            settlement_address=settings.SETTLEMENT_ADDRESS,
            owner=custody.custodial_address(hd_index),
            nonce=nonce,
        )
        return _sign(digest, custodial_key(hd_index))

    def sign_payout(
        self, *, hd_index: int, settlement_address: str, onchain_id: str, to: str, amount: int
    ) -> Signature:
        digest = calldata.payout_digest(
            chain_id=settings.CHAIN_ID,
            settlement_address=settlement_address,
            onchain_id=onchain_id,
            from_address=custody.custodial_address(hd_index),
            to_address=to,
            amount=amount,
        )
        return _sign(digest, custodial_key(hd_index))


def custodial_key(hd_index: int) -> bytes:
    """The private key of a custodial wallet."""
    key: bytes = _custodial_branch(settings.CUSTODY_SEED).get_privkey_from_path([hd_index])
    return key


@cache
def _custodial_branch(seed: str) -> BIP32:
    return BIP32.from_xpriv(
        BIP32.from_seed(bytes.fromhex(seed)).get_xpriv_from_path("m/44'/60'/0'/0")
    )


def _sign(digest: bytes, key: bytes) -> Signature:
    # libsecp256k1 always gives the low s, and its recovery id is the parity.
    signed = PrivateKey(key).sign_recoverable(digest, hasher=None)
    return Signature(
        r=int.from_bytes(signed[:32], "big"),
        s=int.from_bytes(signed[32:64], "big"),
        parity=signed[64],
    )


def _refuse_mainnets() -> None:
    if settings.CHAIN_ID in MAINNETS:
        raise EnvironmentKeysRefused(
            f"Chain {settings.CHAIN_ID} is a mainnet: its keys must not come from the environment."
        )
