"""`python -m wallet.settlement.signer`: make the sealed seed, change its key, and serve.

What it needs it reads from the environment, and from no file but the seed's own.
"""

import argparse
import ctypes
import json
import logging
import os
import resource
import secrets
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from wallet.settlement import networks
from wallet.settlement.networks import UnknownNetwork
from wallet.settlement.signer import lines, sealing
from wallet.settlement.signer.errors import SignerUnavailable, SigningRefused
from wallet.settlement.signer.keeper import Keeper, Terms
from wallet.settlement.signer.sealing import CannotOpen, Passphrase, Wrapper
from wallet.settlement.signer.serving import AlreadyServed, Server

logger = logging.getLogger("wallet.settlement.signer")

PR_SET_DUMPABLE: Final = 4

# A seed is derived from without a contract at hand.
NO_TERMS: Final = Terms(chain_id=0, kcash_address="", settlement_address="")


class CannotServe(Exception):
    """Something that is needed is missing, or does not fit."""


def main() -> None:
    arguments = _parser().parse_args()
    lines.begin()
    try:
        arguments.command(arguments)
    except FileExistsError as problem:
        sys.exit(f"{problem.filename} is there already, and a seed is never written over.")
    except (
        AlreadyServed,
        CannotOpen,
        CannotServe,
        SignerUnavailable,
        SigningRefused,
        UnknownNetwork,
    ) as problem:
        sys.exit(str(problem))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wallet.settlement.signer")
    commands = parser.add_subparsers(required=True)
    make = commands.add_parser(
        "make-seed", help="make a seed, seal it in a new file, print its public keys"
    )
    make.add_argument("--file", type=Path, required=True)
    make.add_argument(
        "--from-stdin", action="store_true", help="seal this seed, in hex, instead of a new one"
    )
    _add_wrapper(make, "")
    make.set_defaults(command=make_seed)
    change = commands.add_parser(
        "rewrap-seed", help="let another passphrase or KMS key open the seed from now on"
    )
    change.add_argument("--file", type=Path, required=True)
    change.add_argument("--passphrase-file", type=Path, help="the old one, if it was a passphrase")
    _add_wrapper(change, "new-")
    change.set_defaults(command=rewrap_seed)
    serve_ = commands.add_parser("serve", help="open the seed and sign, on the socket")
    serve_.set_defaults(command=serve)
    return parser


def _add_wrapper(parser: argparse.ArgumentParser, prefix: str) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(f"--{prefix}passphrase-file", dest="new_passphrase_file", type=Path)
    which.add_argument(f"--{prefix}aws-kms", dest="new_aws_kms", metavar="ARN")
    which.add_argument(f"--{prefix}gcp-kms", dest="new_gcp_kms", metavar="NAME")


# --- Commands -------------------------------------------------------------------------------------


def make_seed(arguments: argparse.Namespace) -> None:
    seed = _seed_in(sys.stdin.read()) if arguments.from_stdin else secrets.token_bytes(64)
    keeper = Keeper(seed, NO_TERMS)
    sealed = sealing.seal(
        seed,
        custody_xpub=keeper.custody_xpub,
        kgen_xpub=keeper.kgen_xpub,
        wrapper=_new_wrapper(arguments),
    )
    sealing.write_new(arguments.file, sealed)
    public = {"CUSTODY_XPUB": sealed.custody_xpub, "KGEN_XPUB": sealed.kgen_xpub}
    sys.stdout.write(json.dumps(public) + "\n")


def rewrap_seed(arguments: argparse.Namespace) -> None:
    sealed = sealing.read(arguments.file)
    old = _wrapper_of(sealed, arguments.passphrase_file)
    sealing.replace_file(
        arguments.file, sealing.rewrap(sealed, old=old, new=_new_wrapper(arguments))
    )


def serve(arguments: argparse.Namespace) -> None:
    _keep_memory_private()
    terms = Terms(
        chain_id=int(_needed("CHAIN_ID")),
        kcash_address=_needed("KCASH_ADDRESS").lower(),
        settlement_address=_needed("SETTLEMENT_ADDRESS").lower(),
    )
    keeper = Keeper(_seed(terms), terms)
    if keeper.custody_xpub != _needed("CUSTODY_XPUB"):
        raise CannotServe("This seed is not the one that CUSTODY_XPUB comes from.")
    path = Path(_needed("SIGNER_SOCKET"))
    peers = {int(uid) for uid in os.environ.get("SIGNER_CLIENT_UIDS", "").split(",") if uid}
    with Server(path, keeper, peers=peers) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            # From a thread, as it waits until the loop that is interrupted here has ended.
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        logger.info("Signing for %s on chain %s", terms.settlement_address, terms.chain_id)
        server.serve_forever()
        # Before it is closed, or it might be the socket of the next signer.
        path.unlink(missing_ok=True)


# --- What they need -------------------------------------------------------------------------------


def _needed(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise CannotServe(f"Set the {name} environment variable.")
    return value


def _seed(terms: Terms) -> bytes:
    file, bare = os.environ.get("SIGNER_SEED_FILE"), os.environ.get("CUSTODY_SEED")
    if file:
        sealed = sealing.read(Path(file))
        passphrase = os.environ.get("SIGNER_PASSPHRASE_FILE")
        return sealing.open_seed(sealed, _wrapper_of(sealed, Path(passphrase or "")))
    if not bare:
        raise CannotServe("Set the SIGNER_SEED_FILE environment variable.")
    if networks.of(terms.chain_id).is_mainnet:
        raise CannotServe("A bare CUSTODY_SEED is for test chains: seal it in SIGNER_SEED_FILE.")
    return _seed_in(bare)


def _seed_in(text: str) -> bytes:
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if not 16 <= len(seed) <= 64:  # BIP-32; it is not repeated: it may be a seed, mistyped
        raise CannotServe("What was given holds no seed: 32 to 128 hexadecimal digits.")
    return seed


def _new_wrapper(arguments: argparse.Namespace) -> Wrapper:
    if arguments.new_passphrase_file:
        return Passphrase(_passphrase(arguments.new_passphrase_file))
    if arguments.new_aws_kms:
        return _kms("aws-kms", arguments.new_aws_kms)
    return _kms("gcp-kms", arguments.new_gcp_kms)


def _wrapper_of(sealed: sealing.SealedSeed, passphrase_file: Path | None) -> Wrapper:
    if sealed.wrapped_by == Passphrase.kind:
        if not passphrase_file or not passphrase_file.name:
            raise CannotOpen("The seed is kept by a passphrase: name the file that it is in.")
        return Passphrase(_passphrase(passphrase_file))
    return _kms(sealed.wrapped_by, sealed.wrapped_key["name"])


def _passphrase(path: Path) -> bytes:
    try:
        passphrase = path.read_bytes().strip()
    except OSError as problem:
        raise CannotOpen(f"{path} cannot be read: {problem.strerror}.") from problem
    if not passphrase:
        raise CannotOpen(f"{path} is empty.")
    return passphrase


def _kms(kind: str, name: str) -> Wrapper:
    # Needs packages that an installation without a KMS does not have.
    try:
        from wallet.settlement.signer.kms import CLOUDS  # noqa: PLC0415
    except ImportError as problem:
        raise CannotServe(f"A KMS needs requirements-kms.txt: {problem}") from problem
    if kind not in CLOUDS:
        raise CannotOpen(f"The seed is kept by {kind}, which this version does not know.")
    return sealing.Kms(CLOUDS[kind](name))


def _keep_memory_private() -> None:
    """No core dumps; on Linux no other process of this user may look into this one either."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    main()
