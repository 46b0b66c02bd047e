"""Sessions: opened by the game's server for a gamer, carried by opaque tokens (contract 0, 3.1)."""

import base64
import re
import secrets
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.clients import ClientRefused, hash_of
from accounts.models import Game, Gamer, Session, SessionToken
from kgen.common.errors import Conflict, Forbidden, Unauthenticated
from kgen.common.transactions import requires_transaction

# Until then a token that ran out is told apart from one that never was.
EXPIRED_TOKENS_ARE_KEPT = timedelta(days=7)

_RANDOM_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{48}", re.ASCII)


class TokenRefused(Unauthenticated):
    """The token does not open anything; `details.reason` says why (contract 0)."""

    message = "The session token is missing or not valid; open a session."
    reason = "TOKEN_INVALID"

    def __init__(self) -> None:
        super().__init__(details={"reason": self.reason})


class TokenMissing(TokenRefused):
    reason = "TOKEN_MISSING"


class TokenInvalid(TokenRefused):
    reason = "TOKEN_INVALID"


class TokenExpired(TokenRefused):
    reason = "TOKEN_EXPIRED"


class TokenClientMismatch(TokenRefused):
    reason = "TOKEN_CLIENT_MISMATCH"


class GamerBlocked(Forbidden):
    """An operator blocked this gamer, everywhere in this game (contract 0)."""

    code = "GAMER_BLOCKED"
    message = "This gamer is blocked."

    def __init__(self) -> None:
        super().__init__(details={"reason": "ACCOUNT"})


