"""Nothing secret or personal comes through, wherever it stands."""

import secrets
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgen.common import scrubbing
from kgen.common.scrubbing import HIDDEN, scrub, scrub_text

OFTEN = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def new_token() -> str:
    return secrets.token_urlsafe(36)


TOKENS = st.builds(new_token)
CLIENT_SECRETS = st.builds(lambda: secrets.token_urlsafe(32))
PHONES = st.one_of(
    st.from_regex(r"\+91[6-9]\d{9}", fullmatch=True),
    st.from_regex(r"\+1 ?\([2-9]\d{2}\) [2-9]\d{2}-\d{4}", fullmatch=True),
    st.from_regex(r"[6-9]\d{9}", fullmatch=True),
    st.from_regex(r"[6-9]\d{4}[ -]\d{5}", fullmatch=True),
    st.from_regex(r"[2-9]\d{2}-[2-9]\d{2}-\d{4}", fullmatch=True),
)
EMAILS = st.from_regex(
    r"[a-z]{1,12}(\.[a-z]{1,9})?(\+[a-z]{1,5})?@[a-z]{1,9}\.(com|co\.uk)", fullmatch=True
)
SECRETS = st.one_of(TOKENS, CLIENT_SECRETS, PHONES, EMAILS)

# What may stand around it. Of the hexadecimal a bare number may be a part, so not right beside it.
TEXTS = st.text("aZf09é中 \n\t\"'`@:;/\\\\=?&%+-_.,()[]{}\x00\x1b\u2028", max_size=40)
PATHS = st.lists(st.one_of(TEXTS, st.none()), max_size=scrubbing.DEEPEST + 3)
BESIDE = st.sampled_from(["", *" \n\t\"'/?&=:,;()[]{}|<>ghxyzGXé"])

NAMES = st.sampled_from(
    [
        "token",
        "x-clientSecret",
        "user-jwt-token",
        "Authorization",
        "otp",
        "authCode",
        "code",
        "phone_number",
        "email",
        "phonenumber",
        "e-mail",
        "password",
        "OPERATOR_KEYS",
        "Set-Cookie",
    ]
)


@OFTEN
@given(before=TEXTS, left=BESIDE, secret=SECRETS, right=BESIDE, after=TEXTS)
def test_no_text_keeps_what_looks_like_a_secret(before, left, secret, right, after):
    assert secret not in scrub_text(f"{before} {left}{secret}{right} {after}")


@OFTEN
@given(
    name=NAMES,
    secret=st.one_of(SECRETS, st.from_regex(r"\d{6}", fullmatch=True), st.integers(10**5, 10**6)),
    path=PATHS,
)
def test_no_value_keeps_what_stands_under_a_telling_name(name, secret, path):
    value: object = {name: secret}
    for step in path:
        value = [1, value] if step is None else {step: value, "n": 1}

    assert str(secret) not in repr(scrub(value))


