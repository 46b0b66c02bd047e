"""Linking a phone by OTP (API contract, sections 3.9 and 3.10)."""

import pytest
import time_machine
from django.utils import timezone

from accounts.models import Gamer, KgenAccount, OtpRequest, PhoneVerification
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GamerFactory, KgenAccountFactory
from accounts.tests.outbox import sent_to
from kgen.common.encryption import keyed_hash
from kgen.common.models import KeptAnswer
from wallet import custody
from wallet.models import KgenWallet

pytestmark = pytest.mark.django_db

REQUEST, VERIFY = "/verification/otp/_request", "/verification/otp/_verify"
NOW = timezone.now().replace(microsecond=0)
PHONE = {"phone_number": "2025550143", "countryCode": "+1"}


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture(autouse=True)
def outbox(settings, tmp_path):
    settings.SMS_OUTBOX = tmp_path / "sms.jsonl"
    return settings.SMS_OUTBOX


@pytest.fixture
def gamer() -> Gamer:
    return GamerFactory()


@pytest.fixture
def caller(gamer: Gamer) -> GameClient:
    return GameClient(gamer.game).as_gamer(gamer)


def asked(caller: GameClient, outbox, phone=PHONE) -> dict[str, str]:
    """Ask for an OTP and return the body that verifies it."""
    answer = caller.post(REQUEST, phone)
    assert answer.status_code == 200
    _, code = sent_to(outbox)[-1]
    return {**phone, "authCode": answer.json()["authCode"], "otp": code}


def wrong(proof: dict[str, str]) -> dict[str, str]:
    return {**proof, "otp": f"{(int(proof['otp']) + 1) % 10**6:06d}"}


def nothing_is_linked() -> bool:
    return not (
        KgenAccount.objects.exists()
        or KgenWallet.objects.exists()
        or Gamer.objects.exclude(kgen_account=None).exists()
    )


# --- _request ---------------------------------------------------------------------------------


def test_request_sends_a_code_that_is_nowhere_else(caller, gamer, outbox):
    answer = caller.post(REQUEST, PHONE)

    [(phone, code)] = sent_to(outbox)
    request = OtpRequest.objects.get()
    assert answer.status_code == 200
    assert answer.json() == {"authCode": request.auth_code, "isNewUser": True}
    assert len(request.auth_code) == 15
    assert request.auth_code[0] != "0"
    assert phone == "+12025550143"
    assert code not in answer.content.decode()
    assert code not in request.code_hash
    assert (request.gamer, request.game, request.phone) == (gamer, gamer.game, "+12025550143")
    assert request.phone_hash == keyed_hash("phone", "+12025550143")
    assert request.prefix_hash == keyed_hash("prefix", "+12025550")


@pytest.mark.parametrize(
    "same",
    [
        {"phone_number": "202-555-0143", "countryCode": "1"},
        {"phone_number": "202 555 0143", "countryCode": "US"},
        {"phone_number": "1 202 555 0143", "countryCode": "us"},
    ],
)
def test_spellings_of_one_number_are_one_phone(caller, outbox, clock, same):
    caller.post(REQUEST, PHONE)

    answer = caller.post(REQUEST, same)

    assert error_body(answer)["error"] == "OTP_RESEND_TOO_SOON"
    assert PhoneVerification.objects.get().phone_hash == keyed_hash("phone", "+12025550143")


@pytest.mark.parametrize(
    ("phone_number", "country_code", "e164"),
    [
        ("9876543210", "+91", "+919876543210"),
        ("09876543210", "IN", "+919876543210"),
        ("98765-43210", "91", "+919876543210"),
    ],
)
def test_indian_numbers_are_served(caller, outbox, phone_number, country_code, e164):
    caller.post(REQUEST, {"phone_number": phone_number, "countryCode": country_code})

    assert [phone for phone, _ in sent_to(outbox)] == [e164]


