"""What the signer hears and what it answers: a line of JSON each, over a Unix socket.

A request names every field of the message that it wants signed, the fixed ones too, so that a
caller that means another chain or contract is told so instead of being given a signature for ours.
"""

import json
import logging
import os
import re
import socket
import socketserver
import stat
import struct
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from wallet.settlement.calldata import PERMIT_DEADLINE, PERMIT_VALUE, Signature
from wallet.settlement.signer.keeper import Keeper

logger = logging.getLogger(__name__)

LONGEST_LINE: Final = 2048
# For whoever connects and then says nothing, or reads nothing.
PATIENCE: Final = 5.0  # seconds

_ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}")
_HASH: Final = re.compile(r"0x[0-9a-f]{64}")

# As the typed messages have them, each with its bounds.
_INTEGERS: Final = {
    "hd_index": (0, 2**31 - 1),
    "chain_id": (1, 2**63 - 1),
    "nonce": (0, 2**63 - 1),
    "value": (0, 2**256 - 1),
    "deadline": (0, 2**256 - 1),
    "amount": (1, 2**256 - 1),
}
_TEXTS: Final = {
    "token": _ADDRESS,
    "contract": _ADDRESS,
    "owner": _ADDRESS,
    "spender": _ADDRESS,
    "from": _ADDRESS,
    "to": _ADDRESS,
    "id": _HASH,
}
_PERMIT: Final = {
    "hd_index", "chain_id", "token", "owner", "spender", "value", "nonce", "deadline",
}  # fmt: skip
_PAYOUT: Final = {"hd_index", "chain_id", "contract", "id", "from", "to", "amount"}


class Refused(Exception):
    """Not signed; `code` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AlreadyServed(Exception):
    """Another signer listens there, or something that is no socket is in the way."""


# --- One request ----------------------------------------------------------------------------------


def answer(line: bytes, keeper: Keeper) -> bytes:
    """The answer to one request: a signature, or the refusal by its name."""
    try:
        signature = _signature(_read(line), keeper)
    except Refused as refusal:
        logger.warning("Refused: %s: %s", refusal.code, refusal)
        return _line({"refused": refusal.code, "message": str(refusal)})
    return _line({"r": signature.r, "s": signature.s, "parity": signature.parity})


def _read(line: bytes) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise Refused("TOO_LONG", f"A request has {LONGEST_LINE} bytes at most.")
    try:
        request = json.loads(line, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        raise Refused("MALFORMED", "A request is one line of JSON.") from None
    if not isinstance(request, dict):
        raise Refused("MALFORMED", "A request is one JSON object.")
    return request


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("A field is given twice.")
    return dict(pairs)


def _signature(request: dict[str, Any], keeper: Keeper) -> Signature:
    verb = request.pop("verb", None)
    if verb == "sign_permit":
        return _signed_permit(_fields(request, _PERMIT), keeper)
    if verb == "sign_payout":
        return _signed_payout(_fields(request, _PAYOUT), keeper)
    raise Refused("UNKNOWN_VERB", "Only sign_permit and sign_payout are done here.")


def _signed_permit(permit: Mapping[str, Any], keeper: Keeper) -> Signature:
    terms = keeper.terms
    _expect(permit, "chain_id", terms.chain_id, "WRONG_CHAIN")
    _expect(permit, "token", terms.kcash_address, "WRONG_TOKEN")
    _expect(permit, "spender", terms.settlement_address, "WRONG_CONTRACT")
    _expect(permit, "value", PERMIT_VALUE, "WRONG_VALUE")
    _expect(permit, "deadline", PERMIT_DEADLINE, "WRONG_DEADLINE")
    _expect(permit, "owner", keeper.address(permit["hd_index"]), "WRONG_WALLET")
    signature = keeper.sign_permit(hd_index=permit["hd_index"], nonce=permit["nonce"])
    logger.info("Signed permit %s of %s", permit["nonce"], permit["owner"])
    return signature


def _signed_payout(payout: Mapping[str, Any], keeper: Keeper) -> Signature:
    terms = keeper.terms
    _expect(payout, "chain_id", terms.chain_id, "WRONG_CHAIN")
    _expect(payout, "contract", terms.settlement_address, "WRONG_CONTRACT")
    _expect(payout, "from", keeper.address(payout["hd_index"]), "WRONG_WALLET")
    signature = keeper.sign_payout(
        hd_index=payout["hd_index"],
        onchain_id=payout["id"],
        to=payout["to"],
        amount=payout["amount"],
    )
    logger.info(
        "Signed payout %s: %s from %s to %s",
        payout["id"],
        payout["amount"],
        payout["from"],
        payout["to"],
    )
    return signature


def _fields(request: Mapping[str, Any], names: set[str]) -> Mapping[str, Any]:
    if request.keys() != names:
        raise Refused("MALFORMED", f"The fields are {', '.join(sorted(names))}, no more, no fewer.")
    for name, value in request.items():
        if not (_is_integer(name, value) if name in _INTEGERS else _is_text(name, value)):
            raise Refused("MALFORMED", f"{name} is not well formed.")
    return request


def _is_integer(name: str, value: object) -> bool:
    lowest, highest = _INTEGERS[name]
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _is_text(name: str, value: object) -> bool:
    return isinstance(value, str) and _TEXTS[name].fullmatch(value) is not None


def _expect(message: Mapping[str, Any], name: str, ours: object, code: str) -> None:
    if message[name] != ours:
        raise Refused(code, f"{name} is {message[name]}, and only {ours} is signed for.")


def _line(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


# --- The socket -----------------------------------------------------------------------------------


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers on a socket, and only those whom the kernel knows to be one of `peers`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, keeper: Keeper, *, peers: Collection[int] = frozenset()) -> None:
        """Listen at `path`, for our own user and the user ids in `peers`. Raises AlreadyServed."""
        self.keeper = keeper
        self.peers = {os.geteuid(), *peers}
        _make_way(path)
        # Others come in by the group of the folder, which its set-group-id bit hands on.
        before = os.umask(0o117 if peers else 0o177)
        try:
            super().__init__(str(path), _Conversation)
        finally:
            os.umask(before)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        uid = peer_uid(request)
        if uid in self.peers:
            return True
        logger.warning("Refused: STRANGER: user %s", uid)
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.exception("A conversation ended by a bug")  # noqa: LOG004 - called by a handler


class _Conversation(socketserver.StreamRequestHandler):
    timeout = PATIENCE
    server: Server

    def handle(self) -> None:
        try:
            while line := self.rfile.readline(LONGEST_LINE + 1):
                self.wfile.write(answer(line, self.server.keeper))
                if not line.endswith(b"\n"):
                    return  # what follows is the rest of a line that was too long
        except OSError as problem:
            logger.info("A conversation ended early: %s", problem)


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket, by the kernel's word."""
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        uid: int = struct.unpack("iII", credentials)[1]
    else:
        # LOCAL_PEERCRED of macOS and the BSDs: struct xucred begins with version and user.
        uid = struct.unpack("II", connection.getsockopt(0, 1, 76)[:8])[1]
    return uid


def is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _make_way(path: Path) -> None:
    """A signer that was killed leaves its socket behind."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket or is_served(path):
        raise AlreadyServed(f"{path} is in use.")
    path.unlink()
