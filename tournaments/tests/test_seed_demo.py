import json
from base64 import b32decode
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_otp.oath import totp

from accounts import clients
from accounts.models import Game
from kgen.common.models import Authenticator
from tournaments import lifecycle
from tournaments.models import Tournament

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for prefix in ("CLIENT", "CLIENT2", "OPERATOR", "SUPPORT", "FINANCE"):
        for name in ("ID", "SECRET", "USER", "PASSWORD", "TOTP_SECRET"):
            monkeypatch.delenv(f"{prefix}_{name}", raising=False)


def seed(monkeypatch=None, environment=None):
    """Run the command, with an earlier run's values in the environment, and give its last line."""
    for name, value in (environment or {}).items():
        monkeypatch.setenv(name, value)
    output = StringIO()
    call_command("seed_demo", stdout=output)
    return json.loads(output.getvalue().splitlines()[-1])


def test_seed_demo_prints_every_name():
    seeded = seed()

    assert list(seeded) == [
        "CLIENT_ID",
        "CLIENT_SECRET",
        "CLIENT2_ID",
        "CLIENT2_SECRET",
        "OPERATOR_USER",
        "OPERATOR_PASSWORD",
        "OPERATOR_TOTP_SECRET",
        "SUPPORT_USER",
        "SUPPORT_PASSWORD",
        "SUPPORT_TOTP_SECRET",
        "FINANCE_USER",
        "FINANCE_PASSWORD",
        "FINANCE_TOTP_SECRET",
        "ADMIN_USER",
        "ADMIN_PASSWORD",
        "ADMIN_TOTP_SECRET",
    ]


@pytest.mark.parametrize("prefix", ["CLIENT", "CLIENT2"])
def test_seed_demo_makes_sandbox_games_with_wide_limits(prefix):
    seeded = seed()

    secret = clients.authenticate(
        client_id=seeded[f"{prefix}_ID"],
        client_secret=seeded[f"{prefix}_SECRET"],
        now=timezone.now(),
    )
    game = secret.game
    assert (game.is_sandbox, game.min_withdrawal) == (True, 10)
    assert (game.rate_limit, game.gamer_event_rate) == (5_000, 500)


@pytest.mark.parametrize(
    ("prefix", "role"),
    [
        ("OPERATOR", "Operators"),
        ("SUPPORT", "Support"),
        ("FINANCE", "Finance"),
        ("ADMIN", "Admins"),
    ],
)
def test_seed_demo_makes_staff_with_password_and_authenticator(prefix, role):
    seeded = seed()

    user = User.objects.get(username=seeded[f"{prefix}_USER"])
    device = Authenticator.objects.get(user=user)
    code = totp(b32decode(seeded[f"{prefix}_TOTP_SECRET"]))
    assert user.check_password(seeded[f"{prefix}_PASSWORD"])
    assert (user.is_staff, user.is_superuser) == (True, False)
    assert [group.name for group in user.groups.all()] == [role]
    assert device.verify_token(f"{code:06}")


def test_seed_demo_publishes_one_running_and_one_upcoming_tournament_a_game():
    seed()

    now = timezone.now()
    assert sorted(
        (one.game.game_uid, one.title, one.status_at(now).value)
        for one in Tournament.objects.select_related("game")
    ) == [
        ("carrom-01", "Carrom Cup", "SCHEDULED"),
        ("carrom-01", "Daily Carrom", "STARTED"),
        ("ludo-01", "Daily Ludo", "STARTED"),
        ("ludo-01", "Ludo Cup", "SCHEDULED"),
    ]


def test_seed_demo_run_again_keeps_everything(monkeypatch):
    first = seed()
    tournaments = set(Tournament.objects.values_list("uid", flat=True))

    again = seed(monkeypatch, first)

    assert again == first
    assert set(Tournament.objects.values_list("uid", flat=True)) == tournaments
    assert (Game.objects.count(), User.objects.count(), Authenticator.objects.count()) == (2, 4, 4)


def test_seed_demo_replaces_only_the_secret_that_does_not_match(monkeypatch):
    first = seed()

    again = seed(monkeypatch, {**first, "CLIENT2_SECRET": "of another installation"})

    changed = {name for name in first if again[name] != first[name]}
    assert changed == {"CLIENT2_SECRET"}
    clients.authenticate(
        client_id=again["CLIENT2_ID"], client_secret=again["CLIENT2_SECRET"], now=timezone.now()
    )


def test_seed_demo_alone_leaves_every_secret_as_it_was(monkeypatch):
    first = seed()
    seed()

    third = seed()

    assert list(third) == [
        "CLIENT_ID",
        "CLIENT2_ID",
        "OPERATOR_USER",
        "SUPPORT_USER",
        "FINANCE_USER",
        "ADMIN_USER",
    ]
    assert seed(monkeypatch, first) == first
    assert Game.objects.count() == 2
    assert User.objects.count() == Authenticator.objects.count() == 4


def test_seed_demo_hands_out_new_secrets_where_the_old_are_lost(monkeypatch):
    first = seed()
    lost = dict.fromkeys((name for name in first if not name.endswith(("_ID", "_USER"))), "")
    seed(monkeypatch, lost)

    third = seed(monkeypatch, lost)

    assert set(third) == set(first)

    game = Game.objects.get(client_id=third["CLIENT_ID"])
    assert game.secrets.filter(disabled_at=None).count() == 2
    clients.authenticate(
        client_id=third["CLIENT_ID"], client_secret=third["CLIENT_SECRET"], now=timezone.now()
    )
    assert Authenticator.objects.count() == 4


def test_seed_demo_renews_tournaments_that_are_over(monkeypatch):
    first = seed()
    running = Tournament.objects.get(title="Daily Carrom")
    lifecycle.end_now(uid=running.uid, now=timezone.now())

    seed(monkeypatch, first)

    assert Tournament.objects.filter(title="Daily Carrom").count() == 2
    assert Tournament.objects.count() == 5


def test_seed_demo_leaves_a_real_game_alone(monkeypatch):
    real = clients.create_game(name="Real", now=timezone.now())

    seeded = seed(monkeypatch, {"CLIENT_ID": real.game.client_id, "CLIENT_SECRET": real.secret})

    assert seeded["CLIENT_ID"] != real.game.client_id
    assert real.game.secrets.count() == 1


def test_seed_demo_refuses_to_take_over_a_superuser(monkeypatch):
    User.objects.create_superuser("root", password="kept")
    monkeypatch.setenv("OPERATOR_USER", "root")

    with pytest.raises(CommandError, match="root is a superuser"):
        seed()

    assert User.objects.get().check_password("kept")
    assert Game.objects.count() == 0
