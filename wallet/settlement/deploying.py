"""The contracts on a development chain, with amounts that nobody there will run out of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.types import RPCEndpoint, TxReceipt

from wallet.contracts import artifact

SUPPLY: Final = 100_000_000_000
FLOAT: Final = 10_000_000_000

MAX_ITEMS: Final = 200
BATCH_CAP: Final = 100_000_000
DAY_CAP: Final = 1_000_000_000

_GAS_MONEY: Final = 10**24


@dataclass(frozen=True)
class Contracts:
    """Where they are, in lower case."""

    kcash: str
    settlement: str


def deploy(
    url: str,
    *,
    admin_key: str,
    float_key: str,
    operator_address: str,
    other_operators: Sequence[str] = (),
) -> Contracts:
    """Deploy KCash and Settlement, and make both ready to pay from the float wallet.

    The admin holds the supply and the roles; the float wallet gets its share and lets Settlement
    spend that much of it. Every operator may pay, and gets gas money.
    """
    web3 = Web3(HTTPProvider(url))
    admin: LocalAccount = Account.from_key(admin_key)
    float_wallet: LocalAccount = Account.from_key(float_key)
    for address in (admin.address, float_wallet.address, operator_address, *other_operators):
        answer = web3.provider.make_request(
            RPCEndpoint("hardhat_setBalance"), [address, hex(_GAS_MONEY)]
        )
        if "error" in answer:
            raise RuntimeError(f"this node cannot give {address} gas money: {answer['error']}")

    kcash = _create(web3, admin, "KCash", admin.address, SUPPLY)
    _send(web3, admin, kcash.functions.transfer(float_wallet.address, FLOAT).build_transaction)
    settlement = deploy_settlement(
        url,
        kcash=kcash.address,
        admin_key=admin_key,
        float_key=float_key,
        operator_address=operator_address,
        other_operators=other_operators,
    )
    return Contracts(kcash=kcash.address.lower(), settlement=settlement)


def deploy_settlement(
    url: str,
    *,
    kcash: str,
    admin_key: str,
    float_key: str,
    operator_address: str,
    other_operators: Sequence[str] = (),
) -> str:
    """Deploy a Settlement of its own for a KCash that is there, and make it ready to pay."""
    web3 = Web3(HTTPProvider(url))
    admin: LocalAccount = Account.from_key(admin_key)
    float_wallet: LocalAccount = Account.from_key(float_key)
    token = web3.eth.contract(address=Web3.to_checksum_address(kcash), abi=artifact("KCash")["abi"])
    caps = (BATCH_CAP, DAY_CAP)
    settlement = _create(
        web3,
        admin,
        "Settlement",
        token.address,
        float_wallet.address,
        admin.address,
        MAX_ITEMS,
        caps,
        caps,
    )
    operators = [operator_address, *other_operators]
    for role, holders in (("OPERATOR", operators), ("GUARDIAN", [admin.address])):
        granted = settlement.functions[role]().call()
        for holder in map(Web3.to_checksum_address, holders):
            _send(web3, admin, settlement.functions.grantRole(granted, holder).build_transaction)
    _send(web3, float_wallet, token.functions.approve(settlement.address, FLOAT).build_transaction)
    return str(settlement.address).lower()


def chain_id(url: str) -> int:
    return int(Web3(HTTPProvider(url)).eth.chain_id)


def _create(web3: Web3, account: LocalAccount, name: str, *arguments: Any) -> Contract:
    compiled = artifact(name)
    factory = web3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
    receipt = _send(web3, account, factory.constructor(*arguments).build_transaction)
    return factory(receipt["contractAddress"])


def _send(web3: Web3, account: LocalAccount, build: Callable[..., Any]) -> TxReceipt:
    transaction: dict[str, Any] = build(
        {"from": account.address, "nonce": web3.eth.get_transaction_count(account.address)}
    )
    signed = account.sign_transaction(transaction)
    tx_hash = web3.eth.send_raw_transaction(signed.raw_transaction)
    receipt = web3.eth.wait_for_transaction_receipt(tx_hash, timeout=30, poll_latency=0.05)
    if receipt["status"] != 1:
        raise RuntimeError(f"deployment transaction {tx_hash.hex()} failed")
    return receipt
