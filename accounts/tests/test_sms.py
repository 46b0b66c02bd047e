"""The gateways, against answers of the shapes that they document."""

import base64
import logging
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import httpx
import orjson
import pytest
import time_machine

from accounts import checks, otp, sms
from accounts.models import OtpRequest, PhoneVerification
from accounts.sms.sns import signed
from accounts.tests.factories import GamerFactory
from kgen.common.encryption import keyed_hash

MESSAGE = sms.Message(phone="+919876543210", code="604182", minutes=5)
TEXT = "604182 is your KGeN code for 5 minutes. Share it with nobody."
TWILIO = "https://api.twilio.com/2010-04-01/Accounts/AC0123/Messages.json"
SNS = "https://sns.ap-south-1.amazonaws.com/"
MSG91 = "https://control.msg91.com/api/v5/flow/"
PUBLISHED = """<PublishResponse xmlns="https://sns.amazonaws.com/doc/2010-03-31/">
<PublishResult><MessageId>94f20ce6-13c5-43a0-9a9e-ca52d816e90b</MessageId></PublishResult>
<ResponseMetadata><RequestId>f187a3c1-376f-11df-8963-01868b7c937a</RequestId></ResponseMetadata>
</PublishResponse>"""
THROTTLED = """<ErrorResponse xmlns="https://sns.amazonaws.com/doc/2010-03-31/">
<Error><Type>Sender</Type><Code>InvalidParameter</Code>
<Message>Invalid parameter: PhoneNumber Reason: +919876543210 is not valid</Message></Error>
<RequestId>f187a3c1-376f-11df-8963-01868b7c937a</RequestId></ErrorResponse>"""

GATEWAYS = {
    "accounts.sms.twilio.Twilio": (
        TWILIO,
        httpx.Response(201, json={"sid": "SM01", "status": "queued", "error_code": None}),
    ),
    "accounts.sms.sns.Sns": (SNS, httpx.Response(200, text=PUBLISHED)),
    "accounts.sms.msg91.Msg91": (
        MSG91,
        httpx.Response(200, json={"message": "5762846b4f8d285d378b4567", "type": "success"}),
    ),
}


@pytest.fixture(autouse=True)
def _gateways(settings):
    settings.SMS_TWILIO_ACCOUNT, settings.SMS_TWILIO_SENDER = "AC0123", "+15005550006"
    settings.SMS_TWILIO_KEY, settings.SMS_TWILIO_SECRET = "SK0123", "twilio-secret"
    settings.SMS_TWILIO_VERIFY_SERVICE = "VA0123"
    settings.SMS_SNS_REGION, settings.SMS_SNS_KEY_ID = "ap-south-1", "AKIDEXAMPLE"
    settings.SMS_SNS_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    settings.SMS_MSG91_KEY, settings.SMS_MSG91_TEMPLATE = "msg91-key", "flow-1"


def send(settings, backend):
    settings.SMS_BACKEND = backend
    sms.gateway_for("US").send(MESSAGE)


def test_twilio_gets_number_sender_and_text(settings, respx_mock):
    url, answer = GATEWAYS["accounts.sms.twilio.Twilio"]
    route = respx_mock.post(url).mock(return_value=answer)

    send(settings, "accounts.sms.twilio.Twilio")

    request = route.calls.last.request
    assert parse_qs(request.content.decode()) == {
        "To": ["+919876543210"],
        "From": ["+15005550006"],
        "Body": [TEXT],
    }
    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == (
        b"SK0123:twilio-secret"
    )


def test_twilio_takes_a_messaging_service_as_sender(settings, respx_mock):
    url, answer = GATEWAYS["accounts.sms.twilio.Twilio"]
    route = respx_mock.post(url).mock(return_value=answer)
    settings.SMS_TWILIO_SENDER = "MG0123"

    send(settings, "accounts.sms.twilio.Twilio")

    assert parse_qs(route.calls.last.request.content.decode())["MessagingServiceSid"] == ["MG0123"]


# --- Twilio Verify -------------------------------------------------------------------------------

VERIFY = "accounts.sms.twilio.TwilioVerify"
VERIFICATIONS = "https://verify.twilio.com/v2/Services/VA0123/Verifications"
PENDING = httpx.Response(201, json={"sid": "VE01", "status": "pending", "valid": False})
NONE_OPEN = httpx.Response(404, json={"code": 20404, "status": 404})


