"""What is told of a gamer on request, and what is left of one who is erased."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.urls import reverse

from accounts import gamers, personal_data
from accounts.models import Gamer, KgenAccount, OtpRequest, PhoneVerification, Session
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GamerFactory
from accounts.tests.outbox import sent_to
from accounts.tests.staff import staff_client
from kgen.common.admin import OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from tournaments import joining, results
from tournaments.models import GameEvent
from tournaments.personal_data import InTournament
from tournaments.tests.factories import TournamentFactory, player
from tournaments.tests.test_results import play
from tournaments.tests.world import world
from wallet import ledger
from wallet.models import KgenWallet, Wallet, WalletTransaction
from wallet.personal_data import MoneyLeft, WithdrawalUnderWay
from wallet.tests.factories import fill
from wallet.tests.limiting import linked_wallet, withdraw
from wallet.tests.soundness import assert_sound

pytestmark = pytest.mark.django_db

REQUEST, VERIFY = "/verification/otp/_request", "/verification/otp/_verify"
PHONE = {"phone_number": "9876543210", "countryCode": "+91"}
PROFILE = {
    "device_id": "pixel-9",
    "email": "Swift@example.com",
    "username": "SwiftFox",
    "phonenumber": "098765 43210",
    "name": "Asha Rao",
    "playertag": "#ASHA",
    "level": 7,
    "rank": 3,
    "date_joined": 1767225600000,
    "location": {"lat": 12.97, "lon": 77.59},
    "location_name": "Bengaluru",
}
SECRETS = (
    "pixel-9",
    "wift@example.com",
    "SwiftFox",
    "98765",
    "Asha",
    "#ASHA",
    "1767225600000",
    "77.59",
    "Bengaluru",
    "g-asha",
)


@pytest.fixture
def game():
    return GamerFactory().game


@pytest.fixture
def asha(game, settings, tmp_path) -> Gamer:
    """A gamer who came over the API, with a whole profile and a phone."""
    settings.SMS_OUTBOX = tmp_path / "sms.jsonl"
    opened = GameClient(game).post("/session", {"gamer_id": "g-asha", **PROFILE})
    caller = GameClient(game).with_token(opened.json()["token"])
    asked = caller.post(REQUEST, PHONE).json()
    _, code = sent_to(settings.SMS_OUTBOX)[-1]
    assert caller.post(VERIFY, {**PHONE, **asked, "otp": code}).status_code == 200
    return Gamer.objects.get(gamer_id="g-asha")


def everything_that_is_kept() -> str:
    """Every row of every table of ours, as the application reads it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition"
            " AND relname NOT LIKE 'django_session'"
        )
        tables = [name for (name,) in cursor.fetchall()]
        rows = []
        for table in tables:
            cursor.execute(f'SELECT row_to_json(kept)::text FROM "{table}" AS kept')  # noqa: S608
            rows += [text for (text,) in cursor.fetchall()]
    gamers_read = [
        str(row)
        for model in (Gamer, KgenAccount, OtpRequest)
        for row in model.objects.order_by("pk").values()
    ]
    return "\n".join(rows + gamers_read)


def erase(gamer: Gamer, now, *, forfeits=False) -> Gamer:
    return personal_data.erase(gamer=gamer, forfeits=forfeits, now=now)


# --- Export --------------------------------------------------------------------------------------


def test_export_has_all_that_is_kept_and_no_secret(asha, now):
    told = json.loads(personal_data.export(gamer=asha))

    assert told["gamer"] == {
        "account_id": str(asha.uid),
        "game": asha.game.name,
        "gamer_id": "g-asha",
        "first_seen": str(asha.created_at),
        "is_blocked": False,
        **PROFILE,
    }
    assert told["phone"]["number"] == "+919876543210"
    assert [one["phone"] for one in told["one_time_passwords"]] == ["+919876543210"]
    assert [one["device_id"] for one in told["sessions"]] == ["pixel-9"]
    wallet = Wallet.objects.get(gamer=asha)
    assert told["wallet"]["address"] == wallet.address
    assert told["wallet"]["balances"]["bonus"] == 50
    assert [one["type"] for one in told["wallet"]["transactions"]] == ["WELCOME_BONUS"]
    assert (told["rewards"], told["seats"], told["events"]) == ([], [], [])
    assert OtpRequest.objects.get().auth_code not in personal_data.export(gamer=asha)


