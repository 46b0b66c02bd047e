from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import totp

from accounts import clients, staff
from accounts.models import Game, OtpRequest, PhoneVerification
from accounts.tests.factories import (
    GameFactory,
    GamerFactory,
    KgenAccountFactory,
    SessionFactory,
    token_for,
)
from accounts.tests.staff import PASSWORD, staff_client, staff_user
from kgen.common.admin import ADMINS, FINANCE, OPERATORS, SUPPORT
from kgen.common.models import Authenticator, StaffAct

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/?next=/admin/"
WRONG_CODE = "That code is not right or was already used. Try the next one."


def log_in(user, code, password=PASSWORD):
    return Client().post(
        LOGIN,
        {"username": user.username, "password": password, "otp_token": code, "next": "/admin/"},
    )


def code_of(user):
    return f"{totp(bytes.fromhex(Authenticator.objects.get(user=user).key)):06}"


def codenames(role):
    return {
        f"{permission.content_type.app_label}.{permission.codename}"
        for permission in Group.objects.get(name=role).permissions.select_related("content_type")
    }


# --- Signing in ----------------------------------------------------------------------------------


def test_login_takes_password_and_authenticator_code():
    user = staff_user(OPERATORS)

    response = log_in(user, code_of(user))

    assert (response.status_code, response["Location"]) == (302, "/admin/")


def test_login_takes_a_code_typed_with_a_space():
    user = staff_user(OPERATORS)
    code = code_of(user)

    response = log_in(user, f"{code[:3]} {code[3:]}")

    assert response.status_code == 302


def test_login_takes_a_backup_code_once():
    user = staff_user(OPERATORS)
    code = staff.make_backup_codes(user=user)[0]

    first, second = log_in(user, code.upper()), log_in(user, code)

    assert first.status_code == 302
    assert second.status_code == 200
    assert WRONG_CODE in second.content.decode()


def test_login_refuses_a_wrong_code_and_does_not_write_the_password_back():
    user = staff_user(OPERATORS)

    response = log_in(user, "000000")

    assert WRONG_CODE in response.content.decode()
    assert PASSWORD not in response.content.decode()
    assert "sessionid" not in response.cookies


def test_login_refuses_a_code_used_before():
    user = staff_user(OPERATORS)
    code = code_of(user)
    log_in(user, code)

    response = log_in(user, code)

    assert WRONG_CODE in response.content.decode()


def test_login_refuses_the_password_alone():
    user = staff_user(OPERATORS)

    response = log_in(user, "")

    assert "Enter the six digits of your authenticator app" in response.content.decode()


def test_login_refuses_an_authenticator_not_yet_confirmed():
    user = staff_user(OPERATORS)
    code = code_of(user)
    Authenticator.objects.update(confirmed=False)

    response = log_in(user, code)

    assert WRONG_CODE in response.content.decode()


def test_staff_signed_in_without_a_code_see_nothing():
    client = Client()
    client.force_login(User.objects.create_superuser("root", password=PASSWORD))

    response = client.get("/admin/")

    assert (response.status_code, response["Location"]) == (302, LOGIN)


def test_pages_let_a_browser_name_their_origin():
    signed_in = staff_client(OPERATORS)

    # With "no-referrer" browsers send forms with "Origin: null", and each would be refused.
    assert Client().get(LOGIN)["Referrer-Policy"] == "same-origin"
    assert signed_in.get("/admin/")["Referrer-Policy"] == "same-origin"


def test_form_of_another_origin_is_refused():
    client = Client(enforce_csrf_checks=True)

    response = client.post(LOGIN, {"username": "sam"}, headers={"origin": "https://evil.example"})

    assert response.status_code == 403


# --- Roles ---------------------------------------------------------------------------------------

