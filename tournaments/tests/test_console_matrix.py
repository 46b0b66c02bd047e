"""Who may open which page of the console, and do what there: all of it, against one table.

Asked of rows that are not there, so that "may" shows as 404 or as a page, and "may not" as 403.
"""

import csv

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse

from accounts.tests.staff import staff_client, staff_user
from kgen.common.admin import ADMINS, FINANCE, OPERATORS, SUPPORT, ConsoleAdmin
from kgen.common.models import StaffAct
from kgen.common.spreadsheets import FORMULA_STARTS
from tournaments.tests.factories import TournamentFactory
from wallet.tests.factories import WalletFactory

pytestmark = pytest.mark.django_db

ROLES = {"O": OPERATORS, "S": SUPPORT, "F": FINANCE, "A": ADMINS}

MAY = {
    "accounts_game": {
        "view": "OSF",
        "add": "O",
        "change": "O",
        "add_secret": "O",
        "rotate_secret": "O",
        "disable_secret": "O",
        "disable_client": "O",
        "enable_client": "O",
        "end_sessions": "O",
        "limit_withdrawals": "F",
    },
    "accounts_gamer": {
        "view": "OS",
        "reveal": "S",
        "export": "S",
        "erase": "S",
        "block": "S",
        "unblock": "S",
        "end_sessions": "S",
        "grant_reward": "O",
    },
    "accounts_otpswitch": {"view": "OSA", "pull": "SA", "release": "SA"},
    "auth_user": {
        "view": "A",
        "add": "A",
        "set_roles": "A",
        "hand_out_password": "A",
        "make_authenticator": "A",
        "make_backup_codes": "A",
        "end_sessions": "A",
        "switch_off": "A",
        "switch_on": "A",
    },
    "common_staffact": {"view": "A"},
    "rewards_bulkgrant": {"view": "OS", "add": "O", "confirm": "O"},
    "rewards_reward": {"view": "OS"},
    "tournaments_gameevent": {"view": "OS"},
    "tournaments_participation": {"view": "OS", "disqualify": "O"},
    "tournaments_quarantinedscore": {"view": "OS", "accept": "O", "reject": "O"},
    "tournaments_series": {"view": "OS", "add": "O", "change": "O", "stop": "O", "resume": "O"},
    "tournaments_tournament": {
        "view": "OS",
        "ticket": "OS",
        "report": "OS",
        "export": "OS",
        "add": "O",
        "change": "O",
        "publish": "O",
        "pause_scores": "O",
        "resume_scores": "O",
        "lock_now": "O",
        "end_now": "O",
        "settle": "O",
        "cancel": "O",
        "clone": "O",
        "verify": "OS",
    },
    "wallet_approvalrequest": {"view": "OSF"},
    "wallet_attempt": {"view": "OSF"},
    "wallet_chainevent": {"view": "OSF", "explain": "F"},
    "wallet_correction": {"view": "OSF", "approve": "SF", "reject": "SF"},
    "wallet_ledgeraccount": {"view": "OSF"},
    "wallet_operator": {"view": "OSF", "resume": "F"},
    "wallet_payout": {"view": "OSF", "approve": "F", "void": "F", "retry": "SF"},
    "wallet_payoutswitch": {"view": "OSF", "pause": "F", "resume": "F"},
    "wallet_reconciliationrun": {"view": "OSF"},
    "wallet_reorg": {"view": "OSF", "confirm": "F"},
    "wallet_slot": {"view": "OSF"},
    "wallet_solvencysample": {"view": "OSF"},
    "wallet_wallet": {
        "view": "OSF",
        "timeline": "OSF",
        "correct": "S",
        "freeze": "S",
        "unfreeze": "S",
    },
    "wallet_wallettransaction": {"view": "OSF"},
}

# Of everybody who is signed in: about oneself, or about nothing.
OWN = (
    "index",
    "app_list",
    "jsi18n",
    "login",
    "own_backup_codes",
    "password_change",
    "password_change_done",
    "view_on_site",
)
# No field of ours completes itself.
NOBODYS = ("autocomplete",)
VIEWING = ("changelist", "change", "history")


def patterns(found=None, prefix=""):
    for one in admin.site.get_urls() if found is None else found:
        if isinstance(one, URLResolver):
            yield from patterns(one.url_patterns, prefix + str(one.pattern))
        elif isinstance(one, URLPattern):
            yield prefix + str(one.pattern), one.name


def address_of(route):
    if "app_label>" in route:
        return "/admin/accounts/"
    return "/admin/" + (
        route.replace("<path:object_id>", "0").replace("<path:content_type_id>", "0")
    )


def expected():
    """Of each address, who may GET and who may POST: letters of `ROLES`, `*` for all of them."""
    table = {}
    for route, name in patterns():
        if name is None:
            continue
        if name in OWN:
            table[address_of(route)] = ("*", "*")
        elif name in NOBODYS:
            table[address_of(route)] = ("", "")
        elif name != "logout":
            _, _, verb = next(
                name.partition(f"{model}_") for model in MAY if name.startswith(f"{model}_")
            )
            may = MAY[name.removesuffix(f"_{verb}")] if verb else {}
            if verb in VIEWING:
                saves = may.get("change", "") if verb == "change" else may["view"]
                table[address_of(route)] = (may["view"], saves)
            elif verb in ("add", "delete"):
                table[address_of(route)] = (may.get(verb, ""), may.get(verb, ""))
            else:
                table[address_of(route)] = (may[verb], may[verb])
    return table