@pytest.mark.parametrize("before", [NONE_OPEN, httpx.Response(200, json={"status": "canceled"})])
def test_verify_ends_what_is_open_and_sends_our_code(settings, respx_mock, before):
    ended = respx_mock.post(f"{VERIFICATIONS}/%2B919876543210").mock(return_value=before)
    begun = respx_mock.post(VERIFICATIONS).mock(return_value=PENDING)

    send(settings, VERIFY)

    assert parse_qs(ended.calls.last.request.content.decode()) == {"Status": ["canceled"]}
    assert parse_qs(begun.calls.last.request.content.decode()) == {
        "To": ["+919876543210"],
        "Channel": ["sms"],
        "CustomCode": ["604182"],
    }


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(429, json={"code": 60203, "status": 429}), sms.SmsRefused),
        (httpx.Response(200, json={"status": "pending"}), sms.SmsRefused),
        (httpx.Response(201, json={"status": "canceled"}), sms.SmsRefused),
        (httpx.ReadTimeout("late"), sms.SmsInDoubt),
        (httpx.Response(503), sms.SmsInDoubt),
    ],
)
def test_what_verify_does_not_take_is_refused(settings, respx_mock, answer, error):
    respx_mock.post(f"{VERIFICATIONS}/%2B919876543210").mock(return_value=NONE_OPEN)
    respx_mock.post(VERIFICATIONS).mock(side_effect=[answer])

    with pytest.raises(sms.SmsRefused) as refused:
        send(settings, VERIFY)

    assert type(refused.value) is error


def test_a_code_was_surely_not_sent_before_the_open_one_is_ended(settings, respx_mock):
    respx_mock.post(f"{VERIFICATIONS}/%2B919876543210").mock(side_effect=httpx.ReadTimeout("late"))
    begun = respx_mock.post(VERIFICATIONS).mock(return_value=PENDING)

    with pytest.raises(sms.SmsRefused) as refused:
        send(settings, VERIFY)

    assert type(refused.value) is sms.SmsRefused
    assert not begun.called


@pytest.mark.django_db
def test_verify_is_told_which_codes_were_used_of_late(settings, respx_mock):
    settings.SMS_BACKEND = VERIFY
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    used, unused, old, free = (GamerFactory.create() for _ in range(4))
    otp_request(used, "+919876543210", used_at=now - timedelta(seconds=30), now=now)
    otp_request(unused, "+919876543211", used_at=None, now=now)
    otp_request(old, "+919876543212", used_at=now - timedelta(minutes=3), now=now)
    otp_request(free, "+12025550143", used_at=now, now=now, is_free=True)
    told = respx_mock.post(f"{VERIFICATIONS}/%2B919876543210").mock(
        return_value=httpx.Response(200, json={"status": "approved"})
    )

    assert otp.tell_gateways(now=now) == 1

    assert parse_qs(told.calls.last.request.content.decode()) == {"Status": ["approved"]}
    assert respx_mock.calls.call_count == 1


@pytest.mark.django_db
def test_a_gateway_that_cannot_be_told_is_told_another_time(settings, respx_mock, caplog):
    settings.SMS_BACKEND = VERIFY
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    otp_request(GamerFactory.create(), "+919876543210", used_at=now, now=now)
    respx_mock.post(f"{VERIFICATIONS}/%2B919876543210").mock(side_effect=httpx.ConnectError("away"))

    with caplog.at_level(logging.WARNING):
        assert otp.tell_gateways(now=now) == 0

    assert "Twilio is out of reach: ConnectError" in caplog.text
    assert "9876543210" not in caplog.text


@pytest.mark.django_db
def test_other_gateways_do_not_count_uses(settings, respx_mock):
    settings.SMS_BACKEND = "accounts.sms.twilio.Twilio"
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    otp_request(GamerFactory.create(), "+919876543210", used_at=now, now=now)

    assert otp.tell_gateways(now=now) == 0

    assert not respx_mock.calls


def otp_request(gamer, phone, *, used_at, now, is_free=False):
    return OtpRequest.objects.create(
        verification=PhoneVerification.objects.create(
            gamer=gamer, phone_hash=keyed_hash("phone", phone)
        ),
        auth_code="525503817264019",
        code_hash="0" * 64,
        created_at=now - timedelta(minutes=4),
        expires_at=now + timedelta(minutes=1),
        sent_at=now - timedelta(minutes=4),
        used_at=used_at,
        game=gamer.game,
        gamer=gamer,
        phone=phone,
        prefix_hash="0" * 64,
        country="IN",
        is_free=is_free,
    )


# --- The others ----------------------------------------------------------------------------------


def test_msg91_gets_template_number_and_variables(settings, respx_mock):
    url, answer = GATEWAYS["accounts.sms.msg91.Msg91"]
    route = respx_mock.post(url).mock(return_value=answer)

    send(settings, "accounts.sms.msg91.Msg91")

    request = route.calls.last.request
    assert request.headers["authkey"] == "msg91-key"
    assert orjson.loads(request.content) == {
        "template_id": "flow-1",
        "recipients": [{"mobiles": "919876543210", "otp": "604182", "minutes": "5"}],
    }


