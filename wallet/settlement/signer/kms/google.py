"""Google Cloud KMS. Credentials are the application default ones."""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

import google.auth
import httpx
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from google.auth import transport
from google.auth.exceptions import GoogleAuthError, TransportError

from wallet.settlement.signer.errors import SignerUnavailable
from wallet.settlement.signer.kms import http
from wallet.settlement.signer.kms.http import Answer, KmsRefused

_URL: Final = "https://cloudkms.googleapis.com/v1/"
_SCOPE: Final = "https://www.googleapis.com/auth/cloudkms"
_ALGORITHM: Final = "EC_SIGN_SECP256K1_SHA256"


class GoogleKey:
    """A key named by its resource: a version of it for signing, without one for encryption.

    Google cannot see a bit that flips on the way, so every value goes along with its CRC32C, in both
    directions; one that does not fit is asked for again.
    """

    kind: Final = "gcp-kms"

    def __init__(self, name: str) -> None:
        if not name.startswith("projects/") or "/cryptoKeys/" not in name:
            raise KmsRefused(f"A key of Google Cloud KMS is named by projects/..., not {name}.")
        self.name = name
        self._credentials: Any = None

    # --- A key for signing: EC_SIGN_SECP256K1_SHA256

    def public_key(self) -> bytes:
        """In DER, as SubjectPublicKeyInfo."""
        told = self._call("GET", "/publicKey")
        if told["algorithm"] != _ALGORITHM:
            raise KmsRefused(f"{self.name} is a key for {told['algorithm']}, not {_ALGORITHM}.")
        pem = told["pem"].encode()
        _check(told["name"] == self.name and int(told["pemCrc32c"]) == crc32c(pem))
        return load_pem_public_key(pem).public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, digest: bytes) -> bytes:
        """The signature in DER."""
        # The field is named by the length of the digest; Google hashes nothing here.
        request = {
            "digest": {"sha256": _base64(digest)},
            "digestCrc32c": str(crc32c(digest)),
        }
        told = self._call("POST", ":asymmetricSign", request)
        signature = base64.b64decode(told["signature"])
        _check(told["name"] == self.name and told.get("verifiedDigestCrc32c") is True)
        _check(int(told["signatureCrc32c"]) == crc32c(signature))
        return signature

    # --- A key for encryption: GOOGLE_SYMMETRIC_ENCRYPTION

    def encrypt(self, plaintext: bytes, *, context: str) -> bytes:
        told = self._call(
            "POST",
            ":encrypt",
            {
                "plaintext": _base64(plaintext),
                "plaintextCrc32c": str(crc32c(plaintext)),
                **_additional(context),
            },
        )
        ciphertext = base64.b64decode(told["ciphertext"])
        _check(told.get("verifiedPlaintextCrc32c") is True)
        _check(told.get("verifiedAdditionalAuthenticatedDataCrc32c") is True)
        _check(int(told["ciphertextCrc32c"]) == crc32c(ciphertext))
        return ciphertext

    def decrypt(self, ciphertext: bytes, *, context: str) -> bytes:
        told = self._call(
            "POST",
            ":decrypt",
            {
                "ciphertext": _base64(ciphertext),
                "ciphertextCrc32c": str(crc32c(ciphertext)),
                **_additional(context),
            },
        )
        plaintext = base64.b64decode(told["plaintext"])
        _check(int(told["plaintextCrc32c"]) == crc32c(plaintext))
        return plaintext

    def _call(
        self, method: str, action: str, request: Mapping[str, object] | None = None
    ) -> Answer:
        return http.call(
            method,
            f"{_URL}{self.name}{action}",
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self._token()}",
            },
            body=json.dumps(request).encode() if request else None,
        )

    def _token(self) -> str:
        try:
            if self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=[_SCOPE])
            if not self._credentials.valid:
                self._credentials.refresh(_Transport())
        except GoogleAuthError as problem:
            raise SignerUnavailable(f"No credentials for Google Cloud: {problem}") from problem
        token: str = self._credentials.token
        return token


class _Response(transport.Response):
    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def data(self) -> bytes:
        return self._response.content


class _Transport(transport.Request):
    """How google-auth asks for its tokens: by the client that the keys are asked with too."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_others: object,
    ) -> _Response:
        try:
            return _Response(
                http.client().request(
                    method,
                    url,
                    content=body,
                    headers=dict(headers or {}),
                    timeout=timeout or http.PATIENCE,
                )
            )
        except httpx.HTTPError as problem:
            raise TransportError(problem) from problem  # type: ignore[no-untyped-call]


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum, bit by bit: what it is made of here is short."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


def _check(is_as_sent: bool) -> None:
    if not is_as_sent:
        raise SignerUnavailable("What Google Cloud KMS answered was damaged on the way.")


def _additional(context: str) -> dict[str, str]:
    raw = context.encode()
    return {
        "additionalAuthenticatedData": _base64(raw),
        "additionalAuthenticatedDataCrc32c": str(crc32c(raw)),
    }


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
