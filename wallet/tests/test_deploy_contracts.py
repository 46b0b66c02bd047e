import json

import pytest
from django.core.management import CommandError, call_command
from eth_account import Account
from web3 import HTTPProvider, Web3

from wallet.settlement.deploying import FLOAT, SUPPLY, Contracts
from wallet.tests.chain import Bench


def deploy(capsys) -> Contracts:
    call_command("deploy_contracts")
    return Contracts(**json.loads(capsys.readouterr().out.splitlines()[-1]))


def test_deploys_contracts_that_are_ready_to_pay(dev_chain, settings, capsys):
    settings.CHAIN_RPC_URL = dev_chain.url

    contracts = deploy(capsys)

    assert contracts.kcash == contracts.kcash.lower()
    settings.KCASH_ADDRESS, settings.SETTLEMENT_ADDRESS = contracts.kcash, contracts.settlement
    bench = Bench(dev_chain, contracts)
    operator = Account.from_key(settings.OPERATOR_KEY).address
    roles = bench.settlement.functions
    assert bench.balance(bench.admin) == SUPPLY - FLOAT
    assert bench.balance(bench.float_wallet) == FLOAT
    assert roles.hasRole(roles.OPERATOR().call(), operator).call()
    assert not roles.hasRole(bytes(32), operator).call()
    assert roles.floatWallet().call().lower() == settings.FLOAT_ADDRESS
    allowance = bench.kcash.functions.allowance(
        Web3.to_checksum_address(bench.float_wallet), bench.settlement.address
    )
    assert allowance.call() == FLOAT


def test_every_lane_may_pay_and_has_gas_money(dev_chain, settings, capsys):
    keys = [settings.OPERATOR_KEY, "0x" + "5a" * 32]
    settings.CHAIN_RPC_URL, settings.OPERATOR_KEYS = dev_chain.url, keys

    bench = Bench(dev_chain, deploy(capsys))

    roles = bench.settlement.functions
    lanes = [Account.from_key(key).address for key in keys]
    assert [roles.hasRole(roles.OPERATOR().call(), lane).call() for lane in lanes] == [True, True]
    assert all(bench.web3.eth.get_balance(lane) == 10**24 for lane in lanes)
    assert not roles.hasRole(roles.OPERATOR().call(), bench.admin).call()


def test_with_addresses_in_the_settings_it_only_looks(bench: Bench, settings, capsys):
    before = bench.web3.eth.block_number

    contracts = deploy(capsys)

    assert contracts == Contracts(settings.KCASH_ADDRESS, settings.SETTLEMENT_ADDRESS)
    assert bench.web3.eth.block_number == before


def test_addresses_without_contracts_are_an_error(bench: Bench, settings):
    settings.SETTLEMENT_ADDRESS = "0x" + "5e" * 20

    with pytest.raises(CommandError, match=r"no contract at .*make reset"):
        call_command("deploy_contracts")


def test_one_address_without_the_other_is_an_error(bench: Bench, settings):
    settings.KCASH_ADDRESS = ""

    with pytest.raises(CommandError, match="KCASH_ADDRESS is not"):
        call_command("deploy_contracts")


def test_no_other_chain_is_deployed_to(dev_chain, settings):
    settings.CHAIN_RPC_URL, settings.CHAIN_ID = dev_chain.url, 137
    web3 = Web3(HTTPProvider(dev_chain.url))
    before = web3.eth.block_number

    with pytest.raises(CommandError, match="chain 31337 only"):
        call_command("deploy_contracts")

    assert web3.eth.block_number == before