@OFTEN
@given(secret=SECRETS, path=PATHS)
def test_no_value_keeps_what_looks_like_a_secret(secret, path):
    value: object = secret
    for step in path:
        value = (value, b"x", 1.5) if step is None else {step: value}

    assert secret not in repr(scrub(value))


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("POST /api/v1/rewards?token=abc&x=1", f"POST /api/v1/rewards?token={HIDDEN}&x=1"),
        ("{'otp': '123456', 'n': 1}", f"{{'otp': {HIDDEN}, 'n': 1}}"),
        ('{\\"otp\\": \\"123456\\"}', f'{{\\"otp\\": {HIDDEN}}}'),
        ("x-clientSecret: s", f"x-clientSecret: {HIDDEN}"),
        ("Cookie: sessionid=a; csrftoken=b", f"Cookie: {HIDDEN}"),
        ("Bearer abcdef.gh", f"Bearer {HIDDEN}"),
        ("123456 is your KGeN code", f"{HIDDEN} is your KGeN code"),
        ("Your code: 123456.", f"Your code: {HIDDEN}."),
        ("postgres://app:pa@ss@db/x failed", f"postgres://{HIDDEN}@db/x failed"),
        ("with url: /v3/0123456789abcdef0123456789abcdef", f"with url: /v3/{HIDDEN}"),
        ("Key (phone)=(+919876543210) already exists.", f"Key (phone)=({HIDDEN}) already exists."),
        ("DETAIL:  Failing row contains (1, Swift).", f"DETAIL:  {HIDDEN}"),
        ("private key 0x" + "0f" * 32, f"private key 0x{HIDDEN}"),
        ("a seed is " + "0f" * 64, f"a seed is {HIDDEN}"),
        ("%2B919876543210 swift%40example.com", f"{HIDDEN} {HIDDEN}"),
    ],
)
def test_what_is_known_of_secrets(text, scrubbed):
    assert scrub_text(text) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "Task wallet.tasks.settle_tick[0193c1d2-7c1e-7c55-9a3e-5f0d6b2f1a77] succeeded in 0.003412s",
        "Sending 0x" + "9f" * 32 + ": known",
        "Slot 12 is stuck at the fee cap: 20000000000 wei",
        "192.168.100.101 at 2026-11-22 10:11:12.123456",
        "Reward 0193c1d2-7c1e-7c55-9a3e-123456789012 cannot expire: wallet 7 holds too little",
        "Signing for 0x5050a4f4b3f9338c3472dcc01a87c76a144b3c9c on chain 31337",
        "/api/v1/wallet/lazyChain/transactions/0x5050a4f4b3f9338c3472dcc01a87c76a144b3c9c",
    ],
)
def test_what_one_needs_to_find_a_fault_stays(text):
    assert scrub_text(text) == text


def test_this_installations_secrets_are_hidden_to_the_letter(monkeypatch):
    monkeypatch.setattr(scrubbing, "_secrets", ())
    scrubbing.hide_secrets_of(
        {
            "SECRET_KEY": "short-and-plain",
            "OPERATOR_KEYS": "keystore:/run/kgen/one.json,deadbeefdeadbeef",
            "PERSONAL_DATA_KEYS": "k1:c2VjcmV0c2VjcmV0",
            "REDIS_URL": "redis://:hunter2hunter2@127.0.0.1:1/0",
            "LOG_LEVEL": "INFO-INFO-INFO",
        }
    )

    assert (
        scrub_text(
            "short-and-plain deadbeefdeadbeef c2VjcmV0c2VjcmV0 hunter2hunter2 INFO-INFO-INFO"
        )
        == f"{HIDDEN} {HIDDEN} {HIDDEN} {HIDDEN} INFO-INFO-INFO"
    )


def test_a_text_too_long_is_cut_before_a_secret_and_not_within():
    text = "x " * ((scrubbing.LONGEST_TEXT - 20) // 2) + new_token() + " tail"

    scrubbed = scrub_text(text)

    assert scrubbed.rstrip().endswith("characters left out")
    assert len(scrubbed) <= scrubbing.LONGEST_TEXT + 50
    assert text[-53:-40] not in scrubbed


PIECES = [
    "a",
    "A",
    "a@",
    "1 ",
    "http://",
    "token",
    "-",
    "x.y",
    "+1",
    "'",
    "\\",
    'token=\\"',
    "1-",
    " ",
]
PIECES += ["0123456789abcdef", "aB-", "code ", "https://a@b", "cookie:", "is your ", "DETAIL: "]


@pytest.mark.parametrize("piece", PIECES)
def test_no_text_keeps_a_process_busy(piece):
    text = piece * (scrubbing.LONGEST_TEXT // len(piece))
    began = time.process_time()

    scrub_text(text)

    assert time.process_time() - began < 1


def test_a_value_that_cannot_say_what_it_is_is_no_error():
    class Broken:
        def __str__(self) -> str:
            raise ValueError("token")

    assert scrub([Broken()]) == ["[Broken]"]
