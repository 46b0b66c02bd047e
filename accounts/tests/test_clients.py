from datetime import datetime, timedelta
from ipaddress import ip_address

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import clients
from accounts.models import Game, GameSecret
from accounts.tests.factories import GameFactory, secret_of

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def test_new_client_shows_its_secret_once_and_keeps_a_hash():
    new = clients.create_game(name="Carrom Pool!", now=NOW)

    stored = GameSecret.objects.get(game=new.game)
    assert len(new.secret) == 43
    assert stored.secret_hash != new.secret
    assert (
        clients.authenticate(client_id=new.game.client_id, client_secret=new.secret, now=NOW)
        == stored
    )
    assert new.game.game_uid == f"carrom-pool-{new.game.client_id[-6:]}"
    assert (new.game.min_withdrawal, new.game.rate_limit, new.game.gamer_event_rate) == (
        1000,
        100,
        10,
    )


def test_two_secrets_serve_and_a_third_is_refused():
    new = clients.create_game(name="Carrom", now=NOW)
    second = clients.add_secret(game=new.game, now=NOW)

    with pytest.raises(clients.TooManySecrets):
        clients.add_secret(game=new.game, now=NOW)

    assert GameSecret.objects.filter(game=new.game).count() == 2
    for secret in (new.secret, second):
        clients.authenticate(client_id=new.game.client_id, client_secret=secret, now=NOW)


def test_disabled_secret_makes_room_and_opens_nothing():
    new = clients.create_game(name="Carrom", now=NOW)
    clients.add_secret(game=new.game, now=NOW)
    old = GameSecret.objects.get(secret_hash=clients.hash_of(new.secret))

    clients.disable_secret(secret=old, now=NOW)
    clients.add_secret(game=new.game, now=NOW)

    with pytest.raises(clients.ClientRefused):
        clients.authenticate(client_id=new.game.client_id, client_secret=new.secret, now=NOW)
    with pytest.raises(clients.SecretNotInUse):
        clients.disable_secret(secret=old, now=NOW + timedelta(hours=1))
    old.refresh_from_db()
    assert old.disabled_at == NOW


def test_rotated_secret_serves_until_its_end_and_the_new_one_at_once():
    new = clients.create_game(name="Carrom", now=NOW)
    end = NOW + timedelta(days=1)

    fresh = clients.rotate_secret(game=new.game, old_ends_at=end, now=NOW)

    def opens(secret: str, now: datetime) -> bool:
        try:
            clients.authenticate(client_id=new.game.client_id, client_secret=secret, now=now)
        except clients.ClientRefused:
            return False
        return True

    just_before = end - timedelta(seconds=1)
    assert [opens(secret, just_before) for secret in (new.secret, fresh)] == [True, True]
    assert [opens(secret, end) for secret in (new.secret, fresh)] == [False, True]


def test_rotation_needs_exactly_one_secret_in_use():
    new = clients.create_game(name="Carrom", now=NOW)
    end = NOW + timedelta(days=1)
    clients.rotate_secret(game=new.game, old_ends_at=end, now=NOW)

    with pytest.raises(clients.TooManySecrets):
        clients.rotate_secret(game=new.game, old_ends_at=end, now=NOW)
    assert new.game.secrets.count() == 2
    clients.rotate_secret(game=new.game, old_ends_at=end, now=end)
    new.game.secrets.update(disabled_at=NOW)
    with pytest.raises(clients.NoSecretToRotate):
        clients.rotate_secret(game=new.game, old_ends_at=end, now=NOW)
    assert new.game.secrets.count() == 3


def test_client_is_disabled_and_enabled_once():
    new = clients.create_game(name="Carrom", now=NOW)

    clients.disable_client(game=new.game)
    with pytest.raises(clients.ClientDisabled):
        clients.disable_client(game=new.game)
    with pytest.raises(clients.ClientRefused):
        clients.authenticate(client_id=new.game.client_id, client_secret=new.secret, now=NOW)

    clients.enable_client(game=new.game)
    with pytest.raises(clients.ClientNotDisabled):
        clients.enable_client(game=new.game)
    clients.authenticate(client_id=new.game.client_id, client_secret=new.secret, now=NOW)