def test_export_of_a_winner_has_seat_reward_and_events(now):
    tournament = play(now)
    ann = Gamer.objects.get(gamer_id="ann")

    told = json.loads(personal_data.export(gamer=ann))

    [seat], [reward], [event] = told["seats"], told["rewards"], told["events"]
    assert (seat["tournament__uid"], seat["final_rank"], seat["prize"]) == (
        str(tournament.uid),
        1,
        32,
    )
    assert (reward["amount"], reward["status"]) == (32, "UNCLAIMED")
    assert event["payload"] == {"score": {"value": 9}}


# --- Erasure -------------------------------------------------------------------------------------


def test_nothing_of_an_erased_gamer_is_found_anywhere(asha, now):
    before = everything_that_is_kept()
    assert all(secret in before for secret in ("g-asha", "SwiftFox", "+919876543210"))

    erased = erase(asha, now)

    kept = everything_that_is_kept()
    assert [secret for secret in SECRETS if secret in kept] == []
    asha.refresh_from_db()
    assert asha.gamer_id == erased.gamer_id
    assert (asha.erased_at, asha.is_blocked, asha.kgen_account) == (now, True, None)
    assert (asha.email_hash, asha.linked_at) == (None, None)
    assert not PhoneVerification.objects.exists()
    assert list(KgenAccount.objects.values_list("phone_hash", flat=True)) == [None]
    assert not Session.objects.filter(revoked_at=None).exists()


def test_wallet_ledger_and_transactions_stay(asha, now):
    before = world()

    erase(asha, now)

    after = world()
    assert after == before
    assert KgenWallet.objects.count() == 1
    assert_sound()


def test_token_opens_nothing_any_more(asha, now):
    caller = GameClient(asha.game).as_gamer(asha)

    erase(asha, now)

    assert error_body(caller.get("/rewards"))["details"] == {"reason": "TOKEN_INVALID"}


def test_same_gamer_id_is_a_new_gamer_without_a_second_bonus(asha, now, settings):
    erased = erase(asha, now)
    client = GameClient(asha.game)

    again = client.post("/session", {"gamer_id": "g-asha"})
    pseudonym = client.post("/session", {"gamer_id": erased.gamer_id})

    assert again.status_code == 201
    new = Gamer.objects.get(gamer_id="g-asha")
    assert new.pk != asha.pk
    assert ledger.balances(Wallet.objects.get(gamer=new).pk).lazy == 0
    assert not WalletTransaction.objects.filter(wallet__gamer=new).exists()
    assert error_body(pseudonym)["error"] == "GAMER_BLOCKED"


def test_same_gamer_id_of_another_game_gets_its_bonus(asha, now):
    erase(asha, now)
    elsewhere = GamerFactory().game

    GameClient(elsewhere).post("/session", {"gamer_id": "g-asha"})

    new = Gamer.objects.get(gamer_id="g-asha")
    assert ledger.balances(Wallet.objects.get(gamer=new).pk).bonus == 50


def test_phone_that_another_games_gamer_has_stays_with_that_one(asha, now):
    account = asha.kgen_account
    other = GamerFactory(kgen_account=account)

    erase(asha, now)

    other.refresh_from_db()
    assert other.kgen_account.phone == "+919876543210"
    assert not Gamer.objects.filter(pk=asha.pk, kgen_account=account).exists()


def test_results_are_still_right_and_still_noticed_when_not(now):
    tournament = play(now)
    ann = Gamer.objects.get(gamer_id="ann")
    record = results.of(tournament).sha256

    erase(ann, now, forfeits=True)

    assert results.verify(uid=tournament.uid) == []
    assert results.of(tournament).sha256 == record
    GameEvent.objects.filter(gamer=ann).update(payload={"score": {"value": 99}})
    assert [str(one) for one in results.verify(uid=tournament.uid)] == [
        "the event that set the score of ann: recorded 9, found 99"
    ]


def test_erased_is_erased_once_and_never_unblocked(asha, now):
    erased = erase(asha, now)

    with pytest.raises(personal_data.AlreadyErased):
        erase(asha, now)
    with pytest.raises(gamers.NotBlocked):
        gamers.unblock(gamer=erased)


# --- Refusals ------------------------------------------------------------------------------------


def refused(gamer: Gamer, error: type[Exception], now, *, forfeits=False) -> None:
    before = (world(), everything_that_is_kept())

    with pytest.raises(error):
        erase(gamer, now, forfeits=forfeits)

    assert (world(), everything_that_is_kept()) == before