@pytest.mark.parametrize(
    ("phone_number", "country_code", "field"),
    [
        ("", "+1", "phone_number"),
        ("123", "+1", "phone_number"),
        ("1" * 15, "+1", "phone_number"),
        ("+12025550143", "+1", "phone_number"),
        ("(202)5550143", "+1", "phone_number"),
        ("２０２５５５０１４３", "+1", "phone_number"),  # noqa: RUF001 - full-width digits
        ("2025550143\n", "+1", "phone_number"),
        ("1234567", "+91", "phone_number"),
        ("2222222222", "+91", "phone_number"),  # a fixed line
        ("9876543210", "US", "phone_number"),
        (2025550143, "+1", "phone_number"),
        (None, "+1", "phone_number"),
        ("2025550143", "", "countryCode"),
        ("2025550143", "+", "countryCode"),
        ("2025550143", "++1", "countryCode"),
        ("2025550143", "0", "countryCode"),
        ("2025550143", "999", "countryCode"),
        ("2025550143", "XX", "countryCode"),
        ("2025550143", "USA", "countryCode"),
        ("2025550143", 1, "countryCode"),
    ],
)
def test_no_mobile_number_of_a_country_is_refused(
    caller, outbox, phone_number, country_code, field
):
    answer = caller.post(REQUEST, {"phone_number": phone_number, "countryCode": country_code})

    assert answer.status_code == 400
    body = error_body(answer)
    assert body["error"] == "BAD_REQUEST"
    assert list(body["details"]["fields"]) == [field]
    assert sent_to(outbox) == []
    assert not OtpRequest.objects.exists()


@pytest.mark.parametrize(
    ("phone_number", "country_code"),
    [
        ("7400123456", "+44"),
        ("7400123456", "GB"),
        ("4165550123", "+1"),  # Canada
        ("4165550123", "CA"),
        ("9002345678", "US"),  # premium
    ],
)
def test_country_or_kind_that_is_not_served_is_refused(caller, outbox, phone_number, country_code):
    answer = caller.post(REQUEST, {"phone_number": phone_number, "countryCode": country_code})

    assert answer.status_code == 400
    assert error_body(answer) == {"error": "PHONE_COUNTRY_NOT_SERVED", "details": {}}
    assert sent_to(outbox) == []


def test_request_again_waits_sixty_seconds(caller, outbox, clock):
    caller.post(REQUEST, PHONE)

    clock.shift(20)
    early = caller.post(REQUEST, PHONE)
    clock.shift(40)
    in_time = caller.post(REQUEST, PHONE)

    assert early.status_code == 429
    assert error_body(early) == {
        "error": "OTP_RESEND_TOO_SOON",
        "details": {"retry_after_s": 40},
    }
    assert early["Retry-After"] == "40"
    assert in_time.status_code == 200
    assert len(sent_to(outbox)) == 2


def test_one_phone_gets_five_sends_an_hour_over_all_games(outbox, clock):
    for _ in range(5):
        gamer = GamerFactory()
        asked(GameClient(gamer.game).as_gamer(gamer), outbox)
        clock.shift(60)
    gamer = GamerFactory()
    sixth = GameClient(gamer.game).as_gamer(gamer)

    refused = sixth.post(REQUEST, PHONE)
    clock.shift(3300)
    later = sixth.post(REQUEST, PHONE)

    assert refused.status_code == 429
    assert error_body(refused) == {"error": "OTP_REQUEST_LIMIT", "details": {}}
    assert refused["Retry-After"] == "3300"
    assert later.status_code == 200
    assert len(sent_to(outbox)) == 6


def test_one_gamer_gets_ten_sends_a_day(caller, outbox):
    for number in range(10):
        asked(caller, outbox, {"phone_number": f"20255501{number:02d}", "countryCode": "+1"})

    refused = caller.post(REQUEST, {"phone_number": "2025550199", "countryCode": "+1"})

    assert error_body(refused)["error"] == "OTP_REQUEST_LIMIT"
    assert len(sent_to(outbox)) == 10


