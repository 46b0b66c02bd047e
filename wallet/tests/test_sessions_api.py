"""POST /session (API contract, section 3.1)."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.models import Gamer, GameSecret, Session, SessionToken
from accounts.sessions import is_well_formed
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory, GamerFactory, KgenAccountFactory
from kgen.common.models import KeptAnswer
from wallet import ledger
from wallet.models import Wallet, WalletTransaction

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=0)

PROFILE = {
    "gamer_id": "g-481",
    "device_id": "d-1",
    "email": "not checked",
    "username": "Swift",
    "phonenumber": "+1 202 555 0143",
    "name": "Sam",
    "playertag": "#1",
    "level": 3,
    "rank": 9_007_199_254_740_991,
    "date_joined": 1_767_225_600_000,
    "location": {"lat": 1.5, "lon": -2},
    "location_name": "Pune",
}


def nothing_was_made():
    return (Gamer.objects.count(), Wallet.objects.count(), WalletTransaction.objects.count()) == (
        0,
        0,
        0,
    )


def test_first_session_makes_gamer_wallet_and_bonus():
    game = GameFactory()

    with time_machine.travel(NOW, tick=False):
        response = GameClient(game).post("/session", PROFILE)

    gamer = Gamer.objects.get(game=game)
    wallet = Wallet.objects.get(gamer=gamer)
    session = Session.objects.get(gamer=gamer)
    body = response.json()
    token = body.pop("token")
    assert response.status_code == 201
    assert body == {
        "gamer_id": "g-481",
        "appId": str(game.uid),
        "accountId": str(gamer.uid),
        "session_id": str(session.uid),
        "wallet_address": wallet.address,
        "session_start_time": int(NOW.timestamp() * 1000),
        "is_new_user": True,
        "linked_phone": "",
    }
    assert is_well_formed(token)
    assert re.fullmatch("0x[0-9a-f]{40}", wallet.address)
    assert ledger.balances(wallet.pk).bonus == 50
    assert {field: getattr(gamer, field) for field in PROFILE} == PROFILE
    assert (session.started_at, session.ends_at) == (NOW, NOW + timedelta(days=30))
    assert not SessionToken.objects.filter(token_hash__contains=token).exists()


def test_only_gamer_id_is_needed():
    game = GameFactory()

    response = GameClient(game).post("/session", {"gamer_id": "g"})

    assert response.status_code == 201
    assert Gamer.objects.get().username == ""


def test_later_session_overwrites_what_was_sent_and_keeps_the_rest():
    client = GameClient(GameFactory())
    client.post("/session", PROFILE)

    response = client.post("/session", {"gamer_id": "g-481", "level": 4, "username": ""})

    gamer = Gamer.objects.get()
    assert response.status_code == 200
    assert response.json()["is_new_user"] is False
    assert (gamer.level, gamer.username, gamer.name) == (4, "", "Sam")
    assert WalletTransaction.objects.get().amount == 50


def test_running_session_goes_on_with_a_fresh_token():
    client = GameClient(GameFactory())
    with time_machine.travel(NOW, tick=False):
        first = client.post("/session", {"gamer_id": "g", "device_id": "d"}).json()

    with time_machine.travel(NOW + timedelta(hours=23), tick=False):
        again = client.post("/session", {"gamer_id": "g", "device_id": "d"}).json()
        old_token = client.with_token(first["token"]).post("/verification/otp/_request", {})
    with time_machine.travel(NOW + timedelta(hours=46), tick=False):
        third = client.post("/session", {"gamer_id": "g", "device_id": "d"}).json()

    assert again["session_id"] == first["session_id"] == third["session_id"]
    assert again["session_start_time"] == first["session_start_time"]
    assert len({first["token"], again["token"], third["token"]}) == 3
    assert old_token.status_code == 400


@pytest.mark.parametrize(
    ("later", "device"),
    [(timedelta(hours=24), "d"), (timedelta(0), "another"), (timedelta(days=2), "another")],
)
def test_new_session_when_the_last_token_ran_out_or_on_another_device(later, device):
    client = GameClient(GameFactory())
    with time_machine.travel(NOW, tick=False):
        first = client.post("/session", {"gamer_id": "g", "device_id": "d"}).json()

    with time_machine.travel(NOW + later, tick=False):
        second = client.post("/session", {"gamer_id": "g", "device_id": device}).json()

    assert second["session_id"] != first["session_id"]
    assert second["session_start_time"] == int((NOW + later).timestamp() * 1000)


def test_session_ends_after_thirty_days_however_often_it_is_renewed():
    client = GameClient(GameFactory())
    sessions = set()

    for half_day in range(62):
        with time_machine.travel(NOW + timedelta(hours=12 * half_day), tick=False):
            sessions.add(client.post("/session", {"gamer_id": "g"}).json()["session_id"])

    assert len(sessions) == 2
    assert not SessionToken.objects.filter(expires_at__gt=NOW + timedelta(days=32)).exists()


def test_revoked_session_is_not_gone_on_with():
    client = GameClient(GameFactory())
    first = client.post("/session", {"gamer_id": "g"}).json()
    Session.objects.update(revoked_at=timezone.now())

    second = client.post("/session", {"gamer_id": "g"}).json()

    assert second["session_id"] != first["session_id"]


def test_same_gamer_id_under_two_games_is_two_gamers():
    one = GameClient(GameFactory()).post("/session", {"gamer_id": "g"})
    two = GameClient(GameFactory()).post("/session", {"gamer_id": "g"})

    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json()["accountId"] != two.json()["accountId"]
    assert one.json()["wallet_address"] != two.json()["wallet_address"]


def test_integer_gamer_id_is_its_decimal_text():
    client = GameClient(GameFactory())

    assert client.post("/session", {"gamer_id": 481}).json()["gamer_id"] == "481"
    assert client.post("/session", {"gamer_id": "481"}).status_code == 200


def test_linked_phone_is_told():
    client = GameClient(GameFactory())
    client.post("/session", {"gamer_id": "g"})
    Gamer.objects.update(kgen_account=KgenAccountFactory(phone="+12025550143"))

    response = client.post("/session", {"gamer_id": "g"})

    assert response.json()["linked_phone"] == "+12025550143"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        ("2026-01-01", 1_767_225_600_000),
        ("2026-01-01T05:30:00.001+05:30", 1_767_225_600_001),
        (0, 0),
    ],
)
def test_date_joined_is_milliseconds_or_iso_text(given, stored):
    GameClient(GameFactory()).post("/session", {"gamer_id": "g", "date_joined": given})

    assert Gamer.objects.get().date_joined == stored


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, "gamer_id"),
        ({"gamer_id": ""}, "gamer_id"),
        ({"gamer_id": None}, "gamer_id"),
        ({"gamer_id": True}, "gamer_id"),
        ({"gamer_id": 1.0}, "gamer_id"),
        ({"gamer_id": -1}, "gamer_id"),
        ({"gamer_id": ["g"]}, "gamer_id"),
        ({"gamer_id": "g" * 129}, "gamer_id"),
        ({"gamer_id": "a\nb"}, "gamer_id"),
        ({"gamer_id": "a\u200bb"}, "gamer_id"),
        ({"gamer_id": "g", "username": 5}, "username"),
        ({"gamer_id": "g", "username": None}, "username"),
        ({"gamer_id": "g", "email": "e" * 257}, "email"),
        ({"gamer_id": "g", "level": "12"}, "level"),
        ({"gamer_id": "g", "level": 1.0}, "level"),
        ({"gamer_id": "g", "level": True}, "level"),
        ({"gamer_id": "g", "level": -1}, "level"),
        ({"gamer_id": "g", "rank": 2**53}, "rank"),
        ({"gamer_id": "g", "date_joined": "yesterday"}, "date_joined"),
        ({"gamer_id": "g", "date_joined": "1969-12-31"}, "date_joined"),
        ({"gamer_id": "g", "location": [1, 2]}, "location"),
        ({"gamer_id": "g", "location": "l" * 257}, "location"),
    ],
)
def test_wrong_field_is_named(fields, refused):
    response = GameClient(GameFactory()).post("/session", fields)

    assert response.status_code == 400
    body = error_body(response)
    assert body["error"] == "BAD_REQUEST"
    assert list(body["details"]) == ["fields"]
    assert list(body["details"]["fields"]) == [refused]
    assert nothing_was_made()


@pytest.mark.parametrize(
    "headers",
    [
        {"x-clientSecret": ""},
        {"x-clientSecret": "wrong"},
        {"x-clientID": ""},
        {"x-clientID": "unknown"},
        {"x-clientID": "null\x00"},
        {"x-clientID": "ü"},
    ],
)
def test_wrong_client_headers_are_refused(headers):
    response = GameClient(GameFactory()).post("/session", {"gamer_id": "g"}, **headers)

    assert response.status_code == 401
    assert error_body(response) == {
        "error": "UN_AUTHORIZED",
        "details": {"reason": "CLIENT_CREDENTIALS"},
    }
    assert nothing_was_made()


def test_disabled_client_or_secret_is_refused():
    disabled, rotated = GameFactory(is_active=False), GameFactory()
    rotated.secrets.update(disabled_at=timezone.now())

    for game in (disabled, rotated):
        response = GameClient(game).post("/session", {"gamer_id": "g"})
        assert response.status_code == 401
        assert error_body(response)["details"] == {"reason": "CLIENT_CREDENTIALS"}


def test_blocked_gamer_is_refused():
    gamer = GamerFactory(blocked=True)

    response = GameClient(gamer.game).post("/session", {"gamer_id": gamer.gamer_id})

    assert response.status_code == 403
    assert error_body(response) == {"error": "GAMER_BLOCKED", "details": {"reason": "ACCOUNT"}}
    assert not Session.objects.exists()


def test_no_session_without_a_wallet(settings):
    settings.FLOAT_ADDRESS = ""

    response = GameClient(GameFactory()).post("/session", {"gamer_id": "g"})

    assert response.status_code == 422
    assert error_body(response) == {"error": "SESSION_NOT_STARTED", "details": {}}
    assert nothing_was_made()


def test_last_use_of_the_secret_is_known_to_the_hour():
    game = GameFactory()
    GameSecret.objects.update(last_used_at=None)
    client = GameClient(game)
    with time_machine.travel(NOW, tick=False):
        client.post("/session", {"gamer_id": "g"})
    with time_machine.travel(NOW + timedelta(minutes=59), tick=False):
        client.post("/session", {"gamer_id": "g"})

    assert GameSecret.objects.get(game=game).last_used_at == NOW


def test_key_repeats_the_first_status_with_a_fresh_token():
    client = GameClient(GameFactory())

    first = client.post("/session", {"gamer_id": "g"}, key="k")
    again = client.post("/session", {"gamer_id": "g"}, key="k")
    other = client.post("/session", {"gamer_id": "g"}, key="another")

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 200)
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    same = {**again.json(), "token": first.json()["token"]}
    assert same == first.json()
    assert again.json()["token"] != first.json()["token"]
    assert {bytes(kept.body) for kept in KeptAnswer.objects.all()} == {b""}


def test_key_with_another_body_is_refused():
    client = GameClient(GameFactory())
    client.post("/session", {"gamer_id": "g"}, key="k")

    response = client.post("/session", {"gamer_id": "g", "level": 1}, key="k")

    assert response.status_code == 409
    assert error_body(response) == {"error": "IDEMPOTENCY_KEY_REUSED", "details": {}}
    assert Gamer.objects.get().level is None


def test_key_is_another_one_for_another_gamer():
    client = GameClient(GameFactory())
    client.post("/session", {"gamer_id": "g"}, key="k")

    assert client.post("/session", {"gamer_id": "h"}, key="k").status_code == 201


@pytest.mark.parametrize("key", ["k", "k" * 65], ids=["reused", "malformed"])
def test_blocked_is_answered_before_the_key(key):
    client = GameClient(GameFactory())
    client.post("/session", {"gamer_id": "g"}, key="k")
    Gamer.objects.update(is_blocked=True)

    response = client.post("/session", {"gamer_id": "g", "level": 1}, key=key)

    assert error_body(response)["error"] == "GAMER_BLOCKED"


def test_queries_of_a_new_and_of_a_returning_gamer(django_assert_num_queries):
    client = GameClient(GameFactory())
    client.post("/session", {"gamer_id": "warm-up"})

    # Client; begin; gamer: look, savepoint, insert, release; session, token; wallet: index, row,
    # accounts; bonus: whether one was paid to an erased gamer, number, row, account, posting; commit.
    with django_assert_num_queries(17):
        client.post("/session", {"gamer_id": "g"})
    # Client; begin; gamer, running session, token, wallet; commit.
    with django_assert_num_queries(7):
        client.post("/session", {"gamer_id": "g"})
