"""Operators and sealed seeds whose keys are in a KMS."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import respx
from botocore.session import Session
from botocore.validate import ParamValidator
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from eth_account import Account

from wallet.settlement import signing
from wallet.settlement.signer import __main__ as signer
from wallet.settlement.signer import sealing
from wallet.settlement.signer.errors import SignerUnavailable
from wallet.settlement.signer.keeper import Keeper, Terms
from wallet.settlement.signer.kms.aws import AwsKey
from wallet.settlement.signer.kms.google import GoogleKey, crc32c
from wallet.settlement.signer.kms.http import KmsRefused
from wallet.settlement.signer.sealing import CannotOpen, Kms, Passphrase
from wallet.settlement.signer.signatures import ORDER
from wallet.settlement.signing import KeyOperator, KmsKey, SigningRefused
from wallet.tests.kms import (
    AWS_SEALING,
    AWS_SIGNING,
    GOOGLE_SEALING,
    GOOGLE_SIGNING,
    Aws,
    Google,
    Hsm,
    aws_error,
    google_error,
)

ADDRESS = Account.from_key("0b" * 32).address.lower()
DIGEST = bytes(range(32))
SEED = bytes(range(64))


@pytest.fixture(autouse=True)
def _recorded(monkeypatch) -> Iterator[None]:
    """Only what is mocked can be reached; the credentials are those of AWS's own examples."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    monkeypatch.delenv("AWS_ENDPOINT_URL_KMS", raising=False)
    respx.mock.start()
    yield
    respx.mock.stop(quiet=True)  # a double need not be asked all that it could answer