def verdict(response):
    if response.status_code == 302 and response["Location"].startswith("/admin/login/"):
        return "signed out"
    if response.status_code == 405:
        return "nobody can"
    return "no" if response.status_code == 403 else "yes"


def test_the_table_names_every_page_and_every_act():
    named = {
        f"{model}_{verb}"
        for model, may in MAY.items()
        for verb in {*may, *("changelist", "history", "delete", "add", "change")} - {"view"}
    }
    found = {name for _, name in patterns() if name} - {*OWN, *NOBODYS, "logout"}
    events = {f"tournaments_gameevent_{verb}" for verb in ("history", "delete", "add", "change")}
    acts = {
        f"{page.opts.app_label}_{page.opts.model_name}_{act.name}"
        for page in admin.site._registry.values()
        if isinstance(page, ConsoleAdmin)
        for act in page.acts()
    }

    assert found == named - events
    assert acts <= found
    # What leads from a row's address to its page, and what says that there is no such page.
    nameless = {route for route, name in patterns() if not name}
    assert {route.rpartition("/<path:object_id>/")[1] for route in nameless} == {
        "",
        "/<path:object_id>/",
    }


def test_every_page_is_one_of_ours_and_offers_no_action_on_many_rows():
    pages = admin.site._registry.values()

    assert all(isinstance(page, ConsoleAdmin) for page in pages)
    assert [page for page in pages if page.actions or page.list_editable or page.inlines] == []


def test_every_act_asks_why_unless_nobody_sees_what_it_does():
    pages = [one for one in admin.site._registry.values() if isinstance(one, ConsoleAdmin)]
    acts = [act for page in pages for act in page.acts()]

    assert {act.name for act in acts if not act.asks_why} == {"clone", "verify"}


def test_every_file_for_a_spreadsheet_is_known():
    files = {route for route, _ in patterns() if route.endswith(".csv")}

    # Both are written by kgen.common.spreadsheets, and tested to hold no formula.
    assert files == {
        "tournaments/tournament/<path:object_id>/report.csv",
        "wallet/wallet/<path:object_id>/timeline.csv",
    }
    writers = [
        str(path.relative_to(settings.BASE_DIR))
        for app in ("accounts", "kgen", "rewards", "tournaments", "wallet")
        for path in (settings.BASE_DIR / app).rglob("*.py")
        if "tests" not in path.parts and "csv.writer" in path.read_text()
    ]
    assert writers == ["kgen/common/spreadsheets.py"]


def test_no_file_for_a_spreadsheet_holds_a_formula():
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(title="=1+1")
    wallet = WalletFactory(gamer__gamer_id="@SUM(A1)")

    pages = [
        reverse("admin:tournaments_tournament_export", args=[tournament.pk]),
        reverse("admin:wallet_wallet_timeline", args=[wallet.pk]),
    ]
    files = [operator.get(page).getvalue().decode() for page in pages]

    assert "'=1+1" in files[0]
    cells = [cell for file in files for row in csv.reader(file.splitlines()) for cell in row]
    assert [
        cell for cell in cells if cell.startswith(FORMULA_STARTS[:1] + FORMULA_STARTS[3:])
    ] == []
    assert list(StaffAct.objects.order_by("pk").values_list("name", "object_pk")) == [
        ("export", str(tournament.pk)),
        ("export", str(wallet.pk)),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("letter", ROLES)
def test_a_role_may_do_exactly_what_the_table_says(letter):
    client = staff_client(ROLES[letter])

    wrong = {}
    for address, (reading, writing) in expected().items():
        for send, who in ((client.get, reading), (client.post, writing)):
            wanted = "yes" if who == "*" or letter in who else "no"
            answer = send(address, {})
            if verdict(answer) not in (wanted, "nobody can") or answer.status_code >= 500:
                wrong[send.__name__, address] = (wanted, answer.status_code)

    assert wrong == {}


@pytest.mark.slow
def test_staff_without_a_role_may_do_nothing():
    client = staff_client(SUPPORT)
    User.objects.get().groups.clear()

    allowed = [
        (send.__name__, address)
        for address, (reading, writing) in expected().items()
        for send, who in ((client.get, reading), (client.post, writing))
        if who != "*" and verdict(send(address, {})) not in ("no", "nobody can")
    ]

    assert allowed == []


@pytest.mark.slow
@pytest.mark.parametrize("who", ["nobody", "staff without a code", "gamer-like user", "superuser"])
def test_who_is_not_signed_in_with_a_code_opens_nothing(who):
    client = Client()
    user = staff_user(OPERATORS)
    if who != "nobody":
        User.objects.update(is_staff=who != "gamer-like user", is_superuser=who == "superuser")
        client.force_login(user)

    answers = {
        (send.__name__, address): verdict(send(address, {}))
        for address in expected()
        for send in (client.get, client.post)
        if address != "/admin/login/"
    }

    assert {one for one, answer in answers.items() if answer != "signed out"} == set()
