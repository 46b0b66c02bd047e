from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from django.conf import settings as django_settings
from django.db import connection
from eth_account import Account

from kgen.common.database_roles import owner_settings
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


@pytest.fixture
def owner(committed_database) -> Iterator[Any]:
    """The owner's login, which can switch the triggers off."""
    login = owner_settings(connection.settings_dict)
    opened = psycopg2.connect(
        user=login["USER"],
        password=login["PASSWORD"],
        host=login["HOST"],
        port=login["PORT"],
        dbname=connection.settings_dict["NAME"],
    )
    opened.autocommit = True
    yield opened
    opened.close()