READING = {
    "accounts.view_game",
    "accounts.view_gamer",
    "accounts.view_otpswitch",
    "rewards.view_bulkgrant",
    "rewards.view_reward",
    "tournaments.view_gameevent",
    "tournaments.view_participation",
    "tournaments.view_quarantinedscore",
    "tournaments.view_series",
    "tournaments.view_tournament",
    "wallet.view_approvalrequest",
    "wallet.view_attempt",
    "wallet.view_chainevent",
    "wallet.view_correction",
    "wallet.view_ledgeraccount",
    "wallet.view_operator",
    "wallet.view_payout",
    "wallet.view_payoutswitch",
    "wallet.view_reconciliationrun",
    "wallet.view_reorg",
    "wallet.view_slot",
    "wallet.view_solvencysample",
    "wallet.view_wallet",
    "wallet.view_wallettransaction",
}


def test_make_roles_gives_operators_exactly_their_permissions():
    call_command("make_roles", verbosity=0)

    assert codenames(OPERATORS) == READING | {
        "accounts.add_game",
        "accounts.add_secret_game",
        "accounts.change_game",
        "accounts.disable_client_game",
        "accounts.disable_secret_game",
        "accounts.enable_client_game",
        "accounts.end_sessions_game",
        "accounts.grant_reward_gamer",
        "accounts.rotate_secret_game",
        "rewards.add_bulkgrant",
        "rewards.confirm_bulkgrant",
        "tournaments.add_tournament",
        "tournaments.accept_quarantinedscore",
        "tournaments.add_series",
        "tournaments.cancel_tournament",
        "tournaments.change_series",
        "tournaments.change_tournament",
        "tournaments.clone_tournament",
        "tournaments.disqualify_participation",
        "tournaments.end_now_tournament",
        "tournaments.lock_now_tournament",
        "tournaments.pause_scores_tournament",
        "tournaments.publish_tournament",
        "tournaments.reject_quarantinedscore",
        "tournaments.resume_scores_tournament",
        "tournaments.resume_series",
        "tournaments.settle_tournament",
        "tournaments.stop_series",
        "tournaments.verify_tournament",
    }


def test_make_roles_gives_support_exactly_its_permissions():
    call_command("make_roles", verbosity=0)

    assert codenames(SUPPORT) == READING | {
        "accounts.erase_gamer",
        "accounts.export_gamer",
        "accounts.block_gamer",
        "accounts.end_sessions_gamer",
        "accounts.pull_otpswitch",
        "accounts.release_otpswitch",
        "accounts.reveal_gamer",
        "accounts.unblock_gamer",
        "tournaments.verify_tournament",
        "wallet.approve_correction",
        "wallet.correct_wallet",
        "wallet.freeze_wallet",
        "wallet.retry_payout",
        "wallet.reject_correction",
        "wallet.unfreeze_wallet",
    }


def test_make_roles_gives_finance_exactly_its_permissions():
    call_command("make_roles", verbosity=0)

    assert codenames(FINANCE) == {
        *(name for name in READING if name.startswith("wallet.")),
        "accounts.limit_withdrawals_game",
        "accounts.view_game",
        "wallet.approve_payout",
        "wallet.retry_payout",
        "wallet.void_payout",
        "wallet.approve_correction",
        "wallet.confirm_reorg",
        "wallet.explain_chainevent",
        "wallet.pause_payoutswitch",
        "wallet.reject_correction",
        "wallet.resume_operator",
        "wallet.resume_payoutswitch",
    }


def test_make_roles_gives_admins_exactly_their_permissions():
    call_command("make_roles", verbosity=0)

    assert codenames(ADMINS) == {
        "accounts.pull_otpswitch",
        "accounts.release_otpswitch",
        "accounts.view_otpswitch",
        "auth.add_user",
        "auth.end_sessions_user",
        "auth.hand_out_password_user",
        "auth.make_authenticator_user",
        "auth.make_backup_codes_user",
        "auth.set_roles_user",
        "auth.switch_off_user",
        "auth.switch_on_user",
        "auth.view_user",
        "common.view_staffact",
    }


def test_make_roles_takes_back_what_a_role_must_not_have():
    call_command("make_roles", verbosity=0)
    operators, support = Group.objects.get(name=OPERATORS), Group.objects.get(name=SUPPORT)
    support.permissions.add(*operators.permissions.all())

    call_command("make_roles", verbosity=0)

    assert "tournaments.cancel_tournament" not in codenames(SUPPORT)


