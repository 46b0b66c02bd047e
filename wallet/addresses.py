"""Addresses out of public keys. Nothing here reads a setting or a row."""

from functools import cache
from typing import Final

from bip32 import BIP32
from coincurve import PublicKey
from eth_hash.auto import keccak

# Accounts 0 and 1 of the Ethereum branch (BIP-44): what gamers hold in a game, and KGeN wallets.
CUSTODY_PATH: Final = "m/44'/60'/0'"
KGEN_PATH: Final = "m/44'/60'/1'"

# The branch of addresses that are handed out, as in every wallet that follows BIP-44.
EXTERNAL: Final = 0


def address_of(public_key: bytes) -> str:
    """The address of a secp256k1 public key, in either of its encodings; lower case."""
    uncompressed = PublicKey(public_key).format(compressed=False)
    return "0x" + keccak(uncompressed[1:])[-20:].hex()


def child_address(account_xpub: str, index: int) -> str:
    """The address that was handed out under this index, by the account's public half; lower case."""
    return address_of(_external_branch(account_xpub).get_pubkey_from_path([index]))


@cache
def _external_branch(account_xpub: str) -> BIP32:
    account = BIP32.from_xpub(account_xpub)
    return BIP32.from_xpub(account.get_xpub_from_path([EXTERNAL]))
