from eth_account import Account
from eth_account.hdaccount import key_from_seed

from wallet import custody
from wallet.settlement.signing import custodial_key


def second_opinion(seed: str, path: str) -> str:
    """The address by another implementation of BIP-32."""
    return str(Account.from_key(key_from_seed(bytes.fromhex(seed), path)).address).lower()


def test_the_first_hundred_addresses_agree_with_another_implementation(settings):
    seed = settings.CUSTODY_SEED

    for index in range(100):
        custodial = second_opinion(seed, f"m/44'/60'/0'/0/{index}")
        assert custody.custodial_address(index) == custodial
        assert custody.kgen_address(index) == second_opinion(seed, f"m/44'/60'/1'/0/{index}")
        assert Account.from_key(custodial_key(index)).address.lower() == custodial
