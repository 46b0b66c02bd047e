"""`.env`: the secrets of this installation, made once; the seed is sealed in a file beside it."""

import json
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from kgen.local.processes import PROJECT, ServiceError

SEED_FILE, PASSPHRASE_FILE = ".seed.json", ".seed.passphrase"

# Accounts 0 and 1 of the Ethereum branch; gamers' addresses are <xpub>/0/<index>.
CUSTODY_PATH, KGEN_PATH = "m/44'/60'/0'", "m/44'/60'/1'"
NAMES = (
    "SECRET_KEY",
    "OTP_SECRET",
    "PERSONAL_DATA_KEYS",
    "PERSONAL_DATA_HASH_KEY",
    "OPERATOR_KEY",
    "ADMIN_KEY",
    "FLOAT_KEY",
    "FLOAT_ADDRESS",
    "SERVED_OVER_TLS",
    "CUSTODY_XPUB",
    "KGEN_XPUB",
)


def read(path: Path) -> dict[str, str]:
    """Plain KEY=VALUE lines; a file that is not there is empty."""
    if not path.exists():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): _unquoted(value.strip()) for name, _, value in pairs}


def _unquoted(value: str) -> str:
    return "".join(shlex.split(value)) if value.startswith(("'", '"')) else value


def write(path: Path, values: Mapping[str, str]) -> None:
    """Replace the file as a whole, readable by its owner alone; a shell may source it."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    with open(unfinished, "x", opener=_private) as file:
        file.writelines(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    unfinished.replace(path)


def complete(path: Path) -> bool:
    """Add the secrets that neither `.env` nor the environment has; true if there were any.

    What is there is never changed: gamers' addresses hang on it.
    """
    given = {**os.environ, **read(path)}
    if all(given.get(name) for name in NAMES):
        return False
    made = _secrets(given) | _public_keys(given, path)
    missing = {name: value for name, value in made.items() if not given.get(name)}
    is_new = not path.exists()
    with open(path, "a", opener=_private) as file:
        if is_new:
            file.write(
                "# Made by `make run`. Keep it, and the two .seed files: gamers' addresses, "
                "phones and one-time codes hang on them.\n"
            )
        file.writelines(f"{name}={value}\n" for name, value in missing.items())
    return bool(missing)


def _secrets(given: Mapping[str, str]) -> dict[str, str]:
    # Half a second that only the first start has to spend.
    from eth_account import Account  # noqa: PLC0415

    values = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "OTP_SECRET": secrets.token_urlsafe(50),
        "PERSONAL_DATA_KEYS": f"k1:{secrets.token_urlsafe(32)}",
        "PERSONAL_DATA_HASH_KEY": secrets.token_urlsafe(50),
        "OPERATOR_KEY": secrets.token_hex(32),
        "ADMIN_KEY": secrets.token_hex(32),
        "FLOAT_KEY": given.get("FLOAT_KEY") or secrets.token_hex(32),
        # `make run` serves plain HTTP, on this machine alone.
        "SERVED_OVER_TLS": "off",
    }
    values["FLOAT_ADDRESS"] = Account.from_key(values["FLOAT_KEY"]).address.lower()
    return values


def _public_keys(given: Mapping[str, str], path: Path) -> dict[str, str]:
    """What gamers' addresses are derived from; the seed behind it is made if there is none."""
    if bare := given.get("CUSTODY_SEED"):
        from bip32 import BIP32  # noqa: PLC0415 - as above

        tree = BIP32.from_seed(bytes.fromhex(bare))
        return {
            "CUSTODY_XPUB": tree.get_xpub_from_path(CUSTODY_PATH),
            "KGEN_XPUB": tree.get_xpub_from_path(KGEN_PATH),
        }
    if given.get("CUSTODY_XPUB"):
        return {}
    seed, passphrase = path.with_name(SEED_FILE), path.with_name(PASSPHRASE_FILE)
    if not seed.exists():
        _make_seed(seed, passphrase)
    sealed = json.loads(seed.read_text())
    return {"CUSTODY_XPUB": sealed["custody_xpub"], "KGEN_XPUB": sealed["kgen_xpub"]}


def _make_seed(seed: Path, passphrase: Path) -> None:
    if not passphrase.exists():
        with open(passphrase, "x", opener=_private) as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    made = subprocess.run(
        [
            *(sys.executable, "-m", "wallet.settlement.signer", "make-seed"),
            *("--file", str(seed), "--passphrase-file", str(passphrase)),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        raise ServiceError(f"The seed of gamers' wallets could not be made: {made.stderr.strip()}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
