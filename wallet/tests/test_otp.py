"""One-time passwords under attack, under crashes, and in sandboxes (API contract, 3.9 and 3.10)."""

import os
import signal
from collections import Counter
from functools import partial

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from accounts import otp, otp_watch, phones
from accounts.models import Gamer, KgenAccount, OtpRequest, PhoneVerification
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory, GamerFactory, KgenAccountFactory
from accounts.tests.outbox import sent_to
from wallet.models import KgenWallet
from wallet.tests.parallel import in_parallel, kinds

REQUEST, VERIFY = "/verification/otp/_request", "/verification/otp/_verify"
NOW = timezone.now().replace(microsecond=0)
PHONE = {"phone_number": "2025550143", "countryCode": "+1"}
INDIAN = {"phone_number": "9876543210", "countryCode": "+91"}


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture(autouse=True)
def outbox(settings, tmp_path):
    settings.SMS_OUTBOX = tmp_path / "sms.jsonl"
    return settings.SMS_OUTBOX


def player(**game) -> GameClient:
    gamer = GamerFactory(game=GameFactory(**game))
    return GameClient(gamer.game).as_gamer(gamer)


def asked(caller: GameClient, outbox, phone=PHONE) -> dict[str, str]:
    answer = caller.post(REQUEST, phone)
    assert answer.status_code == 200
    return {**phone, "authCode": answer.json()["authCode"], "otp": sent_to(outbox)[-1][1]}


def everything() -> list:
    """All that an OTP call may move."""
    return [
        list(model.objects.order_by("pk").values())
        for model in (KgenAccount, KgenWallet, PhoneVerification, OtpRequest)
    ] + [list(Gamer.objects.order_by("pk").values_list("pk", "kgen_account", "linked_at"))]


# --- Every row of the tables of errors ----------------------------------------------------------


def not_a_number(caller, outbox, settings, clock):
    return REQUEST, {"phone_number": "12ab", "countryCode": "+1"}


def linked_elsewhere(caller, outbox, settings, clock):
    Gamer.objects.update(kgen_account=KgenAccountFactory(phone="+12025550199"))
    return REQUEST, PHONE


def too_soon(caller, outbox, settings, clock):
    asked(caller, outbox)
    clock.shift(20)
    return REQUEST, PHONE


def over_the_limit(caller, outbox, settings, clock):
    asked(caller, outbox)
    settings.OTP_DAILY_BUDGET = 1
    return REQUEST, INDIAN


def country_not_served(caller, outbox, settings, clock):
    return REQUEST, {"phone_number": "7400123456", "countryCode": "+44"}


def stopped(caller, outbox, settings, clock):
    otp_watch.pull(reason="pumping", by="sam", now=NOW)
    return REQUEST, PHONE


def wrong(proof):
    return {**proof, "otp": f"{(int(proof['otp']) + 1) % 10**6:06d}"}


def expired(caller, outbox, settings, clock):
    proof = asked(caller, outbox)
    clock.shift(300)
    return VERIFY, proof


def nobodys(caller, outbox, settings, clock):
    return VERIFY, {**asked(caller, outbox), "authCode": "525503817264019"}


def void(caller, outbox, settings, clock):
    proof = asked(caller, outbox)
    clock.shift(60)
    asked(caller, outbox)
    return VERIFY, proof


def used(caller, outbox, settings, clock):
    proof = asked(caller, outbox)
    assert caller.post(VERIFY, proof).status_code == 200
    return VERIFY, proof


def sixth_try(caller, outbox, settings, clock):
    proof = asked(caller, outbox)
    for _ in range(5):
        caller.post(VERIFY, wrong(proof))
    return VERIFY, proof


ROWS = {
    "3.9 BAD_REQUEST": (not_a_number, 400, "BAD_REQUEST"),
    "3.9 KGEN_WALLET_ALREADY_LINKED": (linked_elsewhere, 409, "KGEN_WALLET_ALREADY_LINKED"),
    "3.9 OTP_RESEND_TOO_SOON": (too_soon, 429, "OTP_RESEND_TOO_SOON"),
    "3.9 OTP_REQUEST_LIMIT": (over_the_limit, 429, "OTP_REQUEST_LIMIT"),
    "3.9 PHONE_COUNTRY_NOT_SERVED": (country_not_served, 400, "PHONE_COUNTRY_NOT_SERVED"),
    "3.9 the switch is pulled": (stopped, 503, "SERVICE_UNAVAILABLE"),
    "3.10 OTP_EXPIRED": (expired, 400, "OTP_EXPIRED"),
    "3.10 OTP_NOT_FOUND, nobody's": (nobodys, 404, "OTP_NOT_FOUND"),
    "3.10 OTP_NOT_FOUND, void": (void, 404, "OTP_NOT_FOUND"),
    "3.10 OTP_NOT_FOUND, used": (used, 404, "OTP_NOT_FOUND"),
    "3.10 OTP_TOO_MANY_ATTEMPTS": (sixth_try, 429, "OTP_TOO_MANY_ATTEMPTS"),
}


