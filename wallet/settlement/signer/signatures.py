"""secp256k1 signatures as the chain wants them: low s, and the parity that tells whose it is."""

from typing import Final

from coincurve import PrivateKey, PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from wallet.addresses import address_of
from wallet.settlement.calldata import Signature
from wallet.settlement.signer.errors import SigningRefused

ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


def sign(digest: bytes, key: bytes) -> Signature:
    # libsecp256k1 always gives the low s, and its recovery id is the parity.
    signed = PrivateKey(key).sign_recoverable(digest, hasher=None)
    return Signature(
        r=int.from_bytes(signed[:32], "big"),
        s=int.from_bytes(signed[32:64], "big"),
        parity=signed[64],
    )


def from_der(der: bytes, *, digest: bytes, address: str) -> Signature:
    """What a KMS answers: any s, and no word on the parity. Raises SigningRefused if not ours."""
    r, s = decode_dss_signature(der)
    s = min(s, ORDER - s)  # of the two that are valid, contracts and nodes take the lower
    for parity in (0, 1):
        signature = Signature(r=r, s=s, parity=parity)
        if signer_of(digest, signature) == address:
            return signature
    raise SigningRefused(f"The KMS answered with a signature that is not one of {address}.")


def signer_of(digest: bytes, signature: Signature) -> str | None:
    """The address that signed; None of what is no signature at all."""
    if not (0 < signature.r < ORDER and 0 < signature.s < ORDER and signature.parity in (0, 1)):
        return None
    raw = signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big")
    try:
        key = PublicKey.from_signature_and_message(
            raw + bytes([signature.parity]), digest, hasher=None
        )
    except ValueError:  # r is no point of the curve
        return None
    return address_of(key.format())