@pytest.mark.parametrize(
    ("address", "is_let_in"),
    [
        ("203.0.113.7", True),
        ("203.0.114.7", False),
        ("2001:db8::7", True),
        ("2001:db9::7", False),
        ("198.51.100.1", True),
        (None, False),
    ],
)
def test_secret_opens_nothing_from_outside_its_networks(
    address, is_let_in, django_assert_num_queries
):
    game = GameFactory(allowed_networks="203.0.113.0/24\n2001:db8::/32\n198.51.100.1/32")
    shown = {"client_id": game.client_id, "client_secret": secret_of(game), "now": NOW}
    here = ip_address(address) if address else None

    with django_assert_num_queries(1):
        if is_let_in:
            assert clients.authenticate(**shown, address=here).game == game
        else:
            with pytest.raises(clients.ClientRefused):
                clients.authenticate(**shown, address=here)


def test_secret_of_another_client_opens_nothing():
    one, other = GameFactory(), GameFactory()

    with pytest.raises(clients.ClientRefused):
        clients.authenticate(client_id=one.client_id, client_secret=secret_of(other), now=NOW)


def test_use_is_noted_once_an_hour(django_assert_num_queries):
    secret = GameSecret.objects.get(game=clients.create_game(name="Carrom", now=NOW).game)

    clients.note_use(secret=secret, now=NOW)
    secret.refresh_from_db()
    with django_assert_num_queries(0):
        clients.note_use(secret=secret, now=NOW + timedelta(minutes=59))
    clients.note_use(secret=secret, now=NOW + timedelta(minutes=61))

    secret.refresh_from_db()
    assert secret.last_used_at == NOW + timedelta(minutes=61)


def test_create_client_prints_id_and_secret_on_its_last_line(capsys):
    call_command("create_client", "--name", "Carrom")

    client_id, secret = capsys.readouterr().out.splitlines()[-1].split(" ")
    game = Game.objects.get()
    assert clients.authenticate(client_id=client_id, client_secret=secret, now=NOW).game == game
    assert (game.name, game.is_sandbox, game.min_withdrawal) == ("Carrom", False, 1000)


def test_create_client_takes_the_limits(capsys):
    call_command(
        "create_client",
        *("--name", "Carrom", "--min-withdraw", "10", "--rate", "5000", "--gamer-rate", "500"),
        "--sandbox",
    )

    game = Game.objects.get()
    assert (game.min_withdrawal, game.rate_limit, game.gamer_event_rate) == (10, 5000, 500)
    assert game.is_sandbox


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"--name": ""}, "1 to 100 printable"),
        ({"--name": "x" * 101}, "1 to 100 printable"),
        ({"--rate": "0"}, "out of range"),
        ({"--rate": "1000001"}, "out of range"),
        ({"--gamer-rate": "0"}, "out of range"),
        ({"--min-withdraw": "-1"}, "expected one argument|no whole number"),
        ({"--min-withdraw": str(2**53)}, "out of range"),
    ],
)
def test_create_client_says_what_is_wrong(changed, complaint):
    options = {"--name": "Carrom"} | changed

    with pytest.raises(CommandError, match=complaint):
        call_command("create_client", *(word for pair in options.items() for word in pair))

    assert not Game.objects.exists()


@pytest.mark.parametrize("is_sandbox", [True, False])
def test_game_is_a_sandbox_or_real_for_ever(is_sandbox):
    game = GameFactory.create(is_sandbox=is_sandbox)

    with pytest.raises(IntegrityError, match="for ever"), transaction.atomic():
        Game.objects.filter(pk=game.pk).update(is_sandbox=not is_sandbox)

    game.refresh_from_db()
    assert game.is_sandbox == is_sandbox
