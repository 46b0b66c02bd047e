"""The seed at rest, and the two commands that make and rewrap its file."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wallet.settlement.signer import sealing
from wallet.settlement.signer.keeper import Keeper, Terms
from wallet.settlement.signer.sealing import CannotOpen, Passphrase, SealedSeed

SEED = bytes(range(64))


@pytest.fixture(autouse=True)
def _cheap_scrypt(monkeypatch) -> None:
    monkeypatch.setattr(sealing, "SCRYPT_COST", 2**4)


def sealed_by(passphrase: bytes) -> SealedSeed:
    return sealing.seal(
        SEED, custody_xpub="xpub-c", kgen_xpub="xpub-k", wrapper=Passphrase(passphrase)
    )


def run(*arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "wallet.settlement.signer", *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )


def test_a_sealed_seed_opens_with_its_passphrase_alone():
    sealed = sealed_by(b"right")

    assert sealing.open_seed(sealed, Passphrase(b"right")) == SEED
    with pytest.raises(CannotOpen, match="The passphrase is wrong"):
        sealing.open_seed(sealed, Passphrase(b"wrong"))


def test_nothing_of_the_seed_is_in_the_file(tmp_path: Path):
    sealing.write_new(tmp_path / "seed.json", sealed_by(b"right"))

    text = (tmp_path / "seed.json").read_text()

    assert SEED.hex() not in text
    assert all(SEED[start : start + 8].hex() not in text for start in range(57))
    assert stat.S_IMODE((tmp_path / "seed.json").stat().st_mode) == 0o600


def test_a_file_is_read_as_it_was_written(tmp_path: Path):
    sealed = sealed_by(b"right")

    sealing.write_new(tmp_path / "seed.json", sealed)

    assert sealing.read(tmp_path / "seed.json") == sealed


def test_a_seed_is_never_written_over(tmp_path: Path):
    first = sealed_by(b"right")
    sealing.write_new(tmp_path / "seed.json", first)

    with pytest.raises(FileExistsError):
        sealing.write_new(tmp_path / "seed.json", sealed_by(b"right"))

    assert sealing.read(tmp_path / "seed.json") == first


def test_each_sealing_has_keys_and_nonces_of_its_own():
    first, second = sealed_by(b"right"), sealed_by(b"right")

    assert first.nonce != second.nonce
    assert first.ciphertext != second.ciphertext
    assert first.wrapped_key["salt"] != second.wrapped_key["salt"]
    assert first.wrapped_key["nonce"] != second.wrapped_key["nonce"]


@pytest.mark.parametrize("name", ["custody_xpub", "kgen_xpub"])
def test_a_seed_does_not_open_under_the_public_keys_of_another(name):
    changed: dict[str, Any] = {name: "xpub-of-another"}
    forged = replace(sealed_by(b"right"), **changed)

    with pytest.raises(CannotOpen, match="the file has been changed"):
        sealing.open_seed(forged, Passphrase(b"right"))


@pytest.mark.parametrize("name", ["nonce", "ciphertext"])
def test_a_flipped_bit_is_noticed(name):
    sealed = sealed_by(b"right")
    value = getattr(sealed, name)

    with pytest.raises(CannotOpen):
        sealing.open_seed(
            replace(sealed, **{name: bytes([value[0] ^ 1]) + value[1:]}), Passphrase(b"right")
        )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no sealed seed"),
        ("[]", "holds no sealed seed"),
        ('{"format": "kgen-seed/1"}', "holds no sealed seed"),
        ('{"format": "kgen-seed/9"}', "unknown format kgen-seed/9"),
    ],
)
def test_another_file_is_told_apart(tmp_path: Path, text, reason):
    (tmp_path / "seed.json").write_text(text)

    with pytest.raises(CannotOpen, match=reason):
        sealing.read(tmp_path / "seed.json")


def test_rewrapped_it_opens_with_the_new_passphrase_alone_and_is_the_same_seed():
    old = sealed_by(b"old")

    new = sealing.rewrap(old, old=Passphrase(b"old"), new=Passphrase(b"new"))

    assert new.ciphertext == old.ciphertext
    assert sealing.open_seed(new, Passphrase(b"new")) == SEED
    with pytest.raises(CannotOpen):
        sealing.open_seed(new, Passphrase(b"old"))


def test_the_commands_make_and_rewrap_a_file_and_never_tell_the_seed(tmp_path: Path):
    file, old, new = tmp_path / "seed.json", tmp_path / "old", tmp_path / "new"
    old.write_text("old\n")
    new.write_text("new\n")

    made = run("make-seed", "--file", file, "--passphrase-file", old)
    again = run("make-seed", "--file", file, "--passphrase-file", old)
    wrong = run(
        "rewrap-seed", "--file", file, "--passphrase-file", new, "--new-passphrase-file", new
    )
    rewrapped = run(
        "rewrap-seed", "--file", file, "--passphrase-file", old, "--new-passphrase-file", new
    )

    seed = sealing.open_seed(sealing.read(file), Passphrase(b"new"))
    keeper = Keeper(seed, Terms(31337, "", ""))
    assert (made.returncode, made.stderr) == (0, "")
    assert json.loads(made.stdout) == {
        "CUSTODY_XPUB": keeper.custody_xpub,
        "KGEN_XPUB": keeper.kgen_xpub,
    }
    assert len(seed) == 64
    assert again.returncode == 1
    assert again.stderr == f"{file} is there already, and a seed is never written over.\n"
    assert wrong.returncode == 1
    assert wrong.stderr == "The passphrase is wrong, or the file has been changed.\n"
    assert (rewrapped.returncode, rewrapped.stdout, rewrapped.stderr) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old", "seed.json"]
    assert json.loads(file.read_text())["wrapped_key"]["cost"] == 2**17


@pytest.mark.parametrize(
    ("given", "reason"), [("", "holds no seed"), ("00" * 8, "holds no seed"), ("xy", "no seed")]
)
def test_what_is_no_seed_is_not_sealed(tmp_path: Path, given, reason):
    (tmp_path / "passphrase").write_text("of tests")

    made = run(
        *("make-seed", "--from-stdin", "--file", tmp_path / "seed.json"),
        *("--passphrase-file", tmp_path / "passphrase"),
        given=given,
    )

    assert made.returncode == 1
    assert reason in made.stderr
    assert not (tmp_path / "seed.json").exists()


def test_an_empty_passphrase_is_none(tmp_path: Path):
    (tmp_path / "passphrase").write_text("\n")

    made = run(
        *("make-seed", "--file", tmp_path / "seed.json"),
        *("--passphrase-file", tmp_path / "passphrase"),
    )

    assert (made.returncode, made.stderr) == (1, f"{tmp_path / 'passphrase'} is empty.\n")
    assert not (tmp_path / "seed.json").exists()