def test_sns_gets_a_signed_publish(settings, respx_mock):
    url, answer = GATEWAYS["accounts.sms.sns.Sns"]
    route = respx_mock.post(url).mock(return_value=answer)

    with time_machine.travel(datetime(2026, 11, 22, 12, tzinfo=UTC), tick=False):
        send(settings, "accounts.sms.sns.Sns")

    request = route.calls.last.request
    assert parse_qs(request.content.decode()) == {
        "Action": ["Publish"],
        "Version": ["2010-03-31"],
        "PhoneNumber": ["+919876543210"],
        "Message": [TEXT],
        "MessageAttributes.entry.1.Name": ["AWS.SNS.SMS.SMSType"],
        "MessageAttributes.entry.1.Value.DataType": ["String"],
        "MessageAttributes.entry.1.Value.StringValue": ["Transactional"],
    }
    assert request.headers["x-amz-date"] == "20261122T120000Z"
    assert request.headers["authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/ap-south-1/sns/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, Signature="
    )


def test_signature_is_that_of_the_published_example():
    """`post-x-www-form-urlencoded` of the test suite that AWS publishes for Signature Version 4."""
    headers = signed(
        host="example.amazonaws.com",
        body=b"Param1=value1",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        region="us-east-1",
        service="service",
        key_id="AKIDEXAMPLE",
        secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        now=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )

    assert headers["authorization"].endswith(
        "Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
    )


@pytest.mark.parametrize("backend", GATEWAYS)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(401, text="no"), sms.SmsRefused),
        (httpx.Response(429, json={"code": 20429, "message": "+919876543210"}), sms.SmsRefused),
        (httpx.Response(302, headers={"Location": "https://elsewhere.example"}), sms.SmsRefused),
        (httpx.Response(200, text=""), sms.SmsRefused),
        (httpx.Response(200, json=["success"]), sms.SmsRefused),
        (httpx.Response(500, text="oops"), sms.SmsInDoubt),
        (httpx.ConnectTimeout("late"), sms.SmsRefused),
        (httpx.ConnectError("away"), sms.SmsRefused),
        (httpx.ReadTimeout("late"), sms.SmsInDoubt),
        (httpx.RemoteProtocolError("cut"), sms.SmsInDoubt),
    ],
)
def test_what_a_gateway_does_not_take_is_refused(settings, respx_mock, backend, answer, error):
    route = respx_mock.post(GATEWAYS[backend][0])
    route.side_effect = [answer] if isinstance(answer, Exception) else None
    if isinstance(answer, httpx.Response):
        route.return_value = answer

    with pytest.raises(sms.SmsRefused) as refused:
        send(settings, backend)

    assert type(refused.value) is error
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("backend", "answer", "told"),
    [
        (
            "accounts.sms.twilio.Twilio",
            httpx.Response(
                400,
                json={
                    "code": 21211,
                    "message": "The 'To' number +919876543210 is not a valid phone number.",
                    "status": 400,
                },
            ),
            "Twilio refused with 400, 21211",
        ),
        (
            "accounts.sms.sns.Sns",
            httpx.Response(400, text=THROTTLED),
            "Amazon SNS refused with 400, InvalidParameter",
        ),
        (
            "accounts.sms.msg91.Msg91",
            httpx.Response(
                200, json={"type": "error", "code": "106", "message": "to 919876543210: no key"}
            ),
            "MSG91 refused with 200, 106",
        ),
    ],
)
def test_refusals_and_logs_name_neither_number_nor_code(
    settings, respx_mock, caplog, backend, answer, told
):
    caplog.set_level(logging.DEBUG)
    respx_mock.post(GATEWAYS[backend][0]).mock(return_value=answer)

    with pytest.raises(sms.SmsRefused) as refused:
        send(settings, backend)

    assert str(refused.value) == told
    assert repr(MESSAGE) == "Message(minutes=5)"
    logged = caplog.text + repr(refused.value.__cause__) + repr(refused.value.__context__)
    for hidden in ("9876543210", "604182", "twilio-secret", "msg91-key"):
        assert hidden not in logged


def test_a_country_may_have_a_gateway_of_its_own(settings, respx_mock):
    settings.SMS_BACKEND = "accounts.sms.twilio.Twilio"
    settings.SMS_BACKEND_OF_COUNTRY = {"IN": "accounts.sms.msg91.Msg91"}
    others = respx_mock.post(TWILIO).mock(return_value=GATEWAYS[settings.SMS_BACKEND][1])
    indias = respx_mock.post(MSG91).mock(return_value=GATEWAYS["accounts.sms.msg91.Msg91"][1])

    sms.gateway_for("IN").send(MESSAGE)
    sms.gateway_for("US").send(MESSAGE)

    assert (indias.call_count, others.call_count) == (1, 1)


def test_check_warns_of_the_outbox_and_of_settings_that_are_missing(settings):
    settings.SMS_BACKEND = checks.OUTBOX
    settings.SMS_BACKEND_OF_COUNTRY = {"IN": "accounts.sms.msg91.Msg91"}
    settings.SMS_MSG91_TEMPLATE = ""

    found = checks.check_gateways()

    assert [message.id for message in found] == ["accounts.E001", "accounts.W001"]
    assert found[0].msg == "accounts.sms.msg91.Msg91 needs SMS_MSG91_TEMPLATE."


def test_check_is_content_with_a_whole_gateway(settings):
    settings.SMS_BACKEND = "accounts.sms.sns.Sns"

    assert checks.check_gateways() == []
