"""Our few lines of ABI and EIP-712 against web3 and eth_account, which know all of both."""

from uuid import UUID

import pytest
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from web3 import Web3

from wallet import custody
from wallet.contracts import artifact
from wallet.settlement import calldata
from wallet.settlement.calldata import Item, SignedPermit
from wallet.settlement.signing import (
    EnvironmentCustodian,
    EnvironmentKeysRefused,
    EnvironmentOperator,
)
from wallet.tests.chain import new_address, new_id

SETTLEMENT = "0x" + "5e" * 20
KCASH = "0x" + "ca" * 20


@pytest.fixture(autouse=True)
def _contracts(settings):
    settings.SETTLEMENT_ADDRESS, settings.KCASH_ADDRESS = SETTLEMENT, KCASH


def abi_encoded(function: str, *arguments) -> bytes:
    contract = Web3().eth.contract(abi=artifact("Settlement")["abi"])
    return bytes.fromhex(contract.encode_abi(function, args=list(arguments))[2:])


def checksum(address: str) -> str:
    return Web3.to_checksum_address(address)


def test_settle_is_encoded_as_the_abi_says():
    signature = EnvironmentCustodian().sign_payout(
        hd_index=1, settlement_address=SETTLEMENT, onchain_id=new_id(), to=KCASH, amount=1
    )
    items = [
        Item(new_id(), new_address(), new_address(), 70, signature=None),
        Item(new_id(), new_address(), new_address(), 2**200, signature),
    ]

    vs = signature.parity << 255 | signature.s
    structs = [
        (item.onchain_id, checksum(item.from_address), checksum(item.to_address), item.amount)
        + ((bytes(32), bytes(32)) if item.signature is None else words(signature.r, vs))
        for item in items
    ]
    assert calldata.settle(items) == abi_encoded("settle", structs)


def test_permit_many_is_encoded_as_the_abi_says():
    signature = EnvironmentCustodian().sign_permit(hd_index=1, nonce=0)
    permit = SignedPermit(new_address(), signature)

    struct = (
        checksum(permit.owner),
        calldata.PERMIT_VALUE,
        calldata.PERMIT_DEADLINE,
        27 + signature.parity,
        *words(signature.r, signature.s),
    )
    assert calldata.permit_many([permit, permit]) == abi_encoded("permitMany", [struct, struct])


def test_a_payout_is_signed_as_eip_712_says(settings):
    onchain_id, to = new_id(), new_address()

    signature = EnvironmentCustodian().sign_payout(
        hd_index=7, settlement_address=SETTLEMENT, onchain_id=onchain_id, to=to, amount=70
    )

    message = typed_data(
        name="Settlement",
        contract=SETTLEMENT,
        chain_id=settings.CHAIN_ID,
        primary="Payout",
        fields={"id": "bytes32", "from": "address", "to": "address", "amount": "uint256"},
        values={
            "id": onchain_id,
            "from": checksum(custody.custodial_address(7)),
            "to": checksum(to),
            "amount": 70,
        },
    )
    assert signer_of(message, signature) == custody.custodial_address(7)


def test_a_permit_is_signed_as_eip_2612_says(settings):
    signature = EnvironmentCustodian().sign_permit(hd_index=7, nonce=3)

    message = typed_data(
        name="KCash",
        contract=KCASH,
        chain_id=settings.CHAIN_ID,
        primary="Permit",
        fields={
            "owner": "address",
            "spender": "address",
            "value": "uint256",
            "nonce": "uint256",
            "deadline": "uint256",
        },
        values={
            "owner": checksum(custody.custodial_address(7)),
            "spender": checksum(SETTLEMENT),
            "value": 2**256 - 1,
            "nonce": 3,
            "deadline": 2**48,
        },
    )
    assert signer_of(message, signature) == custody.custodial_address(7)


def test_an_onchain_id_names_one_payout_on_one_chain_in_one_contract():
    payout = UUID("0193c1d2-7c1e-7c55-9a3e-5f0d6b2f1a77")
    names = {
        calldata.onchain_id(chain_id=chain, settlement_address=contract, payout_uid=uid)
        for chain in (31337, 137)
        for contract in (SETTLEMENT, KCASH)
        for uid in (payout, UUID(int=payout.int + 1))
    }

    assert len(names) == 8
    assert calldata.onchain_id(
        chain_id=31337, settlement_address=SETTLEMENT, payout_uid=payout
    ) == calldata.onchain_id(chain_id=31337, settlement_address=SETTLEMENT, payout_uid=payout)


@pytest.mark.parametrize("keeper", [EnvironmentOperator, EnvironmentCustodian])
def test_keys_out_of_the_environment_are_refused_on_a_mainnet(settings, keeper):
    settings.CHAIN_ID = 137

    with pytest.raises(EnvironmentKeysRefused):
        keeper()


def words(*numbers: int) -> tuple[bytes, ...]:
    return tuple(number.to_bytes(32, "big") for number in numbers)


def typed_data(*, name, contract, chain_id, primary, fields, values):
    return encode_typed_data(
        {
            "name": name,
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": checksum(contract),
        },
        {primary: [{"name": field, "type": kind} for field, kind in fields.items()]},
        values,
    )


def signer_of(message, signature: calldata.Signature) -> str:
    digest = _hash_eip191_message(message)
    vrs = (27 + signature.parity, signature.r, signature.s)
    return str(Account._recover_hash(digest, vrs=vrs)).lower()