@pytest.mark.parametrize("bucket", ["bought", "earned", "claimable"])
def test_money_left_is_lost_only_on_purpose(game, bucket, now):
    gamer = player(game, bonus=50)
    wallet = Wallet.objects.get(gamer=gamer)
    with transaction.atomic():
        fill(wallet, ledger.Bucket(bucket), 7)

    refused(gamer, MoneyLeft, now)
    erase(gamer, now, forfeits=True)

    assert getattr(ledger.balances(wallet.pk), bucket) == 7


def test_withdrawal_under_way_is_waited_for(now):
    wallet = linked_wallet()
    withdraw(wallet, 4000)

    for forfeits in (False, True):
        refused(wallet.gamer, WithdrawalUnderWay, now, forfeits=forfeits)


def test_kgen_wallet_that_holds_withdrawn_money_is_lost_only_on_purpose(now):
    wallet = linked_wallet()
    payout = withdraw(wallet, 4000)
    with transaction.atomic():
        ledger.settle(payout.pk)
    payout.state, payout.tx_hash = payout.State.COMPLETED, "0x" + "ab" * 32
    payout.block_number, payout.gas_fee = 1, 1
    payout.onchain_id, payout.settlement_address = "0x" + "cd" * 32, "0x" + "5e" * 20
    payout.save()

    refused(wallet.gamer, MoneyLeft, now)
    assert erase(wallet.gamer, now, forfeits=True).erased_at == now


def test_tournament_that_is_not_over_is_waited_for(now):
    tournament = TournamentFactory.create(now=now)
    gamer = player(tournament.game)
    joining.join(gamer=gamer, tournament_uid=tournament.uid, stake=10, now=now)

    for forfeits in (False, True):
        refused(gamer, InTournament, now, forfeits=forfeits)


# --- By whom -------------------------------------------------------------------------------------


def test_support_exports_and_erases_with_a_reason_that_is_kept(asha, now):
    support = staff_client(SUPPORT)
    export, act = (
        reverse(f"admin:accounts_gamer_{name}", args=[asha.pk]) for name in ("export", "erase")
    )

    file = support.post(export, {"reason": "ticket 7"})
    support.post(act, {"reason": ""})
    assert Gamer.objects.filter(gamer_id="g-asha").exists()
    support.post(act, {"reason": "ticket 8"})

    assert file["Content-Disposition"] == f'attachment; filename="gamer-{asha.uid}.json"'
    assert json.loads(file.content)["gamer"]["email"] == PROFILE["email"]
    asha.refresh_from_db()
    first, second = StaffAct.objects.order_by("pk")
    assert (first.line(), second.line()) == (
        "Export all data: ticket 7",
        "Erase personal data (forfeits False): ticket 8",
    )
    assert (second.before, second.after, second.object_text) == ({}, {}, asha.gamer_id)
    page = support.get(reverse("admin:accounts_gamer_change", args=[asha.pk])).content.decode()
    assert "erased" in page


@pytest.mark.parametrize("act", ["export", "erase"])
def test_operators_do_neither(asha, act):
    page = reverse(f"admin:accounts_gamer_{act}", args=[asha.pk])

    answer = staff_client(OPERATORS).post(page, {"reason": "why not"})

    assert answer.status_code == 403
    assert Gamer.objects.filter(gamer_id="g-asha").exists()


def test_commands_do_both(asha, game, now):
    named = ("--game", game.game_uid, "--gamer-id", "g-asha", "--by", "sam", "--reason", "letter")
    out = StringIO()

    call_command("export_gamer", *named, stdout=out)
    assert json.loads(out.getvalue())["gamer"]["name"] == "Asha Rao"
    call_command("erase_gamer", *named, stdout=out)

    asha.refresh_from_db()
    assert out.getvalue().splitlines()[-1] == asha.gamer_id
    assert [(act.by_name, act.line()) for act in StaffAct.objects.order_by("pk")] == [
        ("sam", "Export: letter"),
        ("sam", "Erase (forfeits False): letter"),
    ]
    with pytest.raises(CommandError, match="has no gamer g-asha"):
        call_command("erase_gamer", *named)


def test_command_passes_refusals_on(game, now):
    gamer = player(game)
    with transaction.atomic():
        fill(Wallet.objects.get(gamer=gamer), ledger.Bucket.EARNED, 5)
    named = ("--game", game.game_uid, "--gamer-id", gamer.gamer_id, "--by", "s", "--reason", "r")

    with pytest.raises(CommandError, match="5 earned"):
        call_command("erase_gamer", *named)

    assert not StaffAct.objects.exists()
