"""Calls that race each other, each on a connection of its own and really committed."""

from functools import partial

import orjson
import pytest
from django.db import transaction
from django.utils import timezone

from accounts import sms
from accounts.models import Gamer, OtpRequest
from accounts.sms.outbox import FileOutbox
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory
from accounts.tests.outbox import sent_to
from accounts.tests.threads import all_at_once
from kgen.common.api.idempotency import first_answer, keep, keyed_request
from kgen.common.models import KeptAnswer
from wallet import custody, ledger
from wallet.models import KgenWallet, WalletTransaction

pytestmark = pytest.mark.usefixtures("committed_database")

PHONE = {"phone_number": "2025550143", "countryCode": "+1"}


@pytest.fixture
def outbox(settings, tmp_path):
    settings.SMS_OUTBOX = tmp_path / "sms.jsonl"
    return settings.SMS_OUTBOX


def new_gamer(client: GameClient, gamer_id: str = "g") -> GameClient:
    return client.with_token(client.post("/session", {"gamer_id": gamer_id}).json()["token"])


def test_first_sessions_make_one_wallet_and_one_bonus():
    client = GameClient(GameFactory())

    answers = all_at_once([lambda: client.post("/session", {"gamer_id": "g"})] * 8)

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["wallet_address"] for answer in answers}) == 1
    assert len({answer.json()["session_id"] for answer in answers}) == 1
    assert len({answer.json()["token"] for answer in answers}) == 8
    assert ledger.balances(custody.wallet_of(Gamer.objects.get()).pk).bonus == 50
    assert WalletTransaction.objects.get().amount == 50


def test_first_sessions_under_one_key_have_one_effect():
    client = GameClient(GameFactory())

    answers = all_at_once([lambda: client.post("/session", {"gamer_id": "g"}, key="k")] * 8)

    # Who came while the first was running is told so; who came later gets its status again.
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert [a for a in answers if a.status_code == 201 and "Idempotent-Replayed" not in a]
    assert Gamer.objects.count() == WalletTransaction.objects.count() == 1


def test_one_key_sends_one_otp(outbox):
    gamer = new_gamer(GameClient(GameFactory()))

    answers = all_at_once([lambda: gamer.post("/verification/otp/_request", PHONE, key="k")] * 8)

    in_progress = [answer for answer in answers if answer.status_code == 409]
    assert {error_body(answer)["error"] for answer in in_progress} <= {"REQUEST_IN_PROGRESS"}
    assert {answer["Retry-After"] for answer in in_progress} <= {"1"}
    good = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(good) + len(in_progress) == 8
    assert all(answer == good[0] for answer in good)
    assert len(sent_to(outbox)) == OtpRequest.objects.count() == 1
    assert KeptAnswer.objects.count() == 1


def test_otp_requests_wait_for_each_other(outbox):
    gamer = new_gamer(GameClient(GameFactory()))

    answers = all_at_once([lambda: gamer.post("/verification/otp/_request", PHONE)] * 8)

    assert sorted(answer.status_code for answer in answers) == [200] + [429] * 7
    assert len(sent_to(outbox)) == 1


def test_sends_to_one_phone_are_counted_over_all_games(outbox):
    gamers = [new_gamer(GameClient(GameFactory())) for _ in range(8)]

    answers = all_at_once(
        [partial(gamer.post, "/verification/otp/_request", PHONE) for gamer in gamers]
    )

    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 3
    assert len(sent_to(outbox)) == 5


def test_every_parallel_guess_is_counted(outbox):
    gamer = new_gamer(GameClient(GameFactory()))
    auth_code = gamer.post("/verification/otp/_request", PHONE).json()["authCode"]
    [(_, code)] = sent_to(outbox)
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    guess = {**PHONE, "authCode": auth_code, "otp": wrong}

    answers = all_at_once([lambda: gamer.post("/verification/otp/_verify", guess)] * 12)

    errors = [error_body(answer) for answer in answers]
    left = sorted(e["details"]["attempts_left"] for e in errors if e["error"] == "OTP_INVALID")
    assert left == [0, 1, 2, 3, 4]
    assert [e["error"] for e in errors].count("OTP_TOO_MANY_ATTEMPTS") == 7
    right = gamer.post("/verification/otp/_verify", {**guess, "otp": code})
    assert error_body(right)["error"] == "OTP_TOO_MANY_ATTEMPTS"
    assert not KgenWallet.objects.exists()


def test_right_otp_is_used_once(outbox):
    gamer = new_gamer(GameClient(GameFactory()))
    auth_code = gamer.post("/verification/otp/_request", PHONE).json()["authCode"]
    [(_, code)] = sent_to(outbox)
    proof = {**PHONE, "authCode": auth_code, "otp": code}

    answers = all_at_once([lambda: gamer.post("/verification/otp/_verify", proof)] * 4)

    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]
    assert KgenWallet.objects.count() == 1


def test_one_of_two_gamers_gets_the_phone(outbox):
    client = GameClient(GameFactory())
    gamers = [new_gamer(client, "g"), new_gamer(client, "h")]
    proofs = []
    for gamer in gamers:
        auth_code = gamer.post("/verification/otp/_request", PHONE).json()["authCode"]
        _, code = sent_to(outbox)[-1]
        proofs.append({**PHONE, "authCode": auth_code, "otp": code})

    answers = all_at_once(
        [
            partial(gamer.post, "/verification/otp/_verify", proof)
            for gamer, proof in zip(gamers, proofs, strict=True)
        ]
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    loser = max(answers, key=lambda answer: answer.status_code)
    assert error_body(loser) == {"error": "PHONE_LINKED_TO_ANOTHER_GAMER", "details": {}}
    assert Gamer.objects.exclude(kgen_account=None).count() == 1


def test_key_is_held_while_its_call_runs_and_free_when_that_dies():
    client = GameClient(GameFactory())
    running = keyed_request(
        client=str(client.game.uid),
        gamer="g",
        path="/api/v1/session",
        key="k",
        body=orjson.dumps({"gamer_id": "g"}),
    )

    with transaction.atomic():
        first_answer(request=running, now=timezone.now())
        keep(request=running, status=201, body=b"", now=timezone.now())
        [meanwhile] = all_at_once([lambda: client.post("/session", {"gamer_id": "g"}, key="k")])
        transaction.set_rollback(True)
    afterwards = client.post("/session", {"gamer_id": "g"}, key="k")

    assert meanwhile.status_code == 409
    assert error_body(meanwhile) == {"error": "REQUEST_IN_PROGRESS", "details": {}}
    assert meanwhile["Retry-After"] == "1"
    assert afterwards.status_code == 201
    assert "Idempotent-Replayed" not in afterwards


def test_each_sms_is_one_line_of_the_outbox(outbox):
    sent = [sms.Message(phone=f"+1202555{n:04d}", code="9" * 6, minutes=5) for n in range(16)]

    all_at_once([partial(FileOutbox().send, message) for message in sent])

    lines = [orjson.loads(line) for line in outbox.read_bytes().splitlines()]
    assert sorted(line["phone"] for line in lines) == [f"+1202555{n:04d}" for n in range(16)]
    assert {line["text"] for line in lines} == {sent[0].text}
    assert all(set(line) == {"at", "phone", "text"} for line in lines)
    assert outbox.stat().st_mode & 0o777 == 0o600