@pytest.mark.django_db
@pytest.mark.parametrize("row", ROWS)
def test_each_refusal_moves_nothing(row, outbox, settings, clock):
    arrange, status, code = ROWS[row]
    caller = player()
    path, body = arrange(caller, outbox, settings, clock)
    before, sent = everything(), sent_to(outbox)

    answer = caller.post(path, body)

    assert (answer.status_code, error_body(answer)["error"]) == (status, code)
    assert everything() == before
    assert sent_to(outbox) == sent
    assert ("Retry-After" in answer) == (status == 503 or code in WAITS)


WAITS = {"OTP_RESEND_TOO_SOON", "OTP_REQUEST_LIMIT"}


@pytest.mark.django_db
def test_refused_delivery_moves_nothing_that_counts(outbox, settings, tmp_path, clock):
    caller = player()
    settings.SMS_OUTBOX = tmp_path

    answer = caller.post(REQUEST, PHONE)

    assert (answer.status_code, error_body(answer)["error"]) == (503, "OTP_DELIVERY_FAILED")
    [request] = OtpRequest.objects.all()
    assert request.undelivered_at is not None
    assert PhoneVerification.objects.get().wait_before_resend(NOW).total_seconds() == 0


@pytest.mark.django_db
def test_wrong_otp_moves_one_try_and_nothing_else(outbox, clock):
    caller = player()
    proof = asked(caller, outbox)
    before = everything()

    answer = caller.post(VERIFY, wrong(proof))

    assert error_body(answer) == {"error": "OTP_INVALID", "details": {"attempts_left": 4}}
    before[3][0]["attempts"] = 1
    assert everything() == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    "meanwhile", ["PHONE_LINKED_TO_ANOTHER_GAMER", "KGEN_WALLET_ALREADY_LINKED"]
)
def test_who_was_slower_moves_one_try_and_nothing_else(outbox, clock, meanwhile):
    caller = player()
    proof = asked(caller, outbox)
    if meanwhile == "PHONE_LINKED_TO_ANOTHER_GAMER":
        account = KgenAccountFactory(phone="+12025550143")
        GamerFactory(game=caller.game, kgen_account=account)
    else:
        Gamer.objects.update(kgen_account=KgenAccountFactory(phone="+12025550199"))
    before = everything()

    answer = caller.post(VERIFY, proof)

    assert (answer.status_code, error_body(answer)["error"]) == (409, meanwhile)
    before[3][0]["attempts"] = 1
    assert everything() == before


# --- Attacks -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("committed_database")
def test_fifty_guesses_at_once_are_five_tries():
    gamer = GamerFactory()
    phone = phones.parse(phone_number="2025550143", country_code="+1")
    issued = otp.issue(gamer=gamer, phone=phone, now=NOW)
    guesses = [f"{(int(issued.code) + n) % 10**6:06d}" for n in range(1, 51)]

    outcomes = in_parallel(
        [
            partial(
                otp.check,
                gamer=gamer,
                phone=phone,
                auth_code=issued.request.auth_code,
                code=guess,
                now=NOW,
            )
            for guess in guesses
        ]
    )

    assert Counter(kinds(outcomes)) == {"OtpInvalid": 5, "TooManyAttempts": 45}
    left = {one.details["attempts_left"] for one in outcomes if isinstance(one, otp.OtpInvalid)}
    assert left == {0, 1, 2, 3, 4}
    assert OtpRequest.objects.get().attempts == 5
    with pytest.raises(otp.TooManyAttempts):
        otp.check(
            gamer=gamer,
            phone=phone,
            auth_code=issued.request.auth_code,
            code=issued.code,
            now=NOW,
        )


@pytest.mark.django_db
def test_pumping_neighbours_by_many_gamers_and_clients_ends_at_twenty(outbox, clock):
    callers = [player() for _ in range(25)]

    answers = [
        caller.post(REQUEST, {"phone_number": f"98765432{number:02d}", "countryCode": "+91"})
        for number, caller in enumerate(callers)
    ]

    assert Counter(answer.status_code for answer in answers) == {200: 20, 429: 5}
    assert {error_body(answer)["error"] for answer in answers[20:]} == {"OTP_REQUEST_LIMIT"}
    assert len(sent_to(outbox)) == 20


@pytest.mark.django_db
def test_a_known_number_is_answered_like_an_unknown_one(outbox, clock):
    GamerFactory(kgen_account=KgenAccountFactory(phone="+12025550143"))
    caller = player()

    known, unknown = caller.post(REQUEST, PHONE), caller.post(REQUEST, INDIAN)

    shapes = [
        (
            answer.status_code,
            sorted(map(str, answer.json())),
            answer.json()["isNewUser"],
            sorted(map(str, answer.headers)),
        )
        for answer in (known, unknown)
    ]
    assert shapes[0] == shapes[1]
    assert (shapes[0][0], shapes[0][2]) == (200, True)


