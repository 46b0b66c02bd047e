import pytest
from django.conf import settings as django_settings

from wallet.settlement import chain as chains
from wallet.settlement.verifying import WrongChain, verify
from wallet.tests.chain import Bench, new_address


def check(**changed) -> None:
    named = {
        "chain_id": django_settings.CHAIN_ID,
        "kcash_address": django_settings.KCASH_ADDRESS,
        "settlement_address": django_settings.SETTLEMENT_ADDRESS,
        "float_address": django_settings.FLOAT_ADDRESS,
    }
    verify(chains.connect(), **{**named, **changed})


def set_code(bench: Bench, address: str, code: bytes) -> None:
    bench.chain.rpc("anvil_setCode", address, "0x" + code.hex())


def test_the_chain_with_our_contracts_is_right(bench: Bench):
    check()


def test_another_chain_is_wrong(bench: Bench):
    with pytest.raises(WrongChain, match="The node is on chain 31337, not 137"):
        check(chain_id=137)


@pytest.mark.parametrize("name", ["kcash_address", "settlement_address"])
def test_an_address_without_a_contract_is_wrong(bench: Bench, name):
    empty = new_address()

    with pytest.raises(WrongChain, match=f"no contract at {empty}"):
        check(**{name: empty})


def test_another_contract_at_the_address_is_wrong(bench: Bench):
    with pytest.raises(WrongChain, match="is not the Settlement of this release"):
        check(settlement_address=django_settings.KCASH_ADDRESS)


@pytest.mark.parametrize("contract", ["kcash", "settlement"])
def test_one_other_byte_makes_the_code_wrong(bench: Bench, contract):
    address = getattr(bench, contract).address
    code = bytearray(bench.web3.eth.get_code(address))
    code[100] ^= 1

    set_code(bench, address, bytes(code))

    with pytest.raises(WrongChain, match=f"The contract at {address.lower()} is not"):
        check()


def test_code_with_something_behind_it_is_wrong(bench: Bench):
    address = bench.settlement.address
    set_code(bench, address, bytes(bench.web3.eth.get_code(address)) + b"\0")

    with pytest.raises(WrongChain, match="is not the Settlement of this release"):
        check()


def test_another_float_wallet_is_wrong(bench: Bench):
    other = new_address()

    with pytest.raises(WrongChain, match=f"pays from {bench.float_wallet}, not {other}"):
        check(float_address=other)


def test_another_token_of_the_same_code_is_wrong(bench: Bench):
    twin = new_address()
    set_code(bench, twin, bytes(bench.web3.eth.get_code(bench.kcash.address)))

    with pytest.raises(WrongChain, match=f"not KCash at {twin}"):
        check(kcash_address=twin)
