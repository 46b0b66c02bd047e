"""Who signs what. Two keepers of keys, each of which signs nothing but what it is named for.

An operator signs transactions of its lane. The custodian signs two typed messages with a gamer's
key: a permit in favour of our Settlement contract, and a payout. It never signs a transaction.
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import rlp
from coincurve import PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from django.conf import settings
from eth_hash.auto import keccak
from eth_keyfile.keyfile import decode_keyfile_json

from wallet import custody
from wallet.addresses import address_of
from wallet.settlement import calldata, networks
from wallet.settlement.calldata import PERMIT_DEADLINE, PERMIT_VALUE, Signature
from wallet.settlement.signer.errors import SignerUnavailable, SigningRefused
from wallet.settlement.signer.keeper import Keeper, Terms
from wallet.settlement.signer.signatures import from_der, sign, signer_of

__all__ = [
    "Custodian",
    "EnvironmentCustodian",
    "EnvironmentKeysRefused",
    "EnvironmentOperator",
    "OperatorSigner",
    "SignedTransaction",
    "SignerUnavailable",
    "SigningRefused",
    "custodian",
    "operators",
]

# For the signer to answer; it needs a millisecond.
SIGNER_PATIENCE: Final = 5.0  # seconds


class EnvironmentKeysRefused(Exception):
    """Keys in environment variables are for development and test chains."""


class OperatorKeyUnusable(Exception):
    """An operator's key is named in a way that leads to none."""


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


# --- Operators ------------------------------------------------------------------------------------


def operators() -> tuple["KeyOperator", ...]:
    """The keys that the settings name, one a lane.

    Raises EnvironmentKeysRefused, OperatorKeyUnusable. Nothing is asked of a KMS before it is used.
    """
    named = settings.OPERATOR_KEYS or [settings.OPERATOR_KEY]
    return tuple(_operator(key, settings.CHAIN_ID) for key in named)


class OperatorKey(Protocol):
    @property
    def address(self) -> str: ...

    def sign(self, digest: bytes) -> Signature: ...


class KeyOperator:
    """Makes transactions of one key; the chain is the settings'."""

    def __init__(self, key: OperatorKey) -> None:
        self._key = key

    @property
    def address(self) -> str:
        """Lower case. Raises SignerUnavailable."""
        return self._key.address

    def sign_call(
        self, *, nonce: int, to: str, data: bytes, gas: int, max_fee: int, priority_fee: int
    ) -> SignedTransaction:
        """Raises SignerUnavailable."""
        # EIP-1559, in the order that it says; no value, and no access list.
        recipient = bytes.fromhex(to.removeprefix("0x"))
        fields = [settings.CHAIN_ID, nonce, priority_fee, max_fee, gas, recipient, 0, data, []]
        signature = self._key.sign(keccak(b"\x02" + rlp.encode(fields)))
        raw = b"\x02" + rlp.encode([*fields, signature.parity, signature.r, signature.s])
        return SignedTransaction(tx_hash="0x" + keccak(raw).hex(), raw=raw)


class EnvironmentOperator(KeyOperator):
    """The operator's key out of OPERATOR_KEY."""

    def __init__(self, key: str | None = None) -> None:
        _refuse_mainnets()
        super().__init__(LocalKey(_bare_key(key or settings.OPERATOR_KEY)))


