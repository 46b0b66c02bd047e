"""The signer from outside: what it signs, what it refuses by name, and who may ask it."""

import json
import os
import signal
import socket
import socketserver
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account.typed_transactions.dynamic_fee_transaction import DynamicFeeTransaction

from wallet import custody
from wallet.settlement import signing
from wallet.settlement.calldata import PERMIT_DEADLINE, PERMIT_VALUE
from wallet.settlement.signer import serving
from wallet.settlement.signer.keeper import Keeper, Terms
from wallet.settlement.signing import (
    EnvironmentCustodian,
    SignerUnavailable,
    SigningRefused,
    SocketCustodian,
)
from wallet.tests.chain import new_address, new_id
from wallet.tests.signer import Signer

SETTLEMENT = "0x" + "5e" * 20
KCASH = "0x" + "ca" * 20


@pytest.fixture(autouse=True)
def _contracts(settings) -> None:
    settings.SETTLEMENT_ADDRESS, settings.KCASH_ADDRESS = SETTLEMENT, KCASH


@pytest.fixture
def keeper(settings) -> Keeper:
    return Keeper(bytes.fromhex(settings.CUSTODY_SEED), Terms(31337, KCASH, SETTLEMENT))


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Signer]:
    signer = Signer(tmp_path)
    yield signer
    signer.close()


def permit(**changed: object) -> dict[str, object]:
    return {
        "verb": "sign_permit",
        "hd_index": 7,
        "chain_id": 31337,
        "token": KCASH,
        "owner": custody.custodial_address(7),
        "spender": SETTLEMENT,
        "value": PERMIT_VALUE,
        "nonce": 0,
        "deadline": PERMIT_DEADLINE,
    } | changed


def payout(**changed: object) -> dict[str, object]:
    return {
        "verb": "sign_payout",
        "hd_index": 7,
        "chain_id": 31337,
        "contract": SETTLEMENT,
        "id": "0x" + "1d" * 32,
        "from": custody.custodial_address(7),
        "to": "0x" + "70" * 20,
        "amount": 70,
    } | changed


def without(request: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in request.items() if key != name}


def asked(keeper: Keeper, request: object) -> Any:
    line = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
    return json.loads(serving.answer(line, keeper))


# --- What it signs and refuses --------------------------------------------------------------------


def test_a_permit_and_a_payout_are_signed(keeper: Keeper):
    theirs = EnvironmentCustodian()

    signed_permit = asked(keeper, permit())
    signed_payout = asked(keeper, payout())

    assert signed_permit == vars(theirs.sign_permit(hd_index=7, nonce=0))
    assert signed_payout == vars(
        theirs.sign_payout(
            hd_index=7,
            settlement_address=SETTLEMENT,
            onchain_id="0x" + "1d" * 32,
            to="0x" + "70" * 20,
            amount=70,
        )
    )


TRANSACTION = DynamicFeeTransaction.from_dict(
    {
        "chainId": 31337,
        "nonce": 0,
        "maxPriorityFeePerGas": 1,
        "maxFeePerGas": 2,
        "gas": 21_000,
        "to": bytes.fromhex("70" * 20),
        "value": 10**18,
        "data": b"",
        "type": 2,
    }
)


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (lambda: permit(chain_id=137), "WRONG_CHAIN"),
        (lambda: payout(chain_id=137), "WRONG_CHAIN"),
        (lambda: permit(token="0x" + "0b" * 20), "WRONG_TOKEN"),
        (lambda: permit(spender="0x" + "0b" * 20), "WRONG_CONTRACT"),
        (lambda: payout(contract="0x" + "0b" * 20), "WRONG_CONTRACT"),
        (lambda: permit(value=1), "WRONG_VALUE"),
        (lambda: permit(deadline=2**47), "WRONG_DEADLINE"),
        (lambda: permit(owner=custody.custodial_address(8)), "WRONG_WALLET"),
        (lambda: payout(**{"from": custody.custodial_address(8)}), "WRONG_WALLET"),
        (lambda: payout(**{"from": custody.kgen_address(7)}), "WRONG_WALLET"),
        (lambda: payout(verb="sign_transaction"), "UNKNOWN_VERB"),
        (lambda: payout(verb="sign_digest"), "UNKNOWN_VERB"),
        (lambda: payout(verb=["sign_payout"]), "UNKNOWN_VERB"),
        (lambda: without(payout(), "verb"), "UNKNOWN_VERB"),
        (lambda: {"verb": "sign_payout", "transaction": TRANSACTION.hash().hex()}, "MALFORMED"),
        (lambda: b"\x02" + bytes(TRANSACTION.hash()) + b"\n", "MALFORMED"),
        (lambda: payout(digest="0x" + "d1" * 32), "MALFORMED"),
        (lambda: without(payout(), "amount"), "MALFORMED"),
        (lambda: payout(amount=0), "MALFORMED"),
        (lambda: payout(amount=-1), "MALFORMED"),
        (lambda: payout(amount=2**256), "MALFORMED"),
        (lambda: payout(amount=70.0), "MALFORMED"),
        (lambda: payout(amount="70"), "MALFORMED"),
        (lambda: payout(amount=True), "MALFORMED"),
        (lambda: payout(hd_index=2**31), "MALFORMED"),
        (lambda: payout(hd_index="0'"), "MALFORMED"),
        (lambda: payout(to="0x" + "7F" * 20), "MALFORMED"),
        (lambda: payout(to="0x" + "70" * 20 + "\n"), "MALFORMED"),
        (lambda: payout(id="0x1d"), "MALFORMED"),
        (lambda: permit(nonce=None), "MALFORMED"),
        (lambda: [payout()], "MALFORMED"),
        (lambda: b"\n", "MALFORMED"),
        (lambda: b"garbage\n", "MALFORMED"),
        (lambda: b"\xff\xfe\n", "MALFORMED"),
        (lambda: b"[" * 2000, "MALFORMED"),
        (lambda: json.dumps(payout())[:-1].encode() + b', "to": "0x"}\n', "MALFORMED"),
        (lambda: payout(verb="x" * 3000), "TOO_LONG"),
    ],
)
def test_everything_else_is_refused_by_name(keeper: Keeper, request_, name):
    refusal = asked(keeper, request_())

    assert refusal["refused"] == name
    assert set(refusal) == {"refused", "message"}


