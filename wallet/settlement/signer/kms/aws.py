"""AWS KMS. Credentials are found as by the AWS command line: environment, profile, role."""

import base64
import json
import os
from collections.abc import Mapping
from typing import Any, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from wallet.settlement.signer.errors import SignerUnavailable
from wallet.settlement.signer.kms import http
from wallet.settlement.signer.kms.http import Answer, KmsRefused

# What KMS answers with 400 although it may well be different in a second.
_PASSING: Final = ("ThrottlingException", "LimitExceededException")


class AwsKey:
    """A key named by its ARN, which tells the region too."""

    kind: Final = "aws-kms"

    def __init__(self, name: str) -> None:
        # arn:aws:kms:eu-central-1:111122223333:key/..., or :alias/...
        parts = name.split(":")
        if len(parts) != 6 or parts[0] != "arn" or parts[2] != "kms":
            raise KmsRefused(f"A key of AWS KMS is named by its ARN, not {name}.")
        self.name = name
        self._region = parts[3]
        self._url = os.environ.get("AWS_ENDPOINT_URL_KMS") or _endpoint(parts[1], parts[3])
        self._credentials: Any = None

    # --- A key for signing: ECC_SECG_P256K1

    def public_key(self) -> bytes:
        """In DER, as SubjectPublicKeyInfo."""
        told = self._call("GetPublicKey", {"KeyId": self.name})
        if (told["KeySpec"], told["KeyUsage"]) != ("ECC_SECG_P256K1", "SIGN_VERIFY"):
            raise KmsRefused(f"{self.name} is a key {told['KeySpec']} to {told['KeyUsage']}.")
        return base64.b64decode(told["PublicKey"])

    def sign(self, digest: bytes) -> bytes:
        """The signature in DER."""
        # The name of the hash is only that of its length: with DIGEST, KMS hashes nothing.
        request = {
            "KeyId": self.name,
            "Message": _base64(digest),
            "MessageType": "DIGEST",
            "SigningAlgorithm": "ECDSA_SHA_256",
        }
        return base64.b64decode(self._call("Sign", request)["Signature"])

    # --- A key for encryption: SYMMETRIC_DEFAULT

    def encrypt(self, plaintext: bytes, *, context: str) -> bytes:
        request = {
            "KeyId": self.name,
            "Plaintext": _base64(plaintext),
            "EncryptionContext": {"sealed": context},
        }
        return base64.b64decode(self._call("Encrypt", request)["CiphertextBlob"])

    def decrypt(self, ciphertext: bytes, *, context: str) -> bytes:
        request = {
            "KeyId": self.name,
            "CiphertextBlob": _base64(ciphertext),
            "EncryptionContext": {"sealed": context},
        }
        return base64.b64decode(self._call("Decrypt", request)["Plaintext"])

    def _call(self, action: str, request: Mapping[str, object]) -> Answer:
        body = json.dumps(request).encode()
        signed = AWSRequest(
            "POST",
            self._url,
            data=body,
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": f"TrentService.{action}",
            },
        )
        try:
            self._credentials = self._credentials or Session().get_credentials()
            if self._credentials is None:
                raise SignerUnavailable("There are no credentials for AWS.")
            frozen = self._credentials.get_frozen_credentials()
        except BotoCoreError as problem:
            raise SignerUnavailable(f"No credentials for AWS: {problem}") from problem
        SigV4Auth(frozen, "kms", self._region).add_auth(signed)
        try:
            return http.call("POST", self._url, headers=dict(signed.headers.items()), body=body)
        except KmsRefused as refusal:
            if any(name in str(refusal) for name in _PASSING):
                raise SignerUnavailable(str(refusal)) from refusal
            raise


def _endpoint(partition: str, region: str) -> str:
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return f"https://kms.{region}.{suffix}/"


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
