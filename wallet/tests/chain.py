"""A bench for the contracts: every actor at hand, and what a transaction did as plain values."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractCustomError
from web3.types import LogReceipt

from kgen.local.devchain import DevChain
from wallet import custody
from wallet.contracts import artifact
from wallet.settlement import calldata
from wallet.settlement.calldata import Item, SignedPermit
from wallet.settlement.chain import error_name
from wallet.settlement.deploying import Contracts
from wallet.settlement.signing import EnvironmentCustodian


def new_id() -> str:
    return "0x" + secrets.token_hex(32)


def new_address() -> str:
    return "0x" + secrets.token_hex(20)


@dataclass(frozen=True)
class Done:
    is_success: bool
    gas_used: int
    # (event, payout id, detail) in the order of the log; detail of a Skipped is "conflict" or ""
    events: list[tuple[str, str, str]]


class Bench:
    def __init__(self, chain: DevChain, contracts: Contracts) -> None:
        self.chain = chain
        self.web3 = Web3(HTTPProvider(chain.url))
        self.kcash = self._contract("KCash", contracts.kcash)
        self.settlement = self._contract("Settlement", contracts.settlement)
        self.admin = Account.from_key(settings.ADMIN_KEY).address
        self.operator = Account.from_key(settings.OPERATOR_KEY).address
        self.float_wallet = settings.FLOAT_ADDRESS
        self.custodian = EnvironmentCustodian()

    # --- What goes in

    def claim(self, to: str, amount: int, *, onchain_id: str | None = None) -> Item:
        return Item(onchain_id or new_id(), self.float_wallet, to, amount, signature=None)

    def payment(
        self, index: int, to: str, amount: int, *, onchain_id: str | None = None, signed_by=None
    ) -> Item:
        """Out of the custodial wallet with this index, signed by it or by another one."""
        onchain_id = onchain_id or new_id()
        signature = self.custodian.sign_payout(
            hd_index=index if signed_by is None else signed_by,
            settlement_address=settings.SETTLEMENT_ADDRESS,
            onchain_id=onchain_id,
            to=to,
            amount=amount,
        )
        return Item(onchain_id, custody.custodial_address(index), to, amount, signature)

    def permit(self, index: int, *, nonce: int = 0) -> SignedPermit:
        return SignedPermit(
            custody.custodial_address(index),
            self.custodian.sign_permit(hd_index=index, nonce=nonce),
        )

    def fund(self, index: int, amount: int) -> str:
        """A custodial wallet that holds this much and has permitted the contract."""
        address = custody.custodial_address(index)
        self.settle([self.claim(address, amount)])
        self.permit_many([self.permit(index)])
        return address

    # --- What is done

    def settle(self, items: Sequence[Item], *, gas: int | None = None, sender=None) -> Done:
        return self.send(sender or self.operator, calldata.settle(items), gas=gas)

    def permit_many(self, permits: Sequence[SignedPermit], *, sender=None) -> Done:
        return self.send(sender or self.operator, calldata.permit_many(permits))

    def transfer(self, to: str, amount: int) -> Done:
        """KCash out of the float wallet, as anybody would send it."""
        owner, payee = map(Web3.to_checksum_address, (self.float_wallet, to))
        return self.call(owner, "transfer", payee, amount, of=self.kcash)

    def call(self, sender: str, function: str, *arguments: Any, of: Any = None) -> Done:
        """A function of Settlement, or of another contract."""
        contract = of or self.settlement
        data = bytes.fromhex(contract.encode_abi(function, args=list(arguments))[2:])
        return self.send(sender, data, to=contract.address)

    def send(
        self, sender: str, data: bytes, *, gas: int | None = None, to: str | None = None
    ) -> Done:
        self.chain.rpc("anvil_impersonateAccount", sender)
        self.chain.rpc("anvil_setBalance", sender, hex(10**24))
        tx_hash = self.chain.rpc(
            "eth_sendTransaction",
            {
                "from": sender,
                "to": to or self.settlement.address,
                "data": "0x" + data.hex(),
                "gas": hex(gas or 16_000_000),
            },
        )
        # anvil mines by itself, but not always before it answers.
        receipt = self.web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)
        return Done(
            is_success=receipt["status"] == 1,
            gas_used=receipt["gasUsed"],
            events=[event for log in receipt["logs"] if (event := self._event(log))],
        )

    def refuses(self, error: str, sender: str, function: str, *arguments: Any) -> None:
        """The call is refused with this Solidity error."""
        with pytest.raises(ContractCustomError) as refused:
            self.settlement.functions[function](*arguments).call({"from": sender})
        assert error_name(bytes.fromhex(str(refused.value.data)[2:10])) == error

    # --- What came out

    def balance(self, address: str) -> int:
        return int(self.kcash.functions.balanceOf(Web3.to_checksum_address(address)).call())

    def allowance(self, index: int) -> int:
        """How much of a custodial wallet's KCash the contract may move."""
        owner = Web3.to_checksum_address(custody.custodial_address(index))
        return int(self.kcash.functions.allowance(owner, self.settlement.address).call())

    def record(self, onchain_id: str) -> bytes:
        return bytes(self.settlement.functions.record(onchain_id).call())

    def today(self) -> int:
        return self.web3.eth.get_block("latest")["timestamp"] // 86_400

    def _event(self, log: LogReceipt) -> tuple[str, str, str] | None:
        for name in ("Settled", "Skipped", "Failed", "Voided"):
            event = self.settlement.events[name]()
            if "0x" + log["topics"][0].hex() == event.topic:
                data = bytes(log["data"])
                detail = ""
                if name == "Skipped" and data[-1]:
                    detail = "conflict"
                if name == "Failed":
                    detail = error_name(data[64:68])
                return name, "0x" + log["topics"][1].hex(), detail
        return None

    def _contract(self, name: str, address: str) -> Any:
        return self.web3.eth.contract(
            address=Web3.to_checksum_address(address), abi=artifact(name)["abi"]
        )