# --- The process ----------------------------------------------------------------------------------


def test_the_process_answers_as_the_seed_in_memory_would(signer: Signer):
    signer.start()
    theirs, ours = SocketCustodian(str(signer.socket)), EnvironmentCustodian()
    message: dict[str, Any] = {
        "hd_index": 3,
        "settlement_address": SETTLEMENT,
        "onchain_id": new_id(),
        "to": new_address(),
        "amount": 2**200,
    }

    assert theirs.sign_permit(hd_index=3, nonce=1) == ours.sign_permit(hd_index=3, nonce=1)
    assert theirs.sign_payout(**message) == ours.sign_payout(**message)


def test_a_sealed_seed_is_opened_by_its_passphrase(signer: Signer, settings, tmp_path: Path):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("of tests\n")
    made = subprocess.run(  # noqa: S603 - our own program
        [
            *(sys.executable, "-m", "wallet.settlement.signer", "make-seed", "--from-stdin"),
            *("--file", tmp_path / "seed.json", "--passphrase-file", passphrase),
        ],
        input=settings.CUSTODY_SEED.encode(),
        capture_output=True,
        check=True,
    )

    signer.start(
        CUSTODY_SEED="",
        SIGNER_SEED_FILE=str(tmp_path / "seed.json"),
        SIGNER_PASSPHRASE_FILE=str(passphrase),
    )

    assert json.loads(made.stdout) == {
        "CUSTODY_XPUB": settings.CUSTODY_XPUB,
        "KGEN_XPUB": settings.KGEN_XPUB,
    }
    permits = SocketCustodian(str(signer.socket)).sign_permit(hd_index=0, nonce=0)
    assert permits == EnvironmentCustodian().sign_permit(hd_index=0, nonce=0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"CUSTODY_SEED": ""}, "Set the SIGNER_SEED_FILE environment variable."),
        ({"CUSTODY_SEED": "ab" * 64}, "This seed is not the one that CUSTODY_XPUB comes from."),
        ({"SETTLEMENT_ADDRESS": ""}, "Set the SETTLEMENT_ADDRESS environment variable."),
        ({"CHAIN_ID": "137"}, "A bare CUSTODY_SEED is for test chains"),
        ({"CHAIN_ID": "424242"}, "Chain 424242 has no row"),
        ({"SIGNER_SEED_FILE": "/nowhere/seed.json"}, "/nowhere/seed.json cannot be read"),
    ],
)
def test_it_refuses_to_start_and_says_why(signer: Signer, changed, reason):
    process = signer.begin(**changed)

    assert process.wait(20) == 1
    assert signer.log.read_text().startswith(reason)
    assert not signer.socket.exists()


def test_it_holds_nothing_of_the_platform():
    program = (
        "import sys, wallet.settlement.signer.__main__;"
        "print([name for name in sys.modules if name.split('.')[0] in"
        " ('django', 'psycopg2', 'web3', 'celery', 'redis')])"
    )

    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


