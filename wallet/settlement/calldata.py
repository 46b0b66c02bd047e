"""Calls to the Settlement contract as bytes, and the hashes that its signatures are made over.

Every argument is an array of things of fixed size, so the ABI encoding is words in a row; that is
all of the ABI that is needed here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from eth_hash.auto import keccak

Word: TypeAlias = int | str | bytes

_ONCHAIN_ID_DOMAIN: Final = keccak(b"KGeN payout v1")
_DOMAIN_TYPE: Final = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_PAYOUT_TYPE: Final = keccak(b"Payout(bytes32 id,address from,address to,uint256 amount)")
_PERMIT_TYPE: Final = keccak(
    b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)

# One permit for good: a wallet is asked once, and who may move its KCash is checked per payout.
PERMIT_VALUE: Final = 2**256 - 1
PERMIT_DEADLINE: Final = 2**48


@dataclass(frozen=True)
class Signature:
    """A secp256k1 signature with low s; `parity` is 0 or 1."""

    r: int
    s: int
    parity: int


@dataclass(frozen=True)
class Item:
    """One payout as the contract is told of it; only payments out of the float go unsigned."""

    onchain_id: str
    from_address: str
    to_address: str
    amount: int
    signature: Signature | None


@dataclass(frozen=True)
class SignedPermit:
    owner: str
    signature: Signature


def onchain_id(*, chain_id: int, settlement_address: str, payout_uid: UUID) -> str:
    """The name of a payout on the chain: unique to this chain and this contract."""
    return _hex(keccak(_words(_ONCHAIN_ID_DOMAIN, chain_id, settlement_address, payout_uid.int)))


def settle(items: Sequence[Item]) -> bytes:
    structs = []
    for item in items:
        r, vs = 0, 0
        if item.signature is not None:
            # EIP-2098: the parity bit rides on top of s, which is never that large.
            r, vs = item.signature.r, item.signature.parity << 255 | item.signature.s
        structs.append(
            _words(item.onchain_id, item.from_address, item.to_address, item.amount, r, vs)
        )
    return _call(
        "settle((bytes32,address,address,uint256,bytes32,bytes32)[])", len(items), b"".join(structs)
    )


def permit_many(permits: Sequence[SignedPermit]) -> bytes:
    structs = [
        _words(
            permit.owner,
            PERMIT_VALUE,
            PERMIT_DEADLINE,
            27 + permit.signature.parity,
            permit.signature.r,
            permit.signature.s,
        )
        for permit in permits
    ]
    return _call(
        "permitMany((address,uint256,uint256,uint8,bytes32,bytes32)[])",
        len(permits),
        b"".join(structs),
    )


def void_ids(onchain_ids: Sequence[str]) -> bytes:
    return _call("voidIds(bytes32[])", len(onchain_ids), _words(*onchain_ids))


def records_of(onchain_ids: Sequence[str]) -> bytes:
    return _call("recordsOf(bytes32[])", len(onchain_ids), _words(*onchain_ids))


def view(function: str, *arguments: Word) -> bytes:
    """A question whose arguments, if it has any, are a word each."""
    return selector(function) + _words(*arguments)


def selector(signature: str) -> bytes:
    """How a call or an error names its function: the first four bytes of the signature's hash."""
    return keccak(signature.encode())[:4]


def payout_digest(
    *,
    chain_id: int,
    settlement_address: str,
    onchain_id: str,
    from_address: str,
    to_address: str,
    amount: int,
) -> bytes:
    """What the payer of a payout signs (EIP-712)."""
    domain = _domain("Settlement", chain_id, settlement_address)
    message = keccak(_words(_PAYOUT_TYPE, onchain_id, from_address, to_address, amount))
    return keccak(b"\x19\x01" + domain + message)


def permit_digest(
    *, chain_id: int, kcash_address: str, settlement_address: str, owner: str, nonce: int
) -> bytes:
    """What a wallet signs to let the Settlement contract move its KCash (EIP-2612)."""
    domain = _domain("KCash", chain_id, kcash_address)
    message = keccak(
        _words(_PERMIT_TYPE, owner, settlement_address, PERMIT_VALUE, nonce, PERMIT_DEADLINE)
    )
    return keccak(b"\x19\x01" + domain + message)


def _domain(name: str, chain_id: int, contract: str) -> bytes:
    return keccak(_words(_DOMAIN_TYPE, keccak(name.encode()), keccak(b"1"), chain_id, contract))


def _call(function: str, length: int, body: bytes) -> bytes:
    # One dynamic argument: where it starts, how many elements, the elements.
    return selector(function) + _words(32, length) + body


def _words(*values: Word) -> bytes:
    return b"".join(_word(value) for value in values)


def _word(value: Word) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(32, "big")
    raw = bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else value
    return raw.rjust(32, b"\0")


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
