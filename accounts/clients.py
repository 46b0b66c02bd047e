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
from kgen.common import networks
from kgen.common.client_address import Address
from kgen.common.errors import Conflict, Unauthenticated

# Two at a time: the new one is handed out while the old one still serves.
MOST_SECRETS = 2
# How exactly the console can tell when a secret was last used.
_LAST_USED_EXACTNESS = timedelta(hours=1)


class ClientRefused(Unauthenticated):
    """Missing, unknown or wrong client headers, a disabled client, or a secret that is shown from
    elsewhere than its game's networks (contract 0)."""

    message = "The client headers are missing or not valid."

    def __init__(self) -> None:
        super().__init__(details={"reason": "CLIENT_CREDENTIALS"})


class TooManySecrets(Conflict):
    code = "TOO_MANY_SECRETS"
    message = "Two secrets are in use; disable one first."


class SecretNotInUse(Conflict):
    code = "SECRET_NOT_IN_USE"
    message = "That secret has ended already."


class NoSecretToRotate(Conflict):
    code = "NO_SECRET_TO_ROTATE"
    message = "No secret is in use; add one."


class ClientDisabled(Conflict):
    code = "CLIENT_DISABLED"
    message = "The client is disabled already."


class ClientNotDisabled(Conflict):
    code = "CLIENT_NOT_DISABLED"
    message = "The client is not disabled."


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
        _lock(game)
        if game.secrets.valid_at(now).count() >= MOST_SECRETS:
            raise TooManySecrets
        return _new_secret(game, now=now)


def rotate_secret(*, game: Game, old_ends_at: datetime, now: datetime) -> str:
    """Give a client a new secret and return it; the one in use ends by itself at `old_ends_at`.

    Raises `NoSecretToRotate` or `TooManySecrets`.
    """
    with transaction.atomic():
        _lock(game)
        in_use = list(game.secrets.valid_at(now))
        if not in_use:
            raise NoSecretToRotate
        if len(in_use) >= MOST_SECRETS:
            raise TooManySecrets
        game.secrets.filter(pk=in_use[0].pk).update(disabled_at=old_ends_at)
        return _new_secret(game, now=now)


def disable_secret(*, secret: GameSecret, now: datetime) -> None:
    """End a secret at the next request, for good.

    Raises `SecretNotInUse`.
    """
    ended = GameSecret.objects.valid_at(now).filter(pk=secret.pk).update(disabled_at=now)
    if not ended:
        raise SecretNotInUse


def disable_client(*, game: Game) -> None:
    """Refuse every call of this game's client from the next request on, sessions and all.

    Raises `ClientDisabled`.
    """
    if not Game.objects.filter(pk=game.pk, is_active=True).update(is_active=False):
        raise ClientDisabled


def enable_client(*, game: Game) -> None:
    """Take the client's calls again; sessions that have not run out go on.

    Raises `ClientNotDisabled`.
    """
    if not Game.objects.filter(pk=game.pk, is_active=False).update(is_active=True):
        raise ClientNotDisabled


def authenticate(
    *, client_id: str, client_secret: str, now: datetime, address: Address | None = None
) -> GameSecret:
    """The secret that was shown, with its game; `address` is where from. One query.

    Raises `ClientRefused`.
    """
    if not _may_be_an_id(client_id) or not client_secret:
        raise ClientRefused
    shown = hash_of(client_secret)
    # No secret is looked up by its hash: each candidate is compared, in the same time.
    valid = [
        secret
        for secret in GameSecret.objects.valid_at(now)
        .select_related("game")
        .filter(game__client_id=client_id, game__is_active=True)
        if compare_digest(secret.secret_hash, shown)
    ]
    if not valid:
        raise ClientRefused
    allowed = valid[0].game.allowed_networks
    if allowed and not networks.contain(allowed, address):
        raise ClientRefused
    return valid[0]


def of_device(*, client_id: str) -> Game:
    """The game that a device names without a secret; its networks are of servers alone. One query.

    Says nothing of the caller: only a gamer's token does. Raises `ClientRefused`.
    """
    game = None
    if _may_be_an_id(client_id):
        game = Game.objects.filter(
            client_id=client_id, is_active=True, takes_device_calls=True
        ).first()
    if game is None:
        raise ClientRefused
    return game


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


def _may_be_an_id(client_id: str) -> bool:
    return bool(client_id) and client_id.isascii() and "\x00" not in client_id


def _lock(game: Game) -> None:
    Game.objects.select_for_update(no_key=True).get(pk=game.pk)


def _new_secret(game: Game, *, now: datetime) -> str:
    secret = secrets.token_urlsafe(32)
    GameSecret.objects.create(game=game, secret_hash=hash_of(secret), created_at=now)
    return secret