# --- Games ---------------------------------------------------------------------------------------


def test_game_add_shows_credentials_that_work_once():
    operator = staff_client(OPERATORS)

    response = operator.post(
        "/admin/accounts/game/add/",
        {
            "name": "Carrom",
            "game_uid": "carrom",
            "is_sandbox": "on",
            "min_withdrawal": "500",
            "rate_limit": "100",
            "gamer_event_rate": "10",
            "rake_percent": "20",
        },
    )

    game = Game.objects.get()
    secret = response.context["secret"]
    page = operator.get(reverse("admin:accounts_game_change", args=[game.pk]))
    assert (
        clients.authenticate(
            client_id=game.client_id, client_secret=secret, now=timezone.now()
        ).game
        == game
    )
    assert (game.name, game.game_uid) == ("Carrom", "carrom")
    assert (game.min_withdrawal, game.rake_percent) == (500, 20)
    assert secret in response.content.decode()
    assert secret not in page.content.decode()
    assert StaffAct.objects.get().line() == "Made"


def test_game_add_refuses_a_name_that_is_taken():
    operator = staff_client(OPERATORS)
    GameFactory(game_uid="carrom")

    response = operator.post(
        "/admin/accounts/game/add/",
        {
            "name": "Carrom",
            "game_uid": "carrom",
            "min_withdrawal": "-1",
            "rate_limit": "0",
            "gamer_event_rate": "10",
            "rake_percent": "15",
        },
    )

    errors = response.context["adminform"].form.errors
    assert set(errors) == {"game_uid", "min_withdrawal", "rate_limit"}
    assert Game.objects.count() == 1


def test_game_settings_change_only_with_a_reason():
    operator = staff_client(OPERATORS)
    game = GameFactory(min_withdrawal=1000)
    page = reverse("admin:accounts_game_change", args=[game.pk])
    changed = {
        "name": game.name,
        "allowed_networks": "10.0.0.0/8,2001:db8::/32",
        "takes_device_calls": "on",
        "min_withdrawal": "300",
        "rate_limit": "100",
        "gamer_event_rate": "10",
        "rake_percent": "15",
    }

    without = operator.post(page, changed)
    game.refresh_from_db()
    before = game.min_withdrawal
    operator.post(page, {**changed, "reason": "agreed with the studio"})

    game.refresh_from_db()
    assert without.context["adminform"].form.errors == {"reason": ["Say why you change it."]}
    assert (before, game.min_withdrawal) == (1000, 300)
    assert game.allowed_networks == "10.0.0.0/8\n2001:db8::/32"
    assert game.takes_device_calls
    assert (
        StaffAct.objects.get().line()
        == "Changed min_withdrawal, rate_limit, gamer_event_rate, allowed_networks,"
        " takes_device_calls: agreed with the studio"
    )


def test_second_secret_is_shown_once_and_both_work():
    operator = staff_client(OPERATORS)
    new = clients.create_game(name="Carrom", now=timezone.now())
    page = reverse("admin:accounts_game_add_secret", args=[new.game.pk])

    response = operator.post(page, {"reason": "rotation"})

    second = response.context["secret"]
    clients.authenticate(client_id=new.game.client_id, client_secret=new.secret, now=timezone.now())
    clients.authenticate(client_id=new.game.client_id, client_secret=second, now=timezone.now())
    assert StaffAct.objects.get().line() == "Add a second secret: rotation"
    assert second not in str(response.cookies)


def test_game_settings_refuse_networks_that_are_none():
    operator = staff_client(OPERATORS)
    game = GameFactory()
    page = reverse("admin:accounts_game_change", args=[game.pk])

    response = operator.post(page, {"allowed_networks": "10.0.0.1/8", "reason": "typed"})

    assert "has host bits set" in str(response.context["adminform"].form.errors["allowed_networks"])
    game.refresh_from_db()
    assert game.allowed_networks == ""