@pytest.fixture
def google_login(monkeypatch, tmp_path: Path) -> respx.Route:
    """A service account, and where it fetches its tokens."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "settlement@p.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    token = {"access_token": "ya29.of-tests", "expires_in": 3599, "token_type": "Bearer"}
    return respx.post("https://oauth2.googleapis.com/token").respond(json=token)


def sent_by(operator: KeyOperator) -> str:
    signed = operator.sign_call(
        nonce=3, to="0x" + "70" * 20, data=b"\x01\x02", gas=21_000, max_fee=7, priority_fee=1
    )
    return str(Account.recover_transaction(signed.raw)).lower()


# --- Operators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("high_s", [False, True])
def test_an_operator_in_aws_signs_with_a_low_s_and_is_its_own_address(high_s):
    aws = Aws(Hsm(high_s=high_s))
    key = KmsKey(AwsKey(AWS_SIGNING))

    signature = key.sign(DIGEST)

    assert key.address == ADDRESS
    assert signature.s <= ORDER // 2
    assert sent_by(KeyOperator(key)) == ADDRESS
    assert [request.headers["x-amz-target"] for request in aws.requests] == [
        "TrentService.Sign",
        "TrentService.GetPublicKey",
        "TrentService.Sign",
    ]


@pytest.mark.parametrize("high_s", [False, True])
def test_an_operator_in_google_signs_with_a_low_s_and_is_its_own_address(high_s, google_login):
    Google(Hsm(high_s=high_s))
    key = KmsKey(GoogleKey(GOOGLE_SIGNING))

    signature = key.sign(DIGEST)

    assert key.address == ADDRESS
    assert signature.s <= ORDER // 2
    assert sent_by(KeyOperator(key)) == ADDRESS
    assert google_login.call_count == 1  # one token serves for all


def test_many_signatures_of_a_kms_find_their_parity():
    Aws(Hsm())
    key = KmsKey(AwsKey(AWS_SIGNING))

    parities = [key.sign(bytes([number]) * 32).parity for number in range(20)]

    assert set(parities) == {0, 1}


def test_a_request_to_aws_is_signed_by_its_version_4():
    aws = Aws(Hsm())

    AwsKey(AWS_SIGNING).sign(DIGEST)

    authorization = aws.requests[0].headers["authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/kms/aws4_request, SignedHeaders=content-type;host;x-amz-date;" in (
        authorization
    )


def test_what_aws_is_asked_and_answers_is_as_its_own_model_says():
    aws = Aws(Hsm())
    signing_key, sealing_key = AwsKey(AWS_SIGNING), AwsKey(AWS_SEALING)
    model = Session().get_service_model("kms")

    signing_key.public_key()
    signing_key.sign(DIGEST)
    sealing_key.decrypt(sealing_key.encrypt(b"key", context="c"), context="c")

    assert model.metadata["targetPrefix"] == "TrentService"
    for request in list(aws.requests):
        operation = model.operation_model(request.headers["x-amz-target"].split(".")[1])
        asked = json.loads(request.content)
        answered = aws._answer(request).json()
        assert ParamValidator().validate(asked, operation.input_shape).has_errors() is False
        assert set(asked) <= set(operation.input_shape.members)
        assert set(answered) <= set(operation.output_shape.members)


def test_a_signature_of_another_key_is_refused():
    aws = Aws(Hsm())
    key = KmsKey(AwsKey(AWS_SIGNING))
    assert key.address == ADDRESS

    aws.hsm = Hsm("0c" * 32)

    with pytest.raises(SigningRefused, match="not one of " + ADDRESS):
        key.sign(DIGEST)


@pytest.mark.parametrize("spec", [{"KeySpec": "ECC_NIST_P256"}, {"KeyUsage": "ENCRYPT_DECRYPT"}])
def test_a_key_of_another_kind_is_refused_by_name_in_aws(spec):
    told = Aws(Hsm())._public_key({"KeyId": AWS_SIGNING}) | spec
    respx.post(Aws.URL).respond(json=told)

    with pytest.raises(KmsRefused, match=next(iter(spec.values()))):
        _ = KmsKey(AwsKey(AWS_SIGNING)).address


def test_a_key_of_another_kind_is_refused_by_name_in_google(google_login):
    Google(Hsm()).damaged = {"algorithm": "EC_SIGN_P256_SHA256"}

    with pytest.raises(KmsRefused, match="EC_SIGN_P256_SHA256"):
        _ = KmsKey(GoogleKey(GOOGLE_SIGNING)).address


@pytest.mark.parametrize(
    "field", [{"signatureCrc32c": "1"}, {"verifiedDigestCrc32c": False}, {"name": "another"}]
)
def test_what_was_damaged_on_the_way_from_google_is_asked_for_again(field, google_login):
    google = Google(Hsm())
    key = KmsKey(GoogleKey(GOOGLE_SIGNING))
    assert key.address == ADDRESS
    google.damaged = field

    with pytest.raises(SignerUnavailable, match="damaged on the way"):
        key.sign(DIGEST)

    google.damaged = {}
    assert key.sign(DIGEST).s <= ORDER // 2


@pytest.mark.parametrize("name", ["", "alias/operator", "1234abcd-12ab-34cd-56ef-1234567890ab"])
def test_a_key_in_aws_is_named_by_its_arn(name):
    with pytest.raises(KmsRefused, match="ARN"):
        AwsKey(name)


def test_the_endpoint_of_aws_may_be_a_private_one(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "https://kms.internal/")
    asked = respx.post("https://kms.internal/").respond(json={"Signature": "AA=="})

    AwsKey(AWS_SIGNING).sign(DIGEST)

    assert asked.call_count == 1


# --- What may be asked again, and what may not ----------------------------------------------------

PASSING = [
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.Response(429),
    httpx.Response(502, text="<html>"),
    httpx.Response(200, text="<html>"),
    httpx.Response(200, json=[]),
    httpx.Response(200, json={}),
]


@pytest.mark.parametrize(
    "answer",
    [
        *PASSING,
        aws_error("ThrottlingException", "Rate exceeded"),
        aws_error("KMSInternalException", "", status=500),
        aws_error("DependencyTimeoutException", "", status=503),
    ],
)
def test_aws_out_of_reach_is_unavailable(answer):
    respx.post(Aws.URL).mock(side_effect=[answer])

    with pytest.raises(SignerUnavailable):
        AwsKey(AWS_SIGNING).sign(DIGEST)


@pytest.mark.parametrize("answer", [*PASSING, google_error(503, "UNAVAILABLE", "")])
def test_google_out_of_reach_is_unavailable(answer, google_login):
    respx.post(f"{Google.URL}{GOOGLE_SIGNING}:asymmetricSign").mock(side_effect=[answer])

    with pytest.raises(SignerUnavailable):
        GoogleKey(GOOGLE_SIGNING).sign(DIGEST)


@pytest.mark.parametrize(
    "name", ["AccessDeniedException", "NotFoundException", "DisabledException"]
)
def test_a_no_of_aws_is_a_no(name):
    respx.post(Aws.URL).mock(side_effect=[aws_error(name, "because")])

    with pytest.raises(KmsRefused, match=name):
        AwsKey(AWS_SIGNING).sign(DIGEST)


def test_a_no_of_google_is_a_no(google_login):
    respx.post(f"{Google.URL}{GOOGLE_SIGNING}:asymmetricSign").mock(
        side_effect=[google_error(403, "PERMISSION_DENIED", "because")]
    )

    with pytest.raises(KmsRefused, match="PERMISSION_DENIED"):
        GoogleKey(GOOGLE_SIGNING).sign(DIGEST)


def test_no_credentials_of_aws_are_said(monkeypatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(SignerUnavailable, match="no credentials for AWS"):
        AwsKey(AWS_SIGNING).sign(DIGEST)


@pytest.mark.parametrize(
    "answer", [httpx.ConnectError("refused"), httpx.Response(400, json={"error": "invalid_grant"})]
)
def test_no_token_of_google_is_said(google_login: respx.Route, answer):
    google_login.mock(side_effect=[answer] * 9)

    with pytest.raises(SignerUnavailable, match="No credentials for Google Cloud"):
        GoogleKey(GOOGLE_SIGNING).sign(DIGEST)


# --- The sealed seed ------------------------------------------------------------------------------


@pytest.fixture(params=["aws", "google"])
def wrapper(request, google_login) -> Kms:
    if request.param == "aws":
        Aws(Hsm())
        return Kms(AwsKey(AWS_SEALING))
    Google(Hsm())
    return Kms(GoogleKey(GOOGLE_SEALING))


def test_a_seed_wrapped_by_a_kms_is_opened_by_it(wrapper: Kms, tmp_path: Path):
    sealed = sealing.seal(SEED, custody_xpub="xpub-c", kgen_xpub="xpub-k", wrapper=wrapper)
    sealing.write_new(tmp_path / "seed.json", sealed)

    read = sealing.read(tmp_path / "seed.json")

    assert sealing.open_seed(read, wrapper) == SEED
    assert (read.wrapped_by, read.wrapped_key["name"]) in {
        ("aws-kms", AWS_SEALING),
        ("gcp-kms", GOOGLE_SEALING),
    }
    # What the cloud writes into its logs says nothing.
    assert b"xpub-c" not in b"".join(call.request.content for call in respx.calls)


def test_a_seed_changes_from_a_passphrase_to_a_kms(wrapper: Kms, monkeypatch):
    monkeypatch.setattr(sealing, "SCRYPT_COST", 2**4)
    old = sealing.seal(SEED, custody_xpub="c", kgen_xpub="k", wrapper=Passphrase(b"old"))

    new = sealing.rewrap(old, old=Passphrase(b"old"), new=wrapper)

    assert sealing.open_seed(new, wrapper) == SEED
    with pytest.raises(CannotOpen, match="not by passphrase"):
        sealing.open_seed(new, Passphrase(b"old"))


def test_a_kms_does_not_unwrap_under_the_public_keys_of_another(wrapper: Kms):
    sealed = sealing.seal(SEED, custody_xpub="xpub-c", kgen_xpub="xpub-k", wrapper=wrapper)

    with pytest.raises(KmsRefused):
        sealing.open_seed(replace(sealed, custody_xpub="xpub-of-another"), wrapper)


@pytest.mark.parametrize(
    "option", [f"--aws-kms={AWS_SEALING}", f"--gcp-kms={GOOGLE_SEALING}"], ids=["aws", "google"]
)
def test_the_signers_commands_seal_with_a_kms_and_open_what_it_sealed(
    option, google_login, monkeypatch, capsys, tmp_path: Path
):
    Aws(Hsm())
    Google(Hsm())
    file, passphrase = tmp_path / "seed.json", tmp_path / "passphrase"
    passphrase.write_text("of tests")
    monkeypatch.setenv("SIGNER_SEED_FILE", str(file))
    terms = Terms(137, "", "")

    run(monkeypatch, "make-seed", "--file", file, option)
    public = json.loads(capsys.readouterr().out)
    made = signer._seed(terms)
    run(monkeypatch, "rewrap-seed", "--file", file, "--new-passphrase-file", passphrase)
    monkeypatch.setenv("SIGNER_PASSPHRASE_FILE", str(passphrase))
    rewrapped = signer._seed(terms)

    assert public["CUSTODY_XPUB"] == Keeper(made, terms).custody_xpub
    assert rewrapped == made
    assert sealing.read(file).wrapped_by == "passphrase"


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["signer", *map(str, arguments)])
    signer.main()


def test_a_seed_that_an_unknown_keeper_wrapped_stays_closed(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(sealing, "SCRYPT_COST", 2**4)
    sealed = sealing.seal(SEED, custody_xpub="c", kgen_xpub="k", wrapper=Passphrase(b"old"))
    file = tmp_path / "seed.json"
    sealing.write_new(
        file, replace(sealed, wrapped_by="vault", wrapped_key={"name": "seed", "ciphertext": ""})
    )
    monkeypatch.setenv("SIGNER_SEED_FILE", str(file))

    with pytest.raises(CannotOpen, match="kept by vault"):
        signer._seed(Terms(137, "", ""))


def test_the_checksum_is_castagnoli():
    # The check value of the catalogue of CRC algorithms.
    assert crc32c(b"123456789") == 0xE3069283


# --- Whom the settings name -----------------------------------------------------------------------


def test_the_settings_name_a_lane_in_each_cloud(settings, google_login):
    Aws(Hsm())
    Google(Hsm())
    settings.CHAIN_ID = 137
    settings.OPERATOR_KEYS = [f"aws-kms:{AWS_SIGNING}", f"gcp-kms:{GOOGLE_SIGNING}"]

    operators = signing.operators()

    assert [operator.address for operator in operators] == [ADDRESS, ADDRESS]
    assert [sent_by(operator) for operator in operators] == [ADDRESS, ADDRESS]
