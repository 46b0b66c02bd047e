"""AWS KMS and Google Cloud KMS as their API references record them, with a key that we know.

Each double checks what it is asked and answers in the recorded shape, values computed from the key
by another implementation than ours. Neither has been compared with a live account.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import respx
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wallet.settlement.signer.kms.google import crc32c
from wallet.settlement.signer.signatures import ORDER

AWS_SIGNING = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
AWS_SEALING = "arn:aws:kms:eu-central-1:111122223333:alias/seed"
GOOGLE_RING = "projects/p/locations/europe-west3/keyRings/kgen/cryptoKeys/"
GOOGLE_SIGNING = GOOGLE_RING + "operator/cryptoKeyVersions/1"
GOOGLE_SEALING = GOOGLE_RING + "seed"

Answers = Callable[[dict[str, Any]], dict[str, Any]]


class Hsm:
    """What both clouds have inside: a secp256k1 key, and one for encryption."""

    def __init__(self, key: str = "0b" * 32, *, high_s: bool = False) -> None:
        self.key = ec.derive_private_key(int(key, 16), ec.SECP256K1())
        self.high_s = high_s

    def public_key(self, encoding: Encoding) -> bytes:
        return self.key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, digest: bytes) -> bytes:
        """In DER; with s in the half that was asked for, as an HSM may choose either."""
        r, s = utils.decode_dss_signature(
            self.key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256())))
        )
        low = min(s, ORDER - s)
        return utils.encode_dss_signature(r, ORDER - low if self.high_s else low)

    @staticmethod
    def encrypt(plaintext: bytes, context: object) -> bytes:
        return b"wrapped:" + json.dumps(context).encode() + b":" + plaintext

    @staticmethod
    def decrypt(ciphertext: bytes, context: object) -> bytes | None:
        prefix = b"wrapped:" + json.dumps(context).encode() + b":"
        return ciphertext.removeprefix(prefix) if ciphertext.startswith(prefix) else None


class Aws:
    """POST to one URL, the action in a header; AWS JSON 1.1."""

    URL = "https://kms.eu-central-1.amazonaws.com/"

    def __init__(self, hsm: Hsm) -> None:
        self.hsm = hsm
        self.requests: list[httpx.Request] = []
        respx.post(self.URL).mock(side_effect=self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert request.headers["content-type"] == "application/x-amz-json-1.1"
        service, action = request.headers["x-amz-target"].split(".")
        assert service == "TrentService"
        answers: dict[str, Answers] = {
            "GetPublicKey": self._public_key,
            "Sign": self._sign,
            "Encrypt": self._encrypt,
            "Decrypt": self._decrypt,
        }
        try:
            told = answers[action](json.loads(request.content))
        except PermissionError as refusal:
            return aws_error(str(refusal), "")
        return httpx.Response(200, json=told)

    def _public_key(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked == {"KeyId": AWS_SIGNING}
        return {
            "CustomerMasterKeySpec": "ECC_SECG_P256K1",
            "KeyId": AWS_SIGNING,
            "KeySpec": "ECC_SECG_P256K1",
            "KeyUsage": "SIGN_VERIFY",
            "PublicKey": text(self.hsm.public_key(Encoding.DER)),
            "SigningAlgorithms": ["ECDSA_SHA_256"],
        }

    def _sign(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["KeyId"] == AWS_SIGNING
        assert (asked["MessageType"], asked["SigningAlgorithm"]) == ("DIGEST", "ECDSA_SHA_256")
        return {
            "KeyId": AWS_SIGNING,
            "Signature": text(self.hsm.sign(base64.b64decode(asked["Message"]))),
            "SigningAlgorithm": "ECDSA_SHA_256",
        }

    def _encrypt(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["KeyId"] == AWS_SEALING
        plaintext = base64.b64decode(asked["Plaintext"])
        return {
            "CiphertextBlob": text(self.hsm.encrypt(plaintext, asked["EncryptionContext"])),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": AWS_SEALING,
        }

    def _decrypt(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["KeyId"] == AWS_SEALING
        ciphertext = base64.b64decode(asked["CiphertextBlob"])
        plaintext = self.hsm.decrypt(ciphertext, asked["EncryptionContext"])
        if plaintext is None:
            raise PermissionError("InvalidCiphertextException")
        return {
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": AWS_SEALING,
            "Plaintext": text(plaintext),
        }


def aws_error(name: str, message: str, *, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"__type": name, "message": message})


class Google:
    """A URL for each action of each key; checksums go both ways."""

    URL = "https://cloudkms.googleapis.com/v1/"

    def __init__(self, hsm: Hsm) -> None:
        self.hsm = hsm
        self.damaged: dict[str, Any] = {}  # fields of the answers that come wrong
        respx.get(f"{self.URL}{GOOGLE_SIGNING}/publicKey").mock(
            side_effect=self._answering(self._public_key)
        )
        respx.post(f"{self.URL}{GOOGLE_SIGNING}:asymmetricSign").mock(
            side_effect=self._answering(self._sign)
        )
        respx.post(f"{self.URL}{GOOGLE_SEALING}:encrypt").mock(
            side_effect=self._answering(self._encrypt)
        )
        respx.post(f"{self.URL}{GOOGLE_SEALING}:decrypt").mock(
            side_effect=self._answering(self._decrypt)
        )

    def _answering(self, answer: Answers) -> Callable[[httpx.Request], httpx.Response]:
        def answering(request: httpx.Request) -> httpx.Response:
            assert request.headers["authorization"] == "Bearer ya29.of-tests"
            asked = json.loads(request.content) if request.content else {}
            try:
                return httpx.Response(200, json=answer(asked) | self.damaged)
            except PermissionError:
                return google_error(400, "INVALID_ARGUMENT", "Decryption failed")

        return answering

    def _public_key(self, asked: dict[str, Any]) -> dict[str, Any]:
        pem = self.hsm.public_key(Encoding.PEM)
        return {
            "pem": pem.decode(),
            "algorithm": "EC_SIGN_SECP256K1_SHA256",
            "pemCrc32c": str(crc32c(pem)),
            "name": GOOGLE_SIGNING,
            "protectionLevel": "HSM",
        }

    def _sign(self, asked: dict[str, Any]) -> dict[str, Any]:
        digest = base64.b64decode(asked["digest"]["sha256"])
        assert asked["digestCrc32c"] == str(crc32c(digest))
        signature = self.hsm.sign(digest)
        return {
            "signature": text(signature),
            "signatureCrc32c": str(crc32c(signature)),
            "verifiedDigestCrc32c": True,
            "name": GOOGLE_SIGNING,
            "protectionLevel": "HSM",
        }

    def _encrypt(self, asked: dict[str, Any]) -> dict[str, Any]:
        plaintext = base64.b64decode(asked["plaintext"])
        assert asked["plaintextCrc32c"] == str(crc32c(plaintext))
        ciphertext = self.hsm.encrypt(plaintext, self._additional(asked))
        return {
            "name": f"{GOOGLE_SEALING}/cryptoKeyVersions/1",
            "ciphertext": text(ciphertext),
            "ciphertextCrc32c": str(crc32c(ciphertext)),
            "verifiedPlaintextCrc32c": True,
            "verifiedAdditionalAuthenticatedDataCrc32c": True,
            "protectionLevel": "HSM",
        }

    def _decrypt(self, asked: dict[str, Any]) -> dict[str, Any]:
        ciphertext = base64.b64decode(asked["ciphertext"])
        assert asked["ciphertextCrc32c"] == str(crc32c(ciphertext))
        plaintext = self.hsm.decrypt(ciphertext, self._additional(asked))
        if plaintext is None:
            raise PermissionError
        return {
            "plaintext": text(plaintext),
            "plaintextCrc32c": str(crc32c(plaintext)),
            "usedPrimary": True,
            "protectionLevel": "HSM",
        }

    @staticmethod
    def _additional(asked: dict[str, Any]) -> str:
        additional = base64.b64decode(asked["additionalAuthenticatedData"])
        assert asked["additionalAuthenticatedDataCrc32c"] == str(crc32c(additional))
        return additional.decode()


def google_error(code: int, status: str, message: str) -> httpx.Response:
    return httpx.Response(
        code, json={"error": {"code": code, "message": message, "status": status}}
    )


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
