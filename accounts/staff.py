"""The people who work with the console: how they sign in, and who lets them."""

import secrets
from base64 import b32encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest
from django_otp.models import Device

from kgen.common import audit
from kgen.common.errors import Refusal
from kgen.common.models import Authenticator, BackupCode, BackupCodes, StaffAct
from kgen.common.transactions import requires_transaction

# So many wrong codes of one person in so long a time; whoever gives one knew the password.
MOST_WRONG_CODES: Final = (
    (5, timedelta(minutes=5)),
    (20, timedelta(hours=1)),
    (50, timedelta(days=1)),
)
WRONG_CODE: Final = "wrong_code"

# In a session: when it began, and when it was last used, in Unix seconds.
BEGAN: Final = "began_at"
USED: Final = "used_at"

SEED_BYTES: Final = 20
BACKUP_CODES: Final = 10
# Fifty bits each, without letters that look alike.
CODE_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz234567"
CODE_LENGTH: Final = 11


class TooManyWrongCodes(Refusal):
    def __init__(self) -> None:
        super().__init__("Too many wrong codes. Wait, or ask an Admin for backup codes.")


@dataclass(frozen=True)
class Seed:
    """What an authenticator app is set up with."""

    base32: str
    uri: str


def check_code(*, user: User, code: str, request: HttpRequest, now: datetime) -> Device | None:
    """The device that `code` is of, which is used up by it; None, and written down, of a wrong one.

    Raises `TooManyWrongCodes`, and then looks at no code at all.
    """
    with transaction.atomic():
        # One try at a time, or many at once would all be the first.
        User.objects.select_for_update().get(pk=user.pk)
        wrong = StaffAct.objects.filter(by=user, name=WRONG_CODE)
        if any(
            wrong.filter(at__gt=now - length).count() >= most for most, length in MOST_WRONG_CODES
        ):
            raise TooManyWrongCodes
        kind = Authenticator if len(code) == 6 and code.isdecimal() else BackupCodes
        device = kind.objects.select_for_update().filter(user=user, confirmed=True).first()
        if device is not None and device.verify_token(code):
            return device
        audit.record(name=WRONG_CODE, label="Gave a wrong code", by=user, request=request)
    return None


def state_of(user: User) -> dict[str, Any]:
    """What the history compares of one of the staff."""
    return {
        **audit.state_of(user),
        "roles": sorted(user.groups.values_list("name", flat=True)),
        "authenticator": Authenticator.objects.filter(user=user)
        .values_list("pk", flat=True)
        .first(),
        "backup_codes": list(
            BackupCode.objects.filter(backup_codes__user=user).values_list("pk", flat=True)
        ),
        "sessions": len(_sessions_of(user)),
    }


@requires_transaction
def set_roles(*, user: User, roles: Collection[Group]) -> None:
    user.groups.set(roles)


@requires_transaction
def set_active(*, user: User, is_active: bool) -> None:
    """Whoever is switched off is signed out with it."""
    User.objects.filter(pk=user.pk).update(is_active=is_active)
    if not is_active:
        end_sessions(user=user)


@requires_transaction
def hand_out_password(*, user: User) -> str:
    """A new password, at which every session of the old one ends."""
    password = secrets.token_urlsafe(15)
    user.set_password(password)
    user.save(update_fields=["password"])
    end_sessions(user=user)
    return password


@requires_transaction
def make_authenticator(*, user: User) -> Seed:
    """A new authenticator in place of the one before, whose sessions end."""
    key = secrets.token_hex(SEED_BYTES)
    Authenticator.objects.filter(user=user).delete()
    Authenticator.objects.create(user=user, name="Authenticator app", key=key)
    end_sessions(user=user)
    return seed_of(user=user, key=key)


def seed_of(*, user: User, key: str) -> Seed:
    base32 = b32encode(bytes.fromhex(key)).decode()
    issuer = settings.OTP_TOTP_ISSUER
    label = quote(f"{issuer}:{user.get_username()}")
    query = urlencode({"secret": base32, "issuer": issuer})
    return Seed(base32=base32, uri=f"otpauth://totp/{label}?{query}")


@requires_transaction
def make_backup_codes(*, user: User) -> Sequence[str]:
    """New ones; those before work no more."""
    codes = [
        "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))
        for _ in range(BACKUP_CODES)
    ]
    device, _ = BackupCodes.objects.get_or_create(user=user, defaults={"name": "Backup codes"})
    device.codes.all().delete()
    BackupCode.objects.bulk_create(
        BackupCode(backup_codes=device, code_hash=device.hash_of(code)) for code in codes
    )
    return codes


@requires_transaction
def end_sessions(*, user: User) -> int:
    """Sign the user out everywhere, and tell of how many sessions."""
    open_ones = _sessions_of(user)
    Session.objects.filter(pk__in=open_ones).delete()
    return len(open_ones)


def _sessions_of(user: User) -> list[str]:
    """By looking into each: staff are few, and gamers have no session of this kind."""
    return [
        session.session_key
        for session in Session.objects.all()
        if SessionStore().decode(session.session_data).get(SESSION_KEY) == str(user.pk)
    ]