class SessionNotOpen(Conflict):
    code = "SESSION_NOT_OPEN"
    message = "That session has been ended already."


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session with the token that was just made for it; `is_new_gamer` the first time ever."""

    gamer: Gamer
    session: Session
    token: str
    is_new_gamer: bool


def refuse_blocked(*, game: Game, gamer_id: str) -> None:
    """Raises `GamerBlocked`; a gamer who is not known yet is not blocked."""
    if Gamer.objects.filter(game=game, gamer_id=gamer_id, is_blocked=True).exists():
        raise GamerBlocked


@requires_transaction
def open_session(
    *, game: Game, gamer_id: str, profile: Mapping[str, object], now: datetime
) -> OpenSession:
    """Find or make the gamer, keep the profile fields that were sent, and hand out a fresh token.

    While the last token of this gamer and device is unexpired its session goes on (contract 3.1).
    Raises `GamerBlocked`.
    """
    gamer, is_new = _gamer(game=game, gamer_id=gamer_id, profile=profile, now=now)
    device_id = str(profile.get("device_id", ""))
    session = None if is_new else _running_session(gamer=gamer, device_id=device_id, now=now)
    if session is None:
        session = Session.objects.create(
            gamer=gamer, device_id=device_id, started_at=now, ends_at=now + settings.SESSION_LIFE
        )
    token = new_token()
    SessionToken.objects.create(
        session=session,
        token_hash=hash_of(token),
        created_at=now,
        expires_at=min(now + settings.TOKEN_LIFE, session.ends_at),
    )
    return OpenSession(gamer=gamer, session=session, token=token, is_new_gamer=is_new)


def resume(*, game: Game, token: str, now: datetime) -> Session:
    """The session that a token belongs to, with its gamer. At most one query; none if garbled.

    Raises a `TokenRefused` or `GamerBlocked`.
    """
    if not token:
        raise TokenMissing
    if not is_well_formed(token):
        raise TokenInvalid
    found = (
        SessionToken.objects.select_related("session__gamer")
        .filter(token_hash=hash_of(token))
        .first()
    )
    if found is None:
        raise TokenInvalid
    session = found.session
    if session.gamer.game_id != game.pk:
        raise TokenClientMismatch
    _refuse_closed(found, now=now)
    session.gamer.game = game
    return session


def resume_all(
    *, token_hashes: Collection[str], now: datetime
) -> dict[str, Session | ClientRefused | TokenRefused | GamerBlocked]:
    """For each hash of a token its session, or why it opens none; the client is not asked for.

    One query, for those who hold many connections open and look after them.
    """
    answers: dict[str, Session | ClientRefused | TokenRefused | GamerBlocked]
    answers = {token_hash: TokenInvalid() for token_hash in token_hashes}
    known = SessionToken.objects.select_related("session__gamer__game")
    for found in known.filter(token_hash__in=token_hashes):
        answers[found.token_hash] = found.session
        try:
            if not found.session.gamer.game.is_active:
                raise ClientRefused
            _refuse_closed(found, now=now)
        except (ClientRefused, TokenRefused, GamerBlocked) as refusal:
            answers[found.token_hash] = refusal
    return answers


def revoke(*, gamer: Gamer, now: datetime) -> int:
    """End every session of a gamer at the next request; return how many were open."""
    return Session.objects.filter(gamer=gamer, revoked_at=None).update(revoked_at=now)


def revoke_one(*, session: Session, now: datetime) -> None:
    """End one session at the next request.

    Raises `SessionNotOpen`.
    """
    if not Session.objects.filter(pk=session.pk, revoked_at=None).update(revoked_at=now):
        raise SessionNotOpen


def revoke_all(*, game: Game, now: datetime) -> int:
    """End every session of a game that has not run out; return how many were open."""
    return Session.objects.filter(gamer__game=game, revoked_at=None, ends_at__gt=now).update(
        revoked_at=now
    )


def forget_expired_tokens(*, now: datetime) -> int:
    """Drop the hashes of tokens that ran out 7 days ago; return how many there were."""
    old = SessionToken.objects.filter(expires_at__lte=now - EXPIRED_TOKENS_ARE_KEPT)
    dropped, _ = old.delete()
    return dropped


def new_token() -> str:
    """48 URL-safe characters: 32 random bytes and a checksum, by which a garbled token is refused
    without asking the database."""
    random = secrets.token_bytes(_RANDOM_BYTES)
    return base64.urlsafe_b64encode(random + _checksum(random)).decode()


def is_well_formed(token: str) -> bool:
    """Whether length, alphabet and checksum are those of a token of ours."""
    if not _TOKEN.fullmatch(token):
        return False
    raw = base64.urlsafe_b64decode(token)
    return _checksum(raw[:_RANDOM_BYTES]) == raw[_RANDOM_BYTES:]


def _refuse_closed(token: SessionToken, *, now: datetime) -> None:
    session = token.session
    if session.revoked_at is not None:
        raise TokenInvalid
    if token.expires_at <= now:
        raise TokenExpired
    if session.gamer.is_blocked:
        raise GamerBlocked


def _checksum(random: bytes) -> bytes:
    return zlib.crc32(random).to_bytes(4)


def _gamer(
    *, game: Game, gamer_id: str, profile: Mapping[str, object], now: datetime
) -> tuple[Gamer, bool]:
    # The row is locked, so that of two first calls the second finds everything the first one made.
    known = (
        Gamer.objects.select_for_update(of=("self",), no_key=True)
        .select_related("kgen_account")
        .filter(game=game, gamer_id=gamer_id)
    )
    gamer = known.first()
    if gamer is None:
        try:
            with transaction.atomic():
                gamer = Gamer.objects.create(
                    game=game, gamer_id=gamer_id, created_at=now, **profile
                )
        except IntegrityError:
            gamer = known.get()
        else:
            return gamer, True
    gamer.game = game
    if gamer.is_blocked:
        raise GamerBlocked
    changed = [field for field, value in profile.items() if getattr(gamer, field) != value]
    if changed:
        for field in changed:
            setattr(gamer, field, profile[field])
        gamer.save(update_fields=[*changed, *(["email_hash"] if "email" in changed else [])])
    return gamer, False


def _running_session(*, gamer: Gamer, device_id: str, now: datetime) -> Session | None:
    last = (
        SessionToken.objects.select_related("session")
        .filter(session__gamer=gamer, session__device_id=device_id)
        .order_by("-session_id", "-id")
        .first()
    )
    if last is None or last.expires_at <= now or last.session.revoked_at is not None:
        return None
    return last.session
