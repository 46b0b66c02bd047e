from eth_account import Account
from eth_account.hdaccount import key_from_seed

from wallet import custody
from wallet.settlement.signer.keeper import Keeper, Terms


def second_opinion(seed: str, path: str) -> str:
    """The address by another implementation of BIP-32."""
    return str(Account.from_key(key_from_seed(bytes.fromhex(seed), path)).address).lower()


def test_the_first_hundred_addresses_agree_with_another_implementation(settings):
    seed = settings.CUSTODY_SEED
    keeper = Keeper(bytes.fromhex(seed), Terms(31337, "", ""))

    assert keeper.custody_xpub == settings.CUSTODY_XPUB
    assert keeper.kgen_xpub == settings.KGEN_XPUB
    for index in range(100):
        custodial = second_opinion(seed, f"m/44'/60'/0'/0/{index}")
        assert custody.custodial_address(index) == custodial
        assert custody.kgen_address(index) == second_opinion(seed, f"m/44'/60'/1'/0/{index}")
        assert keeper.address(index) == custodial
        assert Account.from_key(keeper.key(index)).address.lower() == custodial