def test_secret_is_rotated_in_one_step():
    operator = staff_client(OPERATORS)
    new = clients.create_game(name="Carrom", now=timezone.now())
    page = reverse("admin:accounts_game_rotate_secret", args=[new.game.pk])

    response = operator.post(page, {"old_ends_in": "1", "reason": "yearly"})

    fresh = response.context["secret"]
    later = timezone.now() + timedelta(minutes=61)
    clients.authenticate(client_id=new.game.client_id, client_secret=fresh, now=later)
    with pytest.raises(clients.ClientRefused):
        clients.authenticate(client_id=new.game.client_id, client_secret=new.secret, now=later)
    clients.authenticate(client_id=new.game.client_id, client_secret=new.secret, now=timezone.now())
    game_page = operator.get(reverse("admin:accounts_game_change", args=[new.game.pk]))
    assert "valid until" in game_page.content.decode()
    assert "Rotate the secret" not in game_page.content.decode()


def test_client_is_disabled_and_enabled_with_a_reason():
    operator = staff_client(OPERATORS)
    game = GameFactory()
    page = reverse("admin:accounts_game_disable_client", args=[game.pk])

    without = operator.post(page, {})
    game.refresh_from_db()
    still_active = game.is_active
    operator.post(page, {"reason": "leaked"})
    game.refresh_from_db()
    disabled = not game.is_active
    operator.post(reverse("admin:accounts_game_enable_client", args=[game.pk]), {"reason": "over"})
    game.refresh_from_db()

    assert set(without.context["form"].errors) == {"reason"}
    assert (still_active, disabled, game.is_active) == (True, True, True)


def test_all_sessions_of_a_game_end_and_no_other_ones():
    operator = staff_client(OPERATORS)
    mine, other = SessionFactory(), SessionFactory()
    page = reverse("admin:accounts_game_end_sessions", args=[mine.gamer.game.pk])

    operator.post(page, {"reason": "leaked"})

    mine.refresh_from_db()
    other.refresh_from_db()
    assert mine.revoked_at is not None
    assert other.revoked_at is None


def test_one_session_of_a_gamer_ends_or_all_of_them():
    support = staff_client(SUPPORT)
    gamer = GamerFactory()
    one, two, foreign = SessionFactory(gamer=gamer), SessionFactory(gamer=gamer), SessionFactory()
    page = reverse("admin:accounts_gamer_end_sessions", args=[gamer.pk])

    refused = support.post(page, {"session": foreign.pk, "reason": "lost phone"})
    support.post(page, {"session": one.pk, "reason": "lost phone"})
    open_after_one = list(gamer.sessions.filter(revoked_at=None))
    support.post(page, {"session": "", "reason": "lost phone"})

    foreign.refresh_from_db()
    assert set(refused.context["form"].errors) == {"session"}
    assert foreign.revoked_at is None
    assert open_after_one == [two]
    assert not gamer.sessions.filter(revoked_at=None).exists()


def test_third_secret_is_not_offered():
    operator = staff_client(OPERATORS)
    new = clients.create_game(name="Carrom", now=timezone.now())
    clients.add_secret(game=new.game, now=timezone.now())

    page = reverse("admin:accounts_game_add_secret", args=[new.game.pk])
    response = operator.post(page, {"reason": "one more"})

    assert response.status_code == 302
    assert new.game.secrets.count() == 2


def test_disabled_secret_opens_nothing_any_more():
    operator = staff_client(OPERATORS)
    new = clients.create_game(name="Carrom", now=timezone.now())
    second = clients.add_secret(game=new.game, now=timezone.now())
    old = new.game.secrets.earliest("id")

    page = reverse("admin:accounts_game_disable_secret", args=[new.game.pk])
    operator.post(page, {"secret": old.pk, "reason": "rotated"})

    clients.authenticate(client_id=new.game.client_id, client_secret=second, now=timezone.now())
    with pytest.raises(clients.ClientRefused):
        clients.authenticate(
            client_id=new.game.client_id, client_secret=new.secret, now=timezone.now()
        )


