"""How staff sign in, how long that lasts, and who lets them."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import totp

from accounts import staff
from accounts.tests.staff import PASSWORD, staff_client, staff_user
from kgen.common.admin import ADMINS, FINANCE, OPERATORS, SUPPORT, make_roles
from kgen.common.models import Authenticator, BackupCode, StaffAct

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/?next=/admin/"


def log_in(user, code=None, *, password=PASSWORD, client=None, address="203.0.113.1", **headers):
    code = code_of(user) if code is None else code
    return (client or Client()).post(
        LOGIN,
        {"username": user.username, "password": password, "otp_token": code, "next": "/admin/"},
        REMOTE_ADDR=address,
        **headers,
    )


def code_of(user, at=None):
    """The newest code that was not used: of the next step, if need be."""
    authenticator = Authenticator.objects.get(user=user)
    seed, step = bytes.fromhex(authenticator.key), int(timezone.now().timestamp()) // 30
    drift = max(0, authenticator.last_step + 1 - step)
    return f"{totp(seed, drift=drift):06}"


def page(user, act):
    return reverse(f"admin:auth_user_{act}", args=[user.pk])


def acts():
    return [(one.name, one.by_name) for one in StaffAct.objects.order_by("pk")]


# --- Being locked out ----------------------------------------------------------------------------


def test_five_wrong_passwords_lock_out_that_name_from_that_address_alone():
    sam, ada = staff_user(OPERATORS), staff_user(OPERATORS, username="ada")

    tried = [log_in(sam, "123456", password="wrong").status_code for _ in range(5)]
    right = log_in(sam)
    elsewhere = log_in(sam, address="203.0.113.2")
    other = log_in(ada)

    assert tried == [200, 200, 200, 200, 429]
    assert (right.status_code, right["Retry-After"]) == (429, "300")
    assert "Try again in 5 minutes" in right.content.decode()
    assert (elsewhere.status_code, other.status_code) == (302, 302)
    assert acts() == [
        *[("login_failed", "sam")] * 5,
        ("locked_out", "sam"),
        ("login", "sam"),
        ("login", "ada"),
    ]


def test_five_wrong_codes_lock_out_too():
    sam = staff_user(OPERATORS)

    tried = [log_in(sam, "000000").status_code for _ in range(5)]

    assert tried == [200, 200, 200, 200, 429]
    assert log_in(sam).status_code == 429
    assert acts() == [*[("wrong_code", "sam")] * 5, ("locked_out", "sam")]


def test_lock_is_over_after_five_minutes_and_no_try_prolongs_it():
    sam = staff_user(OPERATORS)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(5):
            log_in(sam, "123456", password="wrong")
        clock.shift(timedelta(minutes=4, seconds=59))
        early = log_in(sam).status_code
        clock.shift(timedelta(seconds=2))

        late = log_in(sam).status_code

    assert (early, late) == (429, 302)


def test_a_forged_header_is_no_other_address():
    sam = staff_user(OPERATORS)

    for number in range(5):
        log_in(sam, "1", password="wrong", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}")

    assert log_in(sam, HTTP_X_FORWARDED_FOR="198.51.100.9").status_code == 429


def test_another_browser_is_no_other_address():
    sam = staff_user(OPERATORS)

    for number in range(5):
        log_in(sam, "1", password="wrong", HTTP_USER_AGENT=f"browser {number}")

    assert log_in(sam, HTTP_USER_AGENT="new browser").status_code == 429


def test_signing_in_forgets_the_failures_before():
    sam = staff_user(OPERATORS)
    for _ in range(4):
        log_in(sam, "1", password="wrong")

    assert log_in(sam).status_code == 302
    assert log_in(sam, "1", password="wrong").status_code == 200


@pytest.mark.parametrize(("tries", "minutes"), [(5, 5), (20, 60), (50, 24 * 60)])
def test_wrong_codes_of_one_person_are_counted_wherever_they_come_from(tries, minutes):
    sam = staff_user(OPERATORS)
    StaffAct.objects.bulk_create(
        StaffAct(by=sam, by_name="sam", name=staff.WRONG_CODE, label="", at=timezone.now() - spread)
        for spread in (timedelta(minutes=minutes * n / tries) * 0.9 for n in range(tries))
    )

    refused = log_in(sam, address="203.0.113.77")
    with time_machine.travel(timezone.now() + timedelta(minutes=minutes + 1)):
        later = log_in(sam, address="203.0.113.77")

    assert "Too many wrong codes" in refused.content.decode()
    assert (refused.status_code, later.status_code) == (200, 302)


def test_who_does_not_know_the_password_locks_nobody_out_by_codes():
    sam = staff_user(OPERATORS)

    for number in range(30):
        log_in(sam, "000000", password="wrong", address=f"203.0.113.{number}")

    assert log_in(sam, address="203.0.113.200").status_code == 302


# --- How long a session lasts --------------------------------------------------------------------

START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@time_machine.travel(START, tick=False)
def signed_in(user):
    client = Client()
    assert log_in(user, client=client).status_code == 302
    return client


def statuses(client, *minutes):
    found = []
    for minute in minutes:
        with time_machine.travel(START + timedelta(minutes=minute), tick=False):
            found.append(client.get("/admin/").status_code)
    return found


def test_session_ends_after_half_an_hour_of_nothing():
    client = signed_in(staff_user(OPERATORS))

    assert statuses(client, 29, 58, 88, 88) == [200, 200, 302, 302]


def test_session_ends_after_eight_hours_whatever_is_done():
    client = signed_in(staff_user(OPERATORS))

    assert statuses(client, *range(20, 8 * 60, 20), 479) == [200] * 24
    assert statuses(client, 480, 481) == [302, 302]


def test_session_gets_another_key_as_one_signs_in():
    client = Client()
    client.get(LOGIN)
    session = client.session
    session["planted"] = True
    session.save()
    planted = session.session_key
    client.cookies.load({"sessionid": planted or ""})

    log_in(staff_user(OPERATORS), client=client)

    assert client.session.session_key != planted


def test_cookies_are_for_no_script_and_no_other_site():
    response = log_in(staff_user(OPERATORS))

    cookie = response.cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert cookie["max-age"] == 8 * 3600
    csrf = Client().get(LOGIN).cookies["csrftoken"]
    assert (csrf["httponly"], csrf["samesite"]) == (True, "Lax")


def test_who_is_switched_off_is_out_at_the_next_request():
    user = staff_user(OPERATORS)
    client, admin = signed_in(user), staff_client(ADMINS)

    before = statuses(client, 1)
    admin.post(page(user, "switch_off"), {"reason": "has left"})

    user.refresh_from_db()
    assert (before, statuses(client, 2), user.is_active) == ([200], [302], False)


def test_sessions_of_a_colleague_are_ended_everywhere():
    user = staff_user(OPERATORS)
    one, other = signed_in(user), Client()
    with time_machine.travel(START + timedelta(seconds=31), tick=False):
        log_in(user, client=other)
    bystander, admin = signed_in(staff_user(SUPPORT, username="ada")), staff_client(ADMINS)

    admin.post(page(user, "end_sessions"), {"reason": "lost laptop"})

    assert (statuses(one, 2), statuses(other, 2)) == ([302], [302])
    assert statuses(bystander, 2) == [200]
    assert StaffAct.objects.get(name="end_sessions").before == {"sessions": 2}


def test_signing_out_ends_the_session_and_is_written_down():
    user = staff_user(OPERATORS)
    client = Client()
    log_in(user, client=client)

    client.post("/admin/logout/")

    assert client.get("/admin/").status_code == 302
    assert acts() == [("login", "sam"), ("logout", "sam")]


# --- Who lets staff in ---------------------------------------------------------------------------


def test_new_staff_come_in_with_what_an_admin_hands_out():
    admin = staff_client(ADMINS)
    support = Group.objects.get(name=SUPPORT)
    admin.post(
        "/admin/auth/user/add/",
        {
            "username": "ada",
            "first_name": "Ada",
            "last_name": "",
            "roles": [support.pk],
            "reason": "joined",
            "is_superuser": "on",
        },
    )
    ada = User.objects.get(username="ada")
    without = log_in(ada, "123456", password="")

    handed = {
        act: dict(admin.post(page(ada, act), {"reason": "joined"}).context["handed"])
        for act in ("hand_out_password", "make_authenticator", "make_backup_codes")
    }

    password = handed["hand_out_password"]["Password"]
    codes = handed["make_backup_codes"]["Backup codes"].split()
    assert without.status_code == 200
    assert (ada.is_staff, ada.is_superuser) == (True, False)
    assert log_in(ada, password=password).status_code == 302
    assert log_in(ada, codes[3], password=password).status_code == 302
    assert handed["make_authenticator"]["The same as a link"] == (
        "otpauth://totp/KGeN%3Aada?secret="
        f"{handed['make_authenticator']['Key for the app']}&issuer=KGeN"
    )
    kept = StaffAct.objects.filter(object_type="auth.user").order_by("pk")
    assert [(one.name, one.reason) for one in kept] == [
        ("add", "joined"),
        ("hand_out_password", "joined"),
        ("make_authenticator", "joined"),
        ("make_backup_codes", "joined"),
    ]
    assert kept[0].after["roles"] == [SUPPORT]
    for secret in (password, *codes, handed["make_authenticator"]["Key for the app"]):
        assert secret not in str(list(kept.values()))


def test_backup_codes_are_kept_as_hashes():
    user = staff_user(OPERATORS)

    codes = staff.make_backup_codes(user=user)

    assert len(set(codes)) == BackupCode.objects.count() == 10
    assert all(re.fullmatch(r"[0-9a-f]{64}", one.code_hash) for one in BackupCode.objects.all())


def test_new_backup_codes_void_those_before():
    user = staff_user(OPERATORS)
    old = staff.make_backup_codes(user=user)
    new = staff.make_backup_codes(user=user)

    assert log_in(user, old[0]).status_code == 200
    assert log_in(user, new[0]).status_code == 302


def test_own_backup_codes_need_a_code_of_the_authenticator():
    user = staff_user(OPERATORS)
    client = Client()
    log_in(user, client=client)

    refused = client.post("/admin/backup-codes/", {"code": "000000"})
    made = client.post("/admin/backup-codes/", {"code": code_of(user)})

    assert (refused.context["codes"], len(made.context["codes"])) == ([], 10)
    assert acts() == [("login", "sam"), ("wrong_code", "sam"), ("make_backup_codes", "sam")]
    assert log_in(user, made.context["codes"][0]).status_code == 302


def test_new_authenticator_voids_the_one_before_and_its_sessions():
    user = staff_user(OPERATORS)
    client = signed_in(user)
    old = Authenticator.objects.get(user=user).key

    staff_client(ADMINS).post(page(user, "make_authenticator"), {"reason": "lost phone"})

    assert statuses(client, 1) == [302]
    assert Authenticator.objects.get(user=user).key != old


def test_own_password_changes_by_the_old_one_and_ends_the_other_sessions():
    user = staff_user(OPERATORS)
    here, there = Client(), Client()
    log_in(user, staff.make_backup_codes(user=user)[0], client=here)
    log_in(user, client=there)
    new = "a long enough new one"

    here.post(
        "/admin/password_change/",
        {"old_password": PASSWORD, "new_password1": new, "new_password2": new},
    )

    assert (here.get("/admin/").status_code, there.get("/admin/").status_code) == (200, 302)
    assert acts() == [("login", "sam"), ("login", "sam"), ("change_password", "sam")]


# --- Nobody raises themselves --------------------------------------------------------------------

ON_STAFF = (
    "set_roles",
    "hand_out_password",
    "make_authenticator",
    "make_backup_codes",
    "switch_off",
    "switch_on",
)


@pytest.mark.parametrize("act", ON_STAFF)
def test_admin_does_nothing_to_their_own_account(act):
    admin = staff_client(ADMINS)
    me = User.objects.get()
    before = staff.state_of(me)

    everything = {"roles": [one.pk for one in Group.objects.all()], "reason": "mine"}
    answers = [
        admin.get(page(me, act)).status_code,
        admin.post(page(me, act), everything).status_code,
    ]

    assert answers == [403, 403]
    assert (staff.state_of(me), StaffAct.objects.count()) == (before, 0)


@pytest.mark.parametrize("act", [*ON_STAFF, "end_sessions"])
def test_admin_does_nothing_to_a_superuser(act):
    admin = staff_client(ADMINS)
    root = User.objects.create_superuser("root", password=PASSWORD)
    before = staff.state_of(root)

    answer = admin.post(page(root, act), {"reason": "mine"})

    assert (answer.status_code, staff.state_of(root)) == (403, before)


@pytest.mark.parametrize("role", [OPERATORS, SUPPORT, FINANCE])
def test_no_other_role_gives_roles(role):
    client, other = staff_client(role), staff_user(username="ada")
    everything = {"roles": [one.pk for one in Group.objects.all()], "reason": "mine"}

    answers = {client.post(page(other, act), everything).status_code for act in ON_STAFF}
    added = client.post("/admin/auth/user/add/", {"username": "eve", **everything})

    assert (answers, added.status_code) == ({403}, 403)
    assert not other.groups.exists()
    assert not User.objects.filter(username="eve").exists()


def test_forged_fields_change_no_account():
    admin, other = staff_client(ADMINS), staff_user(username="ada")
    make_roles()
    forged = {
        "username": "ada2",
        "is_superuser": "on",
        "is_staff": "on",
        "is_active": "",
        "password": "x",
        "groups": [1],
        "user_permissions": [1],
        "reason": "mine",
    }
    before = staff.state_of(other)

    change = admin.post(page(other, "change"), forged)
    delete = admin.post(page(other, "delete"), {"post": "yes"})
    roles = admin.post(page(other, "set_roles"), forged)
    unknown = admin.post(page(other, "set_roles"), {"roles": [10**6], "reason": "mine"})

    assert (change.status_code, delete.status_code) == (403, 403)
    assert (roles.status_code, set(unknown.context["form"].errors)) == (302, {"roles"})
    assert staff.state_of(other) == before


def test_groups_and_permissions_have_no_page():
    admin = staff_client(ADMINS)

    for gone in ("auth/group/", "auth/permission/", "axes/accessattempt/", "auth/user/1/password/"):
        assert admin.get(f"/admin/{gone}").status_code in (302, 404), gone


# --- From the command line -----------------------------------------------------------------------


def test_make_admin_makes_the_first_one(capsys):
    call_command("make_admin", "chief", "--reason", "first of all")

    told = capsys.readouterr().out
    chief = User.objects.get(username="chief")
    password = re.findall(r"Password +(\S+)", told)[0]
    assert log_in(chief, password=password).status_code == 302
    assert (chief.is_superuser, [one.name for one in chief.groups.all()]) == (False, [ADMINS])
    kept = StaffAct.objects.get(name="make_admin")
    assert (kept.by, kept.by_name, kept.reason) == (None, "command line", "first of all")
    assert password not in str(kept.after)


def test_make_admin_lifts_nobody_of_another_role():
    user = staff_user(SUPPORT)
    before = staff.state_of(user)

    with pytest.raises(CommandError, match="sam is there and no Admin"):
        call_command("make_admin", "sam", "--reason", "why not")

    assert staff.state_of(user) == before