def test_neighbouring_numbers_get_twenty_sends_in_ten_minutes(outbox, clock):
    callers = [GameClient(gamer.game).as_gamer(gamer) for gamer in GamerFactory.create_batch(3)]
    for number in range(20):
        phone = {"phone_number": f"20255501{number:02d}", "countryCode": "+1"}
        asked(callers[number % 3], outbox, phone)

    refused = callers[0].post(REQUEST, {"phone_number": "2025550199", "countryCode": "+1"})
    elsewhere = callers[0].post(REQUEST, {"phone_number": "2125550199", "countryCode": "+1"})

    assert error_body(refused)["error"] == "OTP_REQUEST_LIMIT"
    assert refused["Retry-After"] == "600"
    assert elsewhere.status_code == 200


@pytest.mark.parametrize("budget", ["OTP_DAILY_BUDGET_PER_GAME", "OTP_DAILY_BUDGET"])
def test_daily_budgets_end_the_sends(gamer, outbox, settings, clock, budget):
    setattr(settings, budget, 1)
    asked(GameClient(gamer.game).as_gamer(gamer), outbox)
    neighbour = GamerFactory(game=gamer.game)
    caller = GameClient(gamer.game).as_gamer(neighbour)

    refused = caller.post(REQUEST, {"phone_number": "2125550199", "countryCode": "+1"})

    assert error_body(refused)["error"] == "OTP_REQUEST_LIMIT"
    assert refused["Retry-After"] == "86400"
    assert len(sent_to(outbox)) == 1


def test_answer_does_not_tell_whether_the_phone_is_known(caller, outbox):
    GamerFactory(linked=True, kgen_account__phone="+12025550143")

    answer = caller.post(REQUEST, PHONE)

    assert answer.status_code == 200
    assert answer.json()["isNewUser"] is True


def test_linked_gamer_may_prove_the_same_phone_but_no_other(outbox):
    gamer = GamerFactory(linked=True, kgen_account__phone="+12025550143")
    caller = GameClient(gamer.game).as_gamer(gamer)

    same = caller.post(REQUEST, PHONE)
    other = caller.post(REQUEST, {"phone_number": "2025550144", "countryCode": "+1"})

    assert same.json()["isNewUser"] is False
    assert other.status_code == 409
    assert error_body(other) == {"error": "KGEN_WALLET_ALREADY_LINKED", "details": {}}
    assert len(sent_to(outbox)) == 1


def test_refused_sms_counts_nothing(caller, outbox, settings, tmp_path, clock):
    settings.SMS_OUTBOX = tmp_path  # a folder takes no line
    refused = caller.post(REQUEST, PHONE, key="k")
    settings.SMS_OUTBOX = outbox

    again = caller.post(REQUEST, PHONE, key="k")

    assert refused.status_code == 503
    assert error_body(refused) == {"error": "OTP_DELIVERY_FAILED", "details": {}}
    assert refused["Retry-After"] == "1"
    assert again.status_code == 200
    assert "Idempotent-Replayed" not in again
    assert OtpRequest.objects.filter(undelivered_at=None).count() == 1


def test_code_of_a_refused_sms_opens_nothing(caller, outbox, settings, tmp_path):
    proof = asked(caller, outbox)
    PhoneVerification.objects.update(last_generated_timestamp=None)
    settings.SMS_OUTBOX = tmp_path
    caller.post(REQUEST, PHONE)

    answer = caller.post(VERIFY, proof)

    assert error_body(answer)["error"] == "OTP_NOT_FOUND"


def test_key_repeats_the_answer_and_sends_once(caller, outbox):
    first = caller.post(REQUEST, PHONE, key="k")
    again = caller.post(REQUEST, PHONE, key="k")

    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert len(sent_to(outbox)) == 1


# --- _verify ----------------------------------------------------------------------------------