@pytest.mark.django_db
def test_six_spellings_are_one_phone_and_one_count(outbox, clock):
    spellings = [
        ("9876543210", "+91"),
        ("09876543210", "91"),
        ("98765 43210", "IN"),
        ("98765-43210", "in"),
        ("919876543210", "+91"),
        ("9 8 7 6 5-4-3-2-1-0", "91"),
    ]

    answers = [
        player().post(REQUEST, {"phone_number": number, "countryCode": country})
        for number, country in spellings
    ]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert {phone for phone, _ in sent_to(outbox)} == {"+919876543210"}
    assert OtpRequest.objects.values("phone_hash").distinct().count() == 1


# --- Crashes -------------------------------------------------------------------------------------


class Killer:
    """A gateway in whose hands the process dies."""

    def send(self, message) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("committed_database")
def test_who_dies_before_sending_makes_nobody_wait_for_long(outbox, settings, clock):
    caller = player()
    backend, settings.SMS_BACKEND = settings.SMS_BACKEND, f"{__name__}.Killer"
    connection.close()  # which would be shared
    child = os.fork()
    if child == 0:
        caller.post(REQUEST, PHONE)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    settings.SMS_BACKEND = backend

    assert os.WTERMSIG(status) == signal.SIGKILL
    assert OtpRequest.objects.filter(sent_at=None, undelivered_at=None).count() == 1
    clock.shift(19)
    early = caller.post(REQUEST, PHONE)
    clock.shift(1)
    again = caller.post(REQUEST, PHONE)
    clock.shift(20)
    sent = caller.post(REQUEST, PHONE)

    assert error_body(early)["details"] == {"retry_after_s": 41}
    assert again.status_code == 200
    assert error_body(sent)["details"] == {"retry_after_s": 40}
    assert len(sent_to(outbox)) == 1
    assert OtpRequest.objects.exclude(sent_at=None).count() == 1


# --- Sandboxes -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_sandboxs_number_for_tests_has_the_code_that_everybody_knows(outbox, clock):
    caller = player(is_sandbox=True)

    answer = caller.post(REQUEST, PHONE)
    wrong_code = caller.post(VERIFY, {**PHONE, **answer.json(), "otp": "000001"})
    right = caller.post(VERIFY, {**PHONE, **answer.json(), "otp": "000000"})

    assert (answer.status_code, wrong_code.status_code, right.status_code) == (200, 400, 200)
    assert sent_to(outbox) == []


@pytest.mark.django_db
def test_real_money_never_takes_the_known_code(outbox, clock, monkeypatch):
    monkeypatch.setattr("secrets.randbelow", lambda most: 123456)
    caller = player()

    answer = caller.post(REQUEST, PHONE)
    known = caller.post(VERIFY, {**PHONE, **answer.json(), "otp": "000000"})

    assert error_body(known)["error"] == "OTP_INVALID"
    assert sent_to(outbox) == [("+12025550143", "123456")]
    assert not KgenAccount.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("numbers", ["", r"\+1[2-9][0-9]{2}55501[0-9]{2}"])
def test_a_sandbox_sends_to_all_other_numbers(outbox, clock, settings, numbers):
    settings.OTP_SANDBOX_NUMBERS = numbers
    caller = player(is_sandbox=True)
    phone = INDIAN if numbers else PHONE

    caller.post(REQUEST, phone)

    assert len(sent_to(outbox)) == 1


@pytest.mark.django_db
def test_numbers_for_tests_use_up_no_budget_but_wait_like_all(outbox, clock, settings):
    settings.OTP_DAILY_BUDGET = settings.OTP_DAILY_BUDGET_PER_GAME = 1
    settings.OTP_SENDS_PER_PREFIX_AND_10_MINUTES = 1
    caller = player(is_sandbox=True)

    answers = [caller.post(REQUEST, PHONE), caller.post(REQUEST, PHONE)]
    clock.shift(60)
    answers += [caller.post(REQUEST, PHONE), player().post(REQUEST, PHONE)]

    assert [answer.status_code for answer in answers] == [200, 429, 200, 200]
    assert len(sent_to(outbox)) == 1


@pytest.mark.django_db
def test_numbers_for_tests_work_while_the_switch_is_pulled(outbox, clock):
    otp_watch.pull(reason="pumping", by="sam", now=NOW)

    assert player(is_sandbox=True).post(REQUEST, PHONE).status_code == 200
    refused = player().post(REQUEST, PHONE)

    assert refused["Retry-After"] == "60"
