from collections.abc import Iterator

import pytest
from django.conf import settings as django_settings
from eth_account import Account

from kgen.local.devchain import DevChain
from wallet.settlement.deploying import Contracts, deploy
from wallet.tests.chain import Bench
from wallet.tests.settling import Engine


@pytest.fixture(scope="session")
def deployed(anvil: DevChain) -> Contracts:
    return deploy(
        anvil.url,
        admin_key=django_settings.ADMIN_KEY,
        float_key=django_settings.FLOAT_KEY,
        operator_address=Account.from_key(django_settings.OPERATOR_KEY).address,
    )


@pytest.fixture
def bench(deployed: Contracts, dev_chain: DevChain, settings) -> Bench:
    """The contracts, as `deploy_contracts` leaves them; the settings name them."""
    settings.CHAIN_RPC_URL = dev_chain.url
    settings.KCASH_ADDRESS = deployed.kcash
    settings.SETTLEMENT_ADDRESS = deployed.settlement
    return Bench(dev_chain, deployed)


@pytest.fixture
def engine(bench: Bench, db) -> Iterator[Engine]:
    """Settlement on a chain that mines when the test says so."""
    bench.chain.rpc("evm_setAutomine", False)
    yield Engine(bench)
    bench.chain.rpc("evm_setAutomine", True)