@pytest.mark.skipif(sys.platform != "linux", reason="what Linux keeps other processes from")
def test_no_other_process_may_look_into_its_memory():
    program = (
        "import ctypes, resource; from wallet.settlement.signer import __main__ as signer;"
        "signer._keep_memory_private();"
        "PR_GET_DUMPABLE = 3;"
        "print(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE), resource.getrlimit(resource.RLIMIT_CORE))"
    )

    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "0 (0, 0)\n"


def test_its_socket_is_for_its_own_user(signer: Signer):
    signer.start()

    assert stat.S_IMODE(signer.socket.stat().st_mode) == 0o600


def test_a_stranger_is_sent_away(keeper: Keeper, tmp_path: Path):
    with serving.Server(Path(os.path.relpath(tmp_path / "s")), keeper) as server:
        server.peers = {os.getuid() + 1}
        serving_thread = threading.Thread(target=server.serve_forever)
        serving_thread.start()

        with pytest.raises(SignerUnavailable):
            SocketCustodian(str(server.server_address)).sign_permit(hd_index=0, nonce=0)

        server.peers = {os.getuid()}
        SocketCustodian(str(server.server_address)).sign_permit(hd_index=0, nonce=0)
        server.shutdown()
        serving_thread.join()


def test_a_peer_that_was_named_gets_in_by_the_group_of_the_folder(keeper: Keeper, tmp_path: Path):
    path = Path(os.path.relpath(tmp_path / "s"))

    with serving.Server(path, keeper, peers={4242}) as server:
        assert server.peers == {os.geteuid(), 4242}
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_line_without_end_is_cut_off(signer: Signer):
    signer.start()

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(signer.socket))
        connection.sendall(b"x" * 2049)
        answers = connection.makefile("rb").read()

    assert json.loads(answers)["refused"] == "TOO_LONG"


def test_who_says_nothing_holds_up_nobody(signer: Signer):
    signer.start()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(signer.socket))

        signature = SocketCustodian(str(signer.socket)).sign_permit(hd_index=0, nonce=0)

    assert signature == EnvironmentCustodian().sign_permit(hd_index=0, nonce=0)


def test_many_at_once_are_each_answered(signer: Signer):
    signer.start()
    theirs, ours = SocketCustodian(str(signer.socket)), EnvironmentCustodian()
    signed = {}

    def ask(index: int) -> None:
        signed[index] = theirs.sign_permit(hd_index=index, nonce=0)

    threads = [threading.Thread(target=ask, args=[index]) for index in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert signed == {index: ours.sign_permit(hd_index=index, nonce=0) for index in range(50)}


def test_a_second_signer_does_not_take_the_first_ones_place(signer: Signer):
    signer.start()
    first = signer.process

    second = signer.begin()

    assert second.wait(20) == 1
    assert f"{signer.socket} is in use." in signer.log.read_text()
    signer.process = first
    SocketCustodian(str(signer.socket)).sign_permit(hd_index=0, nonce=0)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_signer_that_has_ended_is_unavailable_until_it_is_back(signer: Signer, how):
    custodian = SocketCustodian(str(signer.socket))
    signer.start()
    before = custodian.sign_permit(hd_index=0, nonce=0)

    ended = signer.stop(how)

    assert ended == (0 if how == signal.SIGTERM else -signal.SIGKILL)
    assert signer.socket.exists() == (how == signal.SIGKILL)
    with pytest.raises(SignerUnavailable):
        custodian.sign_permit(hd_index=0, nonce=0)

    signer.start()

    assert custodian.sign_permit(hd_index=0, nonce=0) == before


def test_a_signer_for_another_contract_refuses(signer: Signer):
    signer.start(SETTLEMENT_ADDRESS="0x" + "0b" * 20)

    with pytest.raises(SigningRefused, match="WRONG_CONTRACT"):
        SocketCustodian(str(signer.socket)).sign_permit(hd_index=0, nonce=0)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"r": 1, "s": 1, "parity": 0}\n',
        b'{"r": "1", "s": 1, "parity": 0}\n',
        b"{}\n",
        b"[]\n",
        b"garbage\n",
        b"",
    ],
)
def test_an_answer_that_is_no_signature_of_the_wallet_is_not_believed(tmp_path: Path, answer):
    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(answer)

    path = os.path.relpath(tmp_path / "s")
    with socketserver.UnixStreamServer(path, Answer) as impostor:
        answering = threading.Thread(target=impostor.handle_request)
        answering.start()

        with pytest.raises(SignerUnavailable):
            SocketCustodian(path).sign_permit(hd_index=0, nonce=0)

        answering.join()


# --- Whom the settings name -----------------------------------------------------------------------


def test_the_settings_name_the_custodian(settings):
    assert isinstance(signing.custodian(), EnvironmentCustodian)

    settings.SIGNER_SOCKET = "/run/kgen/signer.sock"

    assert isinstance(signing.custodian(), SocketCustodian)
