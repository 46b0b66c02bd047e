"""The clients of the API: one per game, with secrets that are shown once and kept as hashes."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest

from django.db import transaction
from django.db.models import Q
from django.utils.text import slugify

from accounts.models import Game, GameSecret
from kgen.common.errors import Conflict, Unauthenticated

# Two at a time: the new one is handed out while the old one still serves.
MOST_SECRETS = 2
# How exactly the console can tell when a secret was last used.
_LAST_USED_EXACTNESS = timedelta(hours=1)


class ClientRefused(Unauthenticated):
    """Missing, unknown or wrong client headers, or a disabled client (contract 0)."""

    message = "The client headers are missing or not valid."

    def __init__(self) -> None:
        super().__init__(details={"reason": "CLIENT_CREDENTIALS"})


class TooManySecrets(Conflict):
    code = "TOO_MANY_SECRETS"
    message = "Two secrets are in use; disable one first."


@dataclass(frozen=True, slots=True)
class NewClient:
    """A game with its first secret, which nobody can read again."""

    game: Game
    secret: str


def create_game(
    *,
    name: str,
    now: datetime,
    game_uid: str | None = None,
    min_withdrawal: int | None = None,
    rate_limit: int | None = None,
    gamer_event_rate: int | None = None,
    rake_percent: int | None = None,
    is_sandbox: bool = False,
) -> NewClient:
    """Make a game and its client; what is left out is the platform's usual."""
    client_id = f"kgen_{secrets.token_hex(12)}"
    settings = {
        "min_withdrawal": min_withdrawal,
        "rate_limit": rate_limit,
        "gamer_event_rate": gamer_event_rate,
        "rake_percent": rake_percent,
    }
    with transaction.atomic():
        game = Game.objects.create(
            client_id=client_id,
            name=name,
            game_uid=game_uid or f"{slugify(name)[:50] or 'game'}-{client_id[-6:]}",
            is_sandbox=is_sandbox,
            created_at=now,
            **{field: value for field, value in settings.items() if value is not None},
        )
        secret = add_secret(game=game, now=now)
    return NewClient(game=game, secret=secret)


def add_secret(*, game: Game, now: datetime) -> str:
    """Give a client one more secret and return it; only its hash is kept.

    Raises `TooManySecrets`.
    """
    with transaction.atomic():
        Game.objects.select_for_update(no_key=True).get(pk=game.pk)
        if game.secrets.filter(disabled_at=None).count() >= MOST_SECRETS:
            raise TooManySecrets
        secret = secrets.token_urlsafe(32)
        GameSecret.objects.create(game=game, secret_hash=hash_of(secret), created_at=now)
    return secret


def authenticate(*, client_id: str, client_secret: str) -> GameSecret:
    """The secret that was shown, with its game. One query.

    Raises `ClientRefused`.
    """
    if not client_id or not client_secret or not client_id.isascii() or "\x00" in client_id:
        raise ClientRefused
    shown = hash_of(client_secret)
    # No secret is looked up by its hash: each candidate is compared, in the same time.
    valid = [
        secret
        for secret in GameSecret.objects.select_related("game").filter(
            game__client_id=client_id, game__is_active=True, disabled_at=None
        )
        if compare_digest(secret.secret_hash, shown)
    ]
    if not valid:
        raise ClientRefused
    return valid[0]


def note_use(*, secret: GameSecret, now: datetime) -> None:
    """Remember that a secret is in use, to the hour: a request is no reason to write."""
    stale = now - _LAST_USED_EXACTNESS
    if secret.last_used_at is None or secret.last_used_at < stale:
        GameSecret.objects.filter(
            Q(last_used_at=None) | Q(last_used_at__lt=stale), pk=secret.pk
        ).update(last_used_at=now)


def hash_of(secret: str) -> str:
    """What is kept of a secret or a token: at 256 random bits a fast hash is enough."""
    return sha256(secret.encode()).hexdigest()
