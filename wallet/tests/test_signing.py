"""The operators that the settings name, and the transactions that they sign."""

import json
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from wallet.settlement import signing
from wallet.settlement.networks import UnknownNetwork
from wallet.settlement.signing import (
    EnvironmentKeysRefused,
    EnvironmentOperator,
    OperatorKeyUnusable,
)

KEY, OTHER_KEY = "0a" * 32, "0b" * 32


@pytest.fixture
def keystore(settings, tmp_path: Path) -> Path:
    """A keystore as another implementation writes it, with cheap scrypt."""
    (tmp_path / "password").write_text("of tests\n")
    settings.OPERATOR_PASSWORD_FILE = str(tmp_path / "password")
    encrypted = Account.encrypt(bytes.fromhex(KEY), "of tests", kdf="scrypt", iterations=2)
    (tmp_path / "operator.json").write_text(json.dumps(encrypted))
    return tmp_path / "operator.json"


def address_of(key: str) -> str:
    return str(Account.from_key(key).address).lower()


def test_a_transaction_is_signed_byte_for_byte_as_by_another_implementation(settings):
    signed = EnvironmentOperator(KEY).sign_call(
        nonce=0, to="0x" + "70" * 20, data=b"\x00\x01" * 50, gas=260_000, max_fee=9, priority_fee=0
    )

    theirs = Account.sign_transaction(
        {
            "type": 2,
            "chainId": settings.CHAIN_ID,
            "nonce": 0,
            "to": bytes.fromhex("70" * 20),
            "value": 0,
            "data": b"\x00\x01" * 50,
            "gas": 260_000,
            "maxFeePerGas": 9,
            "maxPriorityFeePerGas": 0,
        },
        KEY,
    )
    assert signed.raw == bytes(theirs.raw_transaction)
    assert signed.tx_hash == "0x" + theirs.hash.hex()
    assert TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()["nonce"] == 0


def test_without_several_keys_the_one_is_the_lane(settings):
    settings.OPERATOR_KEYS, settings.OPERATOR_KEY = [], KEY

    assert [operator.address for operator in signing.operators()] == [address_of(KEY)]


def test_each_key_is_a_lane_in_the_order_of_the_settings(settings, keystore: Path):
    settings.OPERATOR_KEYS = [OTHER_KEY, f"keystore:{keystore}"]

    operators = signing.operators()

    assert [operator.address for operator in operators] == [address_of(OTHER_KEY), address_of(KEY)]
    assert signing.operators() == operators  # opened once: scrypt is slow by design


@pytest.mark.parametrize("chain_id", [56, 137, 8217])
def test_bare_keys_are_refused_on_a_mainnet(settings, chain_id):
    settings.OPERATOR_KEYS, settings.CHAIN_ID = [KEY], chain_id

    with pytest.raises(EnvironmentKeysRefused):
        signing.operators()


def test_bare_keys_are_refused_on_a_chain_that_nobody_knows(settings):
    settings.OPERATOR_KEYS, settings.CHAIN_ID = [KEY], 1

    with pytest.raises(UnknownNetwork):
        signing.operators()


def test_a_keystore_is_good_enough_for_a_mainnet(settings, keystore: Path):
    settings.OPERATOR_KEYS, settings.CHAIN_ID = [f"keystore:{keystore}"], 137

    assert [operator.address for operator in signing.operators()] == [address_of(KEY)]


def test_a_keystore_with_another_password_says_which_file_does_not_fit(
    settings, keystore: Path, tmp_path: Path
):
    (tmp_path / "password").write_text("another")
    settings.OPERATOR_KEYS = [f"keystore:{keystore}"]

    with pytest.raises(OperatorKeyUnusable, match=f"{tmp_path}/password is not its password"):
        signing.operators()


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "OPERATOR_KEY is no private key"),
        ("0a" * 31, "OPERATOR_KEY is no private key"),
        ("not hexadecimal", "OPERATOR_KEY is no private key"),
        ("keystore:/nowhere/operator.json", "No such file"),
        ("vault:operator", "An operator's key is a keystore, aws-kms or gcp-kms, not vault."),
    ],
)
def test_a_key_that_leads_nowhere_is_named(settings, keystore: Path, key, reason):
    settings.OPERATOR_KEYS, settings.OPERATOR_KEY = [key], ""

    with pytest.raises(OperatorKeyUnusable, match=reason):
        signing.operators()


def test_a_mistyped_key_is_not_repeated(settings):
    settings.OPERATOR_KEYS = ["0a" * 31 + "0"]

    with pytest.raises(OperatorKeyUnusable) as refusal:
        signing.operators()

    assert "0a0a" not in str(refusal.value)