def test_secret_of_another_game_cannot_be_disabled():
    operator = staff_client(OPERATORS)
    game, other = GameFactory(), GameFactory()

    page = reverse("admin:accounts_game_disable_secret", args=[game.pk])
    response = operator.post(page, {"secret": other.secrets.get().pk, "reason": "by mistake"})

    assert set(response.context["form"].errors) == {"secret"}
    assert other.secrets.get().disabled_at is None


def test_support_may_read_a_game_and_change_nothing():
    support = staff_client(SUPPORT)
    game = GameFactory()
    page = reverse("admin:accounts_game_change", args=[game.pk])

    assert support.get(page).status_code == 200
    assert support.post(page, {"name": "mine"}).status_code == 403
    assert support.get("/admin/accounts/game/add/").status_code == 403
    acts = ("add_secret", "disable_secret", "rotate_secret", "disable_client", "end_sessions")
    for act in acts:
        response = support.post(
            reverse(f"admin:accounts_game_{act}", args=[game.pk]), {"reason": "no"}
        )
        assert response.status_code == 403
    assert game.secrets.count() == 1


# --- Gamers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "term",
    ["+919876543210", "+91 98765-43210", "9876543210", "g-found", "Swift", "swi", "S@example.com"],
)
def test_gamer_search_goes_straight_to_the_one_found(term):
    support = staff_client(SUPPORT)
    found = GamerFactory(
        gamer_id="g-found",
        username="Swift",
        email="s@example.com",
        kgen_account=KgenAccountFactory(phone="+919876543210"),
    )
    GamerFactory(gamer_id="x-other", username="Other")

    response = support.get("/admin/accounts/gamer/", {"q": term})

    assert response["Location"] == reverse("admin:accounts_gamer_change", args=[found.pk])


def test_gamer_search_finds_the_account_id():
    support = staff_client(SUPPORT)
    found = GamerFactory()

    response = support.get("/admin/accounts/gamer/", {"q": str(found.uid)})

    assert response["Location"] == reverse("admin:accounts_gamer_change", args=[found.pk])


def test_gamer_search_lists_the_gamers_of_all_games():
    support = staff_client(SUPPORT)
    gamers = [GamerFactory(gamer_id="g-1"), GamerFactory(gamer_id="g-1")]
    GamerFactory(gamer_id="h-1")

    response = support.get("/admin/accounts/gamer/", {"q": "g-1"})

    assert set(response.context["cl"].result_list) == set(gamers)


@pytest.mark.parametrize("term", ["nobody", "0x" + "0" * 40, "\x00", "'; --", "123", "9" * 40])
def test_gamer_search_without_a_hit_says_so(term):
    support = staff_client(SUPPORT)
    GamerFactory()

    response = support.get("/admin/accounts/gamer/", {"q": term, "is_blocked__exact": "1"})

    assert response.status_code == 200
    assert list(response.context["cl"].result_list) == []


def contactable_gamer():
    return GamerFactory(
        kgen_account=KgenAccountFactory(phone="+919876543210"),
        email="swift@example.com",
        phonenumber="098765 43210",
    )


def test_phones_and_emails_are_masked_in_the_list_and_on_the_page():
    support = staff_client(SUPPORT)
    gamer = contactable_gamer()

    listed = support.get("/admin/accounts/gamer/").content.decode()
    page = support.get(reverse("admin:accounts_gamer_change", args=[gamer.pk])).content.decode()

    assert "+91******3210" in listed
    for masked in ("+91******3210", "s****@example.com", "098*****3210"):
        assert masked in page
    for hidden in ("+919876543210", "swift@example.com", "098765 43210"):
        assert hidden not in listed + page