def test_right_otp_links_the_gamer_to_the_wallet_of_the_phone(caller, gamer, outbox):
    proof = asked(caller, outbox)

    answer = caller.post(VERIFY, proof)

    gamer.refresh_from_db()
    wallet = KgenWallet.objects.get()
    assert answer.status_code == 200
    assert answer.json() == {"message": "Phone number verified successfully"}
    assert gamer.kgen_account.phone == "+12025550143"
    assert wallet.account == gamer.kgen_account
    assert wallet.hd_index is not None
    assert wallet.address == custody.kgen_address(wallet.hd_index)


def test_auth_code_and_otp_are_taken_as_integers(caller, gamer, outbox):
    proof = asked(caller, outbox)

    answer = caller.post(
        VERIFY, {**proof, "authCode": int(proof["authCode"]), "otp": int(proof["otp"])}
    )

    assert answer.status_code == 200


def test_one_phone_is_one_wallet_over_all_games(outbox, clock):
    gamers = GamerFactory.create_batch(2)
    for gamer in gamers:
        caller = GameClient(gamer.game).as_gamer(gamer)
        assert caller.post(VERIFY, asked(caller, outbox)).status_code == 200

    first, second = Gamer.objects.order_by("pk")
    assert first.kgen_account == second.kgen_account
    assert KgenWallet.objects.count() == 1


def test_five_wrong_tries_kill_the_otp(caller, outbox):
    proof = asked(caller, outbox)

    tries = [caller.post(VERIFY, wrong(proof)) for _ in range(5)]
    sixth = caller.post(VERIFY, wrong(proof))
    right = caller.post(VERIFY, proof)

    assert [answer.status_code for answer in tries] == [400] * 5
    assert [error_body(answer) for answer in tries] == [
        {"error": "OTP_INVALID", "details": {"attempts_left": left}} for left in (4, 3, 2, 1, 0)
    ]
    assert (sixth.status_code, right.status_code) == (429, 429)
    assert error_body(right) == {"error": "OTP_TOO_MANY_ATTEMPTS", "details": {}}
    assert nothing_is_linked()


def test_fifth_try_may_be_right(caller, outbox):
    proof = asked(caller, outbox)
    for _ in range(4):
        caller.post(VERIFY, wrong(proof))

    assert caller.post(VERIFY, proof).status_code == 200


def test_wrong_try_under_a_key_stays_counted(caller, outbox):
    proof = asked(caller, outbox)

    left = [
        error_body(caller.post(VERIFY, wrong(proof), key="k"))["details"]["attempts_left"]
        for _ in range(3)
    ]

    assert left == [4, 3, 2]
    assert not KeptAnswer.objects.exists()


def test_otp_lives_three_hundred_seconds(caller, outbox, clock):
    proof = asked(caller, outbox)

    clock.shift(299)
    before = caller.post(VERIFY, wrong(proof))
    clock.shift(1)
    after = caller.post(VERIFY, proof)

    assert error_body(before)["error"] == "OTP_INVALID"
    assert after.status_code == 400
    assert error_body(after) == {"error": "OTP_EXPIRED", "details": {}}
    assert nothing_is_linked()


def test_newer_otp_makes_the_older_one_void(caller, outbox, clock):
    older = asked(caller, outbox)
    clock.shift(60)
    newer = asked(caller, outbox)

    void = caller.post(VERIFY, older)
    mixed = caller.post(VERIFY, {**newer, "authCode": older["authCode"]})
    good = caller.post(VERIFY, newer)

    assert void.status_code == 404
    assert error_body(void) == {"error": "OTP_NOT_FOUND", "details": {}}
    assert error_body(mixed)["error"] == "OTP_NOT_FOUND"
    assert good.status_code == 200
    assert set(OtpRequest.objects.values_list("attempts", flat=True)) == {0, 1}


@pytest.mark.parametrize(
    "other",
    [{"phone_number": "2025550144"}, {"authCode": "525503817264019"}, {"authCode": "ü"}],
)
def test_request_of_nobody_is_not_found(caller, outbox, other):
    proof = asked(caller, outbox)

    answer = caller.post(VERIFY, {**proof, **other})

    assert answer.status_code == 404
    assert error_body(answer) == {"error": "OTP_NOT_FOUND", "details": {}}
    assert OtpRequest.objects.get().attempts == 0


