import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bip32 import BIP32
from eth_account import Account

from kgen.local import dotenv


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*dotenv.NAMES, "CUSTODY_SEED"):
        monkeypatch.delenv(name, raising=False)


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"

    assert dotenv.complete(path)
    first = path.read_text()
    assert not dotenv.complete(path)

    assert path.read_text() == first
    assert set(dotenv.read(path)) == set(dotenv.NAMES)
    assert path.stat().st_mode & 0o777 == 0o600


def test_addresses_belong_to_their_keys(tmp_path: Path) -> None:
    dotenv.complete(tmp_path / ".env")

    values = dotenv.read(tmp_path / ".env")

    sealed = json.loads((tmp_path / dotenv.SEED_FILE).read_text())
    assert values["CUSTODY_XPUB"] == sealed["custody_xpub"]
    assert values["KGEN_XPUB"] == sealed["kgen_xpub"]
    assert values["FLOAT_ADDRESS"] == Account.from_key(values["FLOAT_KEY"]).address.lower()


def test_the_seed_is_sealed_for_its_owner_alone(tmp_path: Path) -> None:
    dotenv.complete(tmp_path / ".env")

    for name in (dotenv.SEED_FILE, dotenv.PASSPHRASE_FILE):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert "CUSTODY_SEED" not in dotenv.read(tmp_path / ".env")
    subprocess.run(  # the passphrase that stands beside it opens it
        [
            *(sys.executable, "-m", "wallet.settlement.signer", "rewrap-seed"),
            *("--file", tmp_path / dotenv.SEED_FILE),
            *("--passphrase-file", tmp_path / dotenv.PASSPHRASE_FILE),
            *("--new-passphrase-file", tmp_path / dotenv.PASSPHRASE_FILE),
        ],
        check=True,
    )


def test_a_start_that_was_broken_off_keeps_the_seed_that_it_made(tmp_path: Path) -> None:
    dotenv.complete(tmp_path / ".env")
    first = dotenv.read(tmp_path / ".env")
    (tmp_path / ".env").unlink()

    dotenv.complete(tmp_path / ".env")

    assert dotenv.read(tmp_path / ".env")["CUSTODY_XPUB"] == first["CUSTODY_XPUB"]


def test_a_bare_seed_of_before_stays_in_use(tmp_path: Path) -> None:
    seed = bytes(range(64)).hex()
    (tmp_path / ".env").write_text(f"CUSTODY_SEED={seed}\n")

    dotenv.complete(tmp_path / ".env")

    values = dotenv.read(tmp_path / ".env")
    tree = BIP32.from_seed(bytes.fromhex(seed))
    assert values["CUSTODY_SEED"] == seed
    assert values["CUSTODY_XPUB"] == tree.get_xpub_from_path("m/44'/60'/0'")
    assert values["KGEN_XPUB"] == tree.get_xpub_from_path("m/44'/60'/1'")
    assert not (tmp_path / dotenv.SEED_FILE).exists()


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("SECRET_KEY=mine\nDATABASE_URL=postgres://elsewhere/kgen\n")

    dotenv.complete(path)

    assert path.read_text().startswith("SECRET_KEY=mine\nDATABASE_URL=postgres://elsewhere/kgen\n")
    assert path.read_text().count("SECRET_KEY=") == 1


def test_no_seed_is_invented_beside_given_public_keys(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("CUSTODY_XPUB=xpub-of-elsewhere\nKGEN_XPUB=xpub-of-elsewhere\n")

    dotenv.complete(path)

    assert "CUSTODY_SEED" not in dotenv.read(path)
    assert not (tmp_path / dotenv.SEED_FILE).exists()


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "demo.env"
    dotenv.write(path, {"A": "1", "B": "2"})

    dotenv.write(path, {"A": "3"})

    assert path.read_text() == "A=3\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["demo.env"]


def test_a_shell_sources_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "demo.env"
    values = {"PLACE": "/home/a gamer/it's here", "URL": "postgres://a:b@127.0.0.1:1/x?y=1&z"}

    dotenv.write(path, values)

    sourced = subprocess.run(
        ["sh", "-c", f'. "{path}"; printf "%s\\n" "$PLACE" "$URL"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sourced.stdout.splitlines() == list(values.values())
    assert dotenv.read(path) == values