def test_revealing_needs_a_reason_is_logged_and_shows_it_once():
    support = staff_client(SUPPORT)
    gamer = contactable_gamer()
    reveal = reverse("admin:accounts_gamer_reveal", args=[gamer.pk])

    refused = support.post(reveal, {"reason": ""}).content.decode()
    shown = support.post(reveal, {"reason": "ticket 7"})

    entry = StaffAct.objects.get()
    assert "+919876543210" not in refused
    for revealed in ("+919876543210", "swift@example.com", "098765 43210"):
        assert revealed in shown.content.decode()
    assert "no-store" in shown["Cache-Control"]
    assert (entry.by_name, entry.object_pk) == ("support-0", str(gamer.pk))
    assert entry.line() == "Show phone and e-mail: ticket 7"
    assert (entry.details, entry.before, entry.after) == ({}, {}, {})


def test_operators_cannot_reveal():
    operator = staff_client(OPERATORS)
    gamer = contactable_gamer()

    answer = operator.post(
        reverse("admin:accounts_gamer_reveal", args=[gamer.pk]), {"reason": "why not"}
    )

    assert answer.status_code == 403
    assert not StaffAct.objects.exists()


def test_gamer_page_shows_sessions_and_otps_but_neither_tokens_nor_codes():
    support = staff_client(SUPPORT)
    session = SessionFactory(device_id="pixel-9")
    token = token_for(session)
    now = timezone.now()
    gamer = session.gamer
    OtpRequest.objects.create(
        verification=PhoneVerification.objects.create(gamer=gamer, phone_hash="p"),
        auth_code="525503817264019",
        code_hash="c" * 64,
        created_at=now,
        expires_at=now + timedelta(minutes=5),
        game=gamer.game,
        gamer=gamer,
        phone="+919876543210",
        prefix_hash="q",
    )

    page = support.get(reverse("admin:accounts_gamer_change", args=[gamer.pk])).content.decode()

    assert "pixel-9" in page
    assert "+91******3210" in page
    for hidden in (token, clients.hash_of(token), "525503817264019", "c" * 64, "+919876543210"):
        assert hidden not in page


def test_gamer_page_survives_a_joining_date_that_is_none():
    support = staff_client(SUPPORT)
    gamer = GamerFactory(date_joined=2**53 - 1)

    response = support.get(reverse("admin:accounts_gamer_change", args=[gamer.pk]))

    assert response.status_code == 200


def test_block_and_unblock_need_a_reason_and_are_logged():
    support = staff_client(SUPPORT)
    gamer = GamerFactory()
    block = reverse("admin:accounts_gamer_block", args=[gamer.pk])

    support.post(block, {"reason": ""})
    gamer.refresh_from_db()
    without_reason = gamer.is_blocked
    support.post(block, {"reason": "plays with a bot"})
    gamer.refresh_from_db()
    blocked = gamer.is_blocked
    support.post(reverse("admin:accounts_gamer_unblock", args=[gamer.pk]), {"reason": "cleared"})

    gamer.refresh_from_db()
    assert (without_reason, blocked, gamer.is_blocked) == (False, True, False)
    assert [entry.line() for entry in StaffAct.objects.order_by("pk")] == [
        "Block: plays with a bot",
        "Unblock: cleared",
    ]


def test_operators_may_not_block():
    operator = staff_client(OPERATORS)
    gamer = GamerFactory()

    response = operator.post(
        reverse("admin:accounts_gamer_block", args=[gamer.pk]), {"reason": "because"}
    )

    gamer.refresh_from_db()
    assert response.status_code == 403
    assert not gamer.is_blocked


@pytest.mark.parametrize("model", ["auth/user", "common/staffact"])
def test_staff_of_a_role_cannot_look_after_staff(model):
    operator = staff_client(OPERATORS)

    assert operator.get(f"/admin/{model}/").status_code == 403


@pytest.mark.parametrize(("model", "queries"), [("game", 7), ("gamer", 8)])
@pytest.mark.parametrize("rows", [1, 3])
def test_list_costs_the_same_queries_whatever_its_length(
    model, queries, rows, django_assert_num_queries
):
    support = staff_client(SUPPORT)
    GamerFactory.create_batch(rows, linked=True)

    with django_assert_num_queries(queries):
        support.get(f"/admin/accounts/{model}/")