def test_request_of_another_gamer_is_not_found(caller, gamer, outbox):
    proof = asked(caller, outbox)
    neighbour = GameClient(gamer.game).as_gamer(GamerFactory(game=gamer.game))

    answer = neighbour.post(VERIFY, proof)

    assert error_body(answer)["error"] == "OTP_NOT_FOUND"
    assert nothing_is_linked()


def test_otp_is_used_once(caller, outbox):
    proof = asked(caller, outbox)
    caller.post(VERIFY, proof)

    again = caller.post(VERIFY, proof)

    assert again.status_code == 404
    assert error_body(again) == {"error": "OTP_NOT_FOUND", "details": {}}


def test_key_replays_the_link_after_a_lost_answer(caller, outbox):
    proof = asked(caller, outbox)
    caller.post(VERIFY, proof, key="k")

    again = caller.post(VERIFY, proof, key="k")

    assert again.status_code == 200
    assert again.json() == {"message": "Phone number verified successfully"}
    assert again["Idempotent-Replayed"] == "true"


def test_phone_of_another_gamer_of_the_game_is_refused(caller, gamer, outbox):
    account = KgenAccountFactory(phone="+12025550143")
    GamerFactory(game=gamer.game, kgen_account=account)
    proof = asked(caller, outbox)

    answer = caller.post(VERIFY, proof)

    gamer.refresh_from_db()
    assert answer.status_code == 409
    assert error_body(answer) == {"error": "PHONE_LINKED_TO_ANOTHER_GAMER", "details": {}}
    assert gamer.kgen_account is None
    assert OtpRequest.objects.get().attempts == 1
    assert OtpRequest.objects.get().used_at is None


def test_gamer_linked_meanwhile_to_another_phone_is_refused(caller, gamer, outbox):
    proof = asked(caller, outbox)
    other = KgenAccountFactory(phone="+12025550199")
    Gamer.objects.filter(pk=gamer.pk).update(kgen_account=other)

    answer = caller.post(VERIFY, proof)

    gamer.refresh_from_db()
    assert answer.status_code == 409
    assert error_body(answer) == {"error": "KGEN_WALLET_ALREADY_LINKED", "details": {}}
    assert gamer.kgen_account == other


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("authCode", None),
        ("authCode", ""),
        ("authCode", True),
        ("authCode", 5.5),
        ("authCode", "1" * 65),
        ("otp", None),
        ("otp", ""),
        ("otp", "12345"),
        ("otp", "1234567"),
        ("otp", "12345a"),
        ("otp", "١٢٣٤٥٦"),
        ("otp", 1_000_000),
        ("otp", -1),
        ("otp", 1.0),
        ("otp", True),
        ("phone_number", "abc"),
        ("countryCode", "!"),
    ],
)
def test_wrong_field_is_named_and_no_try(caller, outbox, field, value):
    proof = asked(caller, outbox)

    answer = caller.post(VERIFY, {**proof, field: value})

    assert answer.status_code == 400
    body = error_body(answer)
    assert body["error"] == "BAD_REQUEST"
    assert list(body["details"]["fields"]) == [field]
    assert OtpRequest.objects.get().attempts == 0


@pytest.mark.parametrize("path", [REQUEST, VERIFY])
def test_missing_fields_are_named(caller, path):
    fields = error_body(caller.post(path, {}))["details"]["fields"]

    wanted = ["phone_number", "countryCode", *(["authCode", "otp"] if path == VERIFY else [])]
    assert fields == dict.fromkeys(wanted, "This field is required.")


@pytest.mark.parametrize("path", [REQUEST, VERIFY])
def test_otp_calls_are_refused_while_nobody_counts(caller, settings, outbox, path, valkey_away):
    answer = caller.post(path, PHONE)

    assert answer.status_code == 503
    assert error_body(answer) == {"error": "SERVICE_UNAVAILABLE", "details": {}}
    assert answer["Retry-After"] == "1"
    assert sent_to(outbox) == []
