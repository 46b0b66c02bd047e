"""Make what a demonstration needs, or find it as it was: two games, two of the staff, tournaments."""

import json
import os
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts import clients, staff
from accounts.models import Game
from kgen.common.admin import ADMINS, FINANCE, OPERATORS, SUPPORT, make_roles
from kgen.common.models import Authenticator
from tournaments import lifecycle
from tournaments.lifecycle import Schedule
from tournaments.models import Tournament

# How the environment's names begin, and what is made under them.
GAMES = {"CLIENT": "Carrom", "CLIENT2": "Ludo"}
STAFF = {"OPERATOR": OPERATORS, "SUPPORT": SUPPORT, "FINANCE": FINANCE, "ADMIN": ADMINS}

DAY = timedelta(days=1)
ENTRY_FEE = 10


class Command(BaseCommand):
    help = (
        "Makes two sandbox games, an operator, a supporter, one of finance and an Admin with their "
        "authenticators, and tournaments to look at. What it made before it keeps. A secret that the "
        "environment names (CLIENT_SECRET, OPERATOR_PASSWORD, ...) is printed again if it is right, "
        "else replaced. The last line is JSON."
    )

    # Run at each start of the platform, and checked with everything else by `make check`.
    requires_system_checks = []

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        make_roles()
        seeded: dict[str, str] = {}
        for prefix, name in GAMES.items():
            game, secret = demo_game(prefix, name, now=now)
            seeded[f"{prefix}_ID"] = game.client_id
            if secret is not None:
                seeded[f"{prefix}_SECRET"] = secret
            make_tournaments(game, name, now=now)
        for prefix, role in STAFF.items():
            seeded |= staff_member(prefix, role)
        self.stdout.write(json.dumps(seeded))


def demo_game(prefix: str, name: str, *, now: datetime) -> tuple[Game, str | None]:
    """A sandbox game and a secret that opens it: the environment's where it still does.

    None where the game was there and the environment names no secret: then nobody asked for one.
    """
    sandboxes = Game.objects.filter(is_sandbox=True)
    game = (
        sandboxes.filter(client_id=os.environ.get(f"{prefix}_ID", "")).first()
        or sandboxes.filter(game_uid=f"{name.lower()}-01").first()
    )
    if game is None:
        made = clients.create_game(
            name=f"Demo {name}",
            game_uid=f"{name.lower()}-01",
            is_sandbox=True,
            min_withdrawal=10,
            rate_limit=5_000,
            gamer_event_rate=500,
            now=now,
        )
        return made.game, made.secret

    secret = os.environ.get(f"{prefix}_SECRET")
    if secret is None:
        return game, None
    try:
        clients.authenticate(client_id=game.client_id, client_secret=secret, now=now)
    except clients.ClientRefused:
        in_use = game.secrets.valid_at(now).order_by("-id")
        for spare in in_use[clients.MOST_SECRETS - 1 :]:
            clients.disable_secret(secret=spare, now=now)
        secret = clients.add_secret(game=game, now=now)
    return game, secret


def staff_member(prefix: str, role: str) -> dict[str, str]:
    """One of the staff with password and authenticator: the environment's where they are right.

    What was there and the environment does not name stays, and is left out of the answer.
    """
    username = os.environ.get(f"{prefix}_USER") or prefix.lower()
    user, is_new = User.objects.get_or_create(username=username, defaults={"is_staff": True})
    if user.is_superuser:
        raise CommandError(f"{username} is a superuser: name another {prefix}_USER.")
    user.groups.add(Group.objects.get(name=role))

    handed = {f"{prefix}_USER": username}

    password = os.environ.get(f"{prefix}_PASSWORD")
    if is_new or password is not None:
        if not password or not user.check_password(password):
            password = secrets.token_urlsafe(12)
            user.set_password(password)
            user.save(update_fields=["password"])
        handed[f"{prefix}_PASSWORD"] = password

    totp_secret = os.environ.get(f"{prefix}_TOTP_SECRET")
    kept = Authenticator.objects.filter(user=user, confirmed=True).first()
    if totp_secret is not None or kept is None:
        if kept is None or totp_secret != staff.seed_of(user=user, key=kept.key).base32:
            totp_secret = staff.make_authenticator(user=user).base32
        handed[f"{prefix}_TOTP_SECRET"] = totp_secret
    return handed


def make_tournaments(game: Game, name: str, *, now: datetime) -> None:
    """One that runs now and one to come, unless there are."""
    published = Tournament.objects.filter(game=game, phase=Tournament.Phase.PUBLISHED)
    daily, cup = f"Daily {name}", f"{name} Cup"
    if not published.filter(title=daily, starts_at__lte=now, locks_at__gt=now).exists():
        _publish(game, daily, shown_at=now - timedelta(minutes=3), starts_at=now, now=now)
    if not published.filter(title=cup, starts_at__gt=now).exists():
        _publish(game, cup, shown_at=now, starts_at=now + DAY, now=now)


def _publish(
    game: Game, title: str, *, shown_at: datetime, starts_at: datetime, now: datetime
) -> None:
    tournament = lifecycle.create(
        game=game,
        title=title,
        entry_fee=ENTRY_FEE,
        schedule=Schedule(
            schedules_at=shown_at,
            lobby_at=starts_at - timedelta(minutes=1),
            starts_at=starts_at,
            locks_at=starts_at + DAY - timedelta(minutes=2),
            ends_at=starts_at + DAY,
        ),
        now=now,
    )
    lifecycle.publish(uid=tournament.uid, now=now)
