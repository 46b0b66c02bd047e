"""The seed at rest: sealed with a data key, which in turn is wrapped by a key of another keeper.

The file holds nothing that is secret without that other key: a passphrase in a file of its own, or a
key of AWS KMS or Google Cloud KMS. It names the public keys that the seed leads to, and is sealed
together with them, so a file cannot be passed off as another wallet's.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

FORMAT: Final = "kgen-seed/1"
# As OWASP recommends: 128 MB and about half a second for each guess.
SCRYPT_COST: Final = 2**17

_NONCE_BYTES: Final = 12


class CannotOpen(Exception):
    """The file is not what it should be, or its key is not the one that was given."""


class Wrapper(Protocol):
    """A key that wraps data keys. Calls to a KMS may raise SignerUnavailable, SigningRefused."""

    @property
    def kind(self) -> str: ...

    def wrap(self, data_key: bytes, *, context: str) -> dict[str, Any]: ...

    def unwrap(self, wrapped: Mapping[str, Any], *, context: str) -> bytes: ...


@dataclass(frozen=True)
class SealedSeed:
    custody_xpub: str
    kgen_xpub: str
    nonce: bytes
    ciphertext: bytes
    wrapped_by: str
    wrapped_key: Mapping[str, Any]

    @property
    def context(self) -> str:
        """What is sealed along: for which wallets the seed is."""
        return f"{FORMAT} {self.custody_xpub} {self.kgen_xpub}"


def seal(seed: bytes, *, custody_xpub: str, kgen_xpub: str, wrapper: Wrapper) -> SealedSeed:
    data_key, nonce = AESGCM.generate_key(256), secrets.token_bytes(_NONCE_BYTES)
    bare = SealedSeed(custody_xpub, kgen_xpub, nonce, b"", wrapper.kind, {})
    return replace(
        bare,
        ciphertext=AESGCM(data_key).encrypt(nonce, seed, bare.context.encode()),
        wrapped_key=wrapper.wrap(data_key, context=bare.context),
    )


def open_seed(sealed: SealedSeed, wrapper: Wrapper) -> bytes:
    """Raises CannotOpen, and what the wrapper raises."""
    data_key = _data_key(sealed, wrapper)
    return _decrypted(data_key, sealed.nonce, sealed.ciphertext, sealed.context)


def rewrap(sealed: SealedSeed, *, old: Wrapper, new: Wrapper) -> SealedSeed:
    """Change who can open the seed, without opening it. Raises CannotOpen.

    Copies of the file from before still open with the old key.
    """
    data_key = _data_key(sealed, old)
    return replace(
        sealed,
        wrapped_by=new.kind,
        wrapped_key=new.wrap(data_key, context=sealed.context),
    )


class Passphrase:
    """A key-encryption key out of a passphrase, by scrypt."""

    kind = "passphrase"

    def __init__(self, passphrase: bytes) -> None:
        self._passphrase = passphrase

    def wrap(self, data_key: bytes, *, context: str) -> dict[str, Any]:
        salt, nonce = secrets.token_bytes(16), secrets.token_bytes(_NONCE_BYTES)
        key = self._key(salt, SCRYPT_COST)
        return {
            "cost": SCRYPT_COST,
            "salt": salt.hex(),
            "nonce": nonce.hex(),
            "ciphertext": AESGCM(key).encrypt(nonce, data_key, context.encode()).hex(),
        }

    def unwrap(self, wrapped: Mapping[str, Any], *, context: str) -> bytes:
        key = self._key(bytes.fromhex(wrapped["salt"]), wrapped["cost"])
        nonce, ciphertext = bytes.fromhex(wrapped["nonce"]), bytes.fromhex(wrapped["ciphertext"])
        return _decrypted(key, nonce, ciphertext, context)

    def _key(self, salt: bytes, cost: int) -> bytes:
        return Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(self._passphrase)


class KmsKey(Protocol):
    """A key of a cloud's KMS that never leaves it."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    def encrypt(self, plaintext: bytes, *, context: str) -> bytes: ...

    def decrypt(self, ciphertext: bytes, *, context: str) -> bytes: ...


class Kms:
    """A key-encryption key inside a KMS."""

    def __init__(self, key: KmsKey) -> None:
        self._key = key

    @property
    def kind(self) -> str:
        return self._key.kind

    def wrap(self, data_key: bytes, *, context: str) -> dict[str, Any]:
        ciphertext = self._key.encrypt(data_key, context=_hidden(context))
        return {"name": self._key.name, "ciphertext": base64.b64encode(ciphertext).decode()}

    def unwrap(self, wrapped: Mapping[str, Any], *, context: str) -> bytes:
        ciphertext = base64.b64decode(wrapped["ciphertext"])
        return self._key.decrypt(ciphertext, context=_hidden(context))


def _hidden(context: str) -> str:
    """A cloud writes the context into its logs, where nobody should read public keys of accounts."""
    return hashlib.sha256(context.encode()).hexdigest()


# --- The file -------------------------------------------------------------------------------------


def read(path: Path) -> SealedSeed:
    """Raises CannotOpen."""
    try:
        told = json.loads(path.read_text())
        if told["format"] != FORMAT:
            raise CannotOpen(f"{path} is of the unknown format {told['format']}.")
        return SealedSeed(
            custody_xpub=told["custody_xpub"],
            kgen_xpub=told["kgen_xpub"],
            nonce=bytes.fromhex(told["nonce"]),
            ciphertext=bytes.fromhex(told["ciphertext"]),
            wrapped_by=told["wrapped_by"],
            wrapped_key=told["wrapped_key"],
        )
    except OSError as problem:
        raise CannotOpen(f"{path} cannot be read: {problem.strerror}.") from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise CannotOpen(f"{path} holds no sealed seed.") from problem


def write_new(path: Path, sealed: SealedSeed) -> None:
    """Raises FileExistsError: a seed is never written over, wallets hang on it."""
    _write(path, sealed)


def replace_file(path: Path, sealed: SealedSeed) -> None:
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    _write(unfinished, sealed)
    unfinished.replace(path)


def _write(path: Path, sealed: SealedSeed) -> None:
    told = {
        "format": FORMAT,
        "custody_xpub": sealed.custody_xpub,
        "kgen_xpub": sealed.kgen_xpub,
        "nonce": sealed.nonce.hex(),
        "ciphertext": sealed.ciphertext.hex(),
        "wrapped_by": sealed.wrapped_by,
        "wrapped_key": sealed.wrapped_key,
    }
    with open(path, "x", opener=_private) as file:
        file.write(json.dumps(told, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _data_key(sealed: SealedSeed, wrapper: Wrapper) -> bytes:
    if wrapper.kind != sealed.wrapped_by:
        raise CannotOpen(f"The seed is kept by {sealed.wrapped_by}, not by {wrapper.kind}.")
    return wrapper.unwrap(sealed.wrapped_key, context=sealed.context)


def _decrypted(key: bytes, nonce: bytes, ciphertext: bytes, context: str) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, context.encode())
    except InvalidTag:
        raise CannotOpen("The passphrase is wrong, or the file has been changed.") from None