class LocalKey:
    """A key in our own memory."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.address = address_of(PrivateKey(key).public_key.format())

    def sign(self, digest: bytes) -> Signature:
        return sign(digest, self._key)


class RemoteKey(Protocol):
    """A secp256k1 key in a KMS, for signing."""

    def public_key(self) -> bytes: ...

    def sign(self, digest: bytes) -> bytes: ...


class KmsKey:
    """A key that we never see. It is asked once for its public half."""

    def __init__(self, remote: RemoteKey) -> None:
        self._remote = remote

    @cached_property
    def address(self) -> str:
        public = load_der_public_key(self._remote.public_key())
        return address_of(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    def sign(self, digest: bytes) -> Signature:
        return from_der(self._remote.sign(digest), digest=digest, address=self.address)


@cache
def _operator(key: str, chain_id: int) -> KeyOperator:
    """The operator behind one word of OPERATOR_KEYS; scrypt makes a keystore slow to open."""
    kind, _, name = key.partition(":")
    if not name:
        return EnvironmentOperator(key)
    if kind == "keystore":
        return KeyOperator(LocalKey(_keystore_key(Path(name))))
    # Needs packages that an installation without a KMS does not have.
    try:
        from wallet.settlement.signer.kms import CLOUDS  # noqa: PLC0415
    except ImportError as problem:
        raise OperatorKeyUnusable(f"A KMS needs requirements-kms.txt: {problem}") from problem
    if kind not in CLOUDS:
        raise OperatorKeyUnusable(
            f"An operator's key is a keystore, {' or '.join(CLOUDS)}, not {kind}."
        )
    return KeyOperator(KmsKey(CLOUDS[kind](name)))


def _bare_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        key = b""
    if len(key) != 32:  # the text is not repeated: it may be a key, mistyped
        raise OperatorKeyUnusable("OPERATOR_KEY is no private key: 64 hexadecimal digits.")
    return key


def _keystore_key(path: Path) -> bytes:
    """The key in a keystore of version 3, as geth and others write them."""
    password_file = Path(settings.OPERATOR_PASSWORD_FILE)
    try:
        password = password_file.read_bytes().strip()
        key: bytes = decode_keyfile_json(json.loads(path.read_text()), password)
    except OSError as problem:
        raise OperatorKeyUnusable(f"{problem.filename}: {problem.strerror}.") from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise OperatorKeyUnusable(
            f"{path} is no keystore, or {password_file} is not its password: {problem}."
        ) from problem
    return key


# --- The custodian --------------------------------------------------------------------------------


def custodian() -> Custodian:
    """The signer behind SIGNER_SOCKET; without one, the seed in CUSTODY_SEED on a test chain.

    Raises EnvironmentKeysRefused.
    """
    if settings.SIGNER_SOCKET:
        return SocketCustodian(settings.SIGNER_SOCKET)
    return EnvironmentCustodian()


class SocketCustodian:
    """Gamers' keys in the signer's hands: a conversation of one request each.

    Nothing is kept open, so it goes through forks and threads, and a signer that was started again
    is met by the next request.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def sign_permit(self, *, hd_index: int, nonce: int) -> Signature:
        """Raises SignerUnavailable, SigningRefused."""
        owner = custody.custodial_address(hd_index)
        digest = calldata.permit_digest(
            chain_id=settings.CHAIN_ID,
            kcash_address=settings.KCASH_ADDRESS,
            settlement_address=settings.SETTLEMENT_ADDRESS,
            owner=owner,
            nonce=nonce,
        )
        request = {
            "verb": "sign_permit",
            "hd_index": hd_index,
            "chain_id": settings.CHAIN_ID,
            "token": settings.KCASH_ADDRESS,
            "owner": owner,
            "spender": settings.SETTLEMENT_ADDRESS,
            "value": PERMIT_VALUE,
            "nonce": nonce,
            "deadline": PERMIT_DEADLINE,
        }
        return self._signed(request, digest=digest, address=owner)

    def sign_payout(
        self, *, hd_index: int, settlement_address: str, onchain_id: str, to: str, amount: int
    ) -> Signature:
        """Raises SignerUnavailable, SigningRefused."""
        payer = custody.custodial_address(hd_index)
        digest = calldata.payout_digest(
            chain_id=settings.CHAIN_ID,
            settlement_address=settlement_address,
            onchain_id=onchain_id,
            from_address=payer,
            to_address=to,
            amount=amount,
        )
        request = {
            "verb": "sign_payout",
            "hd_index": hd_index,
            "chain_id": settings.CHAIN_ID,
            "contract": settlement_address,
            "id": onchain_id,
            "from": payer,
            "to": to,
            "amount": amount,
        }
        return self._signed(request, digest=digest, address=payer)

    def _signed(self, request: Mapping[str, object], *, digest: bytes, address: str) -> Signature:
        told = self._ask(json.dumps(request).encode() + b"\n")
        if "refused" in told:
            raise SigningRefused(f"The signer refused: {told['refused']}: {told.get('message')}")
        try:
            signature = Signature(r=told["r"], s=told["s"], parity=told["parity"])
            is_theirs = signer_of(digest, signature) == address
        except (KeyError, TypeError):
            is_theirs = False
        if not is_theirs:  # it would cost a nonce to hear the same from the contract
            raise SignerUnavailable(f"The signer's answer is no signature of {address}.")
        return signature

    def _ask(self, request: bytes) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(SIGNER_PATIENCE)
                connection.connect(self._path)
                connection.sendall(request)
                with connection.makefile("rb") as answers:
                    line = answers.readline()
        except OSError as problem:
            raise SignerUnavailable(f"The signer at {self._path}: {problem}") from problem
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise SignerUnavailable(f"The signer at {self._path} broke off.")
        return told


class EnvironmentCustodian:
    """Gamers' keys, derived in this process from the seed in CUSTODY_SEED."""

    def __init__(self) -> None:
        _refuse_mainnets()

    def sign_permit(self, *, hd_index: int, nonce: int) -> Signature:
        return _keeper(settings.SETTLEMENT_ADDRESS).sign_permit(hd_index=hd_index, nonce=nonce)

    def sign_payout(
        self, *, hd_index: int, settlement_address: str, onchain_id: str, to: str, amount: int
    ) -> Signature:
        return _keeper(settlement_address).sign_payout(
            hd_index=hd_index, onchain_id=onchain_id, to=to, amount=amount
        )


def _keeper(settlement_address: str) -> Keeper:
    return _opened(
        settings.CUSTODY_SEED,
        Terms(
            chain_id=settings.CHAIN_ID,
            kcash_address=settings.KCASH_ADDRESS,
            settlement_address=settlement_address,
        ),
    )


@cache
def _opened(seed: str, terms: Terms) -> Keeper:
    return Keeper(bytes.fromhex(seed), terms)


def _refuse_mainnets() -> None:
    if networks.of(settings.CHAIN_ID).is_mainnet:
        raise EnvironmentKeysRefused(
            f"Chain {settings.CHAIN_ID} is a mainnet: its keys must not come from the environment."
        )
