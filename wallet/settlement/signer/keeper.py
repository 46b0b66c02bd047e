"""The opened seed, and the two messages that it signs."""

from dataclasses import dataclass

from bip32 import BIP32

from wallet.addresses import CUSTODY_PATH, EXTERNAL, KGEN_PATH, address_of
from wallet.settlement import calldata
from wallet.settlement.calldata import Signature
from wallet.settlement.signer.signatures import sign


@dataclass(frozen=True)
class Terms:
    """The one chain, token and contract that anything is ever signed for."""

    chain_id: int
    kcash_address: str
    settlement_address: str


class Keeper:
    """Signs for custodial wallets. It works out every digest itself and is never given one."""

    def __init__(self, seed: bytes, terms: Terms) -> None:
        tree = BIP32.from_seed(seed)
        self.terms = terms
        self.custody_xpub: str = tree.get_xpub_from_path(CUSTODY_PATH)
        self.kgen_xpub: str = tree.get_xpub_from_path(KGEN_PATH)
        self._branch = BIP32.from_xpriv(tree.get_xpriv_from_path(f"{CUSTODY_PATH}/{EXTERNAL}"))

    def address(self, hd_index: int) -> str:
        return address_of(self._branch.get_pubkey_from_path([hd_index]))

    def key(self, hd_index: int) -> bytes:
        key: bytes = self._branch.get_privkey_from_path([hd_index])
        return key

    def sign_permit(self, *, hd_index: int, nonce: int) -> Signature:
        digest = calldata.permit_digest(
            chain_id=self.terms.chain_id,
            kcash_address=self.terms.kcash_address,
            settlement_address=self.terms.settlement_address,
            owner=self.address(hd_index),
            nonce=nonce,
        )
        return sign(digest, self.key(hd_index))

    def sign_payout(self, *, hd_index: int, onchain_id: str, to: str, amount: int) -> Signature:
        digest = calldata.payout_digest(
            chain_id=self.terms.chain_id,
            settlement_address=self.terms.settlement_address,
            onchain_id=onchain_id,
            from_address=self.address(hd_index),
            to_address=to,
            amount=amount,
        )
        return sign(digest, self.key(hd_index))
