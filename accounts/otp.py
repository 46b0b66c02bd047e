"""One-time passwords by SMS: a gamer proves that a phone is theirs (contract 3.9 and 3.10).

Everything that limits sends and guesses is counted in rows under locks, never in a cache: parallel
calls see each other's counts, and a restart forgives nothing.
"""

import hmac
import logging
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from accounts import sms
from accounts.models import Gamer, OtpRequest, OtpSwitch, PhoneVerification
from accounts.phones import Phone
from kgen.common.errors import Conflict, Invalid, NotFound, TooMany, Unavailable
from kgen.common.transactions import requires_transaction

logger = logging.getLogger(__name__)

# Of a sandbox's numbers for tests alone.
SANDBOX_CODE: Final = "000000"

_PURPOSE = "link-wallet"
_WHILE_STOPPED = timedelta(seconds=60)
# Twice as often as it is asked for.
_TOLD_WITHIN: Final = timedelta(minutes=2)
# Names the advisory lock under which sends are counted, one at a time over all processes.
_COUNTING_SENDS = 0x4F5450


class AlreadyLinked(Conflict):
    code = "KGEN_WALLET_ALREADY_LINKED"
    message = "This gamer is linked to another phone."


class ResendTooSoon(TooMany):
    code = "OTP_RESEND_TOO_SOON"
    message = "An OTP was sent to this phone a moment ago."

    def __init__(self, wait: timedelta) -> None:
        super().__init__(details={"retry_after_s": ceil(wait.total_seconds())}, retry_after=wait)


class RequestLimitReached(TooMany):
    code = "OTP_REQUEST_LIMIT"
    message = "Too many OTPs were asked for."


class DeliveryFailed(Unavailable):
    code = "OTP_DELIVERY_FAILED"
    message = "The SMS could not be sent. Ask again."


class SendingStopped(Unavailable):
    """Staff have pulled the switch: nobody gets an OTP for now."""

    message = "No OTPs are sent just now. Try again later."


class OtpNotFound(NotFound):
    code = "OTP_NOT_FOUND"
    message = "There is no open OTP request for this phone and authCode."


class OtpExpired(Invalid):
    code = "OTP_EXPIRED"
    message = "This OTP is too old. Ask for a new one."


class OtpInvalid(Invalid):
    code = "OTP_INVALID"
    message = "This is not the OTP that was sent."

    def __init__(self, attempts_left: int) -> None:
        super().__init__(details={"attempts_left": attempts_left})


class TooManyAttempts(TooMany):
    code = "OTP_TOO_MANY_ATTEMPTS"
    message = "Too many wrong tries. Ask for a new OTP."


@dataclass(frozen=True, slots=True)
class Issued:
    """A new OTP that still has to be sent: `request` is kept, `code` is known here alone."""

    request: OtpRequest
    phone: Phone
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Limit:
    """At most so many sends, of those that `which` finds, within any `window`."""

    which: Q
    most: int
    window: timedelta


def issue(*, gamer: Gamer, phone: Phone, now: datetime) -> Issued:
    """Make an OTP for a gamer's phone; the older one of this gamer and phone is void from now on.

    The caller sends it with `deliver` once this is committed. A sandbox's number for tests gets the
    code that everybody knows, and nothing is sent. Raises `AlreadyLinked`, `SendingStopped`,
    `ResendTooSoon` or `RequestLimitReached`.
    """
    if gamer.kgen_account is not None and gamer.kgen_account.phone != phone.e164:
        raise AlreadyLinked
    auth_code = str(10**14 + secrets.randbelow(9 * 10**14))
    is_free = gamer.game.is_sandbox and phone.is_for_tests
    code = SANDBOX_CODE if is_free else f"{secrets.randbelow(10**6):06d}"
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_COUNTING_SENDS])
        if not is_free and OtpSwitch.objects.filter(is_pulled=True).exists():
            raise SendingStopped(retry_after=_WHILE_STOPPED)
        verification, _ = PhoneVerification.objects.select_for_update(no_key=True).get_or_create(
            gamer=gamer, phone_hash=phone.phone_hash
        )
        wait = verification.wait_before_resend(now)
        if wait > timedelta(0) and not _was_lost(verification, now=now):
            raise ResendTooSoon(wait)
        limits = _limits(gamer=gamer, phone=phone, is_free=is_free)
        if (wait := _wait_for_limits(limits, now=now)) > timedelta(0):
            raise RequestLimitReached(retry_after=wait)

        request = OtpRequest.objects.create(
            verification=verification,
            auth_code=auth_code,
            code_hash=_hash_of(phone=phone.e164, auth_code=auth_code, code=code),
            created_at=now,
            expires_at=now + settings.OTP_LIFE,
            game_id=gamer.game_id,
            gamer=gamer,
            phone=phone.e164,
            prefix_hash=phone.prefix_hash,
            country=phone.country,
            is_free=is_free,
            sent_at=now if is_free else None,
        )
        verification.last_generated_timestamp = now
        verification.save(update_fields=["last_generated_timestamp"])
    return Issued(request=request, phone=phone, code=code)


def deliver(*, issued: Issued, now: datetime) -> None:
    """Send an OTP.

    Raises `DeliveryFailed`; then no wait counts this one, and no limit either unless it may have
    been sent all the same.
    """
    request = issued.request
    if request.is_free:
        return
    message = sms.Message(
        phone=issued.phone.e164,
        code=issued.code,
        minutes=settings.OTP_LIFE // timedelta(minutes=1),
    )
    try:
        sms.gateway_for(issued.phone.country).send(message)
    except sms.SmsRefused as refusal:
        logger.warning("OTP request %s was not delivered: %s", request.pk, refusal)
        with transaction.atomic():
            verification = PhoneVerification.objects.select_for_update(no_key=True).get(
                pk=request.verification_id
            )
            if not isinstance(refusal, sms.SmsInDoubt):
                OtpRequest.objects.filter(pk=request.pk).update(undelivered_at=now)
            if verification.last_generated_timestamp == request.created_at:
                verification.cooldown_reset()
        raise DeliveryFailed(retry_after=timedelta(seconds=1)) from refusal
    OtpRequest.objects.filter(pk=request.pk).update(sent_at=now)


def check(*, gamer: Gamer, phone: Phone, auth_code: str, code: str, now: datetime) -> None:
    """Count a try, then compare. A right code is left open for `use`.

    The count is committed before anything is refused, so that parallel guesses are all counted.
    Raises `OtpNotFound` (no try), `OtpExpired`, `TooManyAttempts` or `OtpInvalid`.
    """
    with transaction.atomic():
        request = _open_request(gamer=gamer, phone=phone, auth_code=auth_code)
        if request.expires_at <= now:
            raise OtpExpired
        if request.attempts >= settings.OTP_TRIES:
            raise TooManyAttempts
        request.attempts += 1
        request.save(update_fields=["attempts"])
    shown = _hash_of(phone=phone.e164, auth_code=auth_code, code=code)
    if not hmac.compare_digest(shown, request.code_hash):
        raise OtpInvalid(attempts_left=settings.OTP_TRIES - request.attempts)


@requires_transaction
def use(*, gamer: Gamer, phone: Phone, auth_code: str, now: datetime) -> None:
    """Use up an OTP that was found right, together with what it is used for.

    Raises `OtpNotFound` where a parallel call used it first.
    """
    request = _open_request(gamer=gamer, phone=phone, auth_code=auth_code)
    request.used_at = now
    request.save(update_fields=["used_at"])


def tell_gateways(*, now: datetime) -> int:
    """Tell the gateways that want to know it which codes were used of late; return how many.

    A code may be told twice, or never: nothing of ours hangs on it.
    """
    used = OtpRequest.objects.filter(
        created_at__gt=now - settings.OTP_LIFE - _TOLD_WITHIN,
        used_at__gt=now - _TOLD_WITHIN,
        is_free=False,
    )
    told = 0
    for request in used:
        gateway = sms.gateway_for(request.country)
        if not isinstance(gateway, sms.CountsUses):
            continue
        try:
            gateway.code_was_used(request.phone)
        except sms.SmsRefused as refusal:
            logger.warning("The use of OTP request %s was not told: %s", request.pk, refusal)
        else:
            told += 1
    return told


def _open_request(*, gamer: Gamer, phone: Phone, auth_code: str) -> OtpRequest:
    """The newest request of this gamer and phone, if it is this one and can still be used."""
    verification = (
        PhoneVerification.objects.select_for_update(no_key=True)
        .filter(gamer=gamer, phone_hash=phone.phone_hash)
        .first()
    )
    if verification is None:
        raise OtpNotFound
    request = verification.requests.order_by("-id").first()
    if (
        request is None
        or not hmac.compare_digest(request.auth_code.encode(), auth_code.encode())
        or request.used_at is not None
        or request.undelivered_at is not None
    ):
        raise OtpNotFound
    return request


def _was_lost(verification: PhoneVerification, *, now: datetime) -> bool:
    """Whether the newest request was made by a process that died before it could send it.

    Whether it was sent cannot be known: limits count it all the same.
    """
    newest = verification.requests.order_by("-id").first()
    return (
        newest is not None
        and newest.sent_at is None
        and newest.created_at <= now - settings.OTP_DELIVERY_PATIENCE
    )


def _wait_for_limits(limits: Iterable[_Limit], *, now: datetime) -> timedelta:
    """How long until every limit leaves room for one more send; nothing if they do now."""
    waits = []
    for limit in limits:
        # With the limit's last place taken, there is room again once that send leaves the window.
        last_place = (
            OtpRequest.objects.filter(
                limit.which, created_at__gt=now - limit.window, undelivered_at=None
            )
            .order_by("-created_at")
            .values_list("created_at", flat=True)[limit.most - 1 : limit.most]
        )
        waits += [sent_at + limit.window - now for sent_at in last_place]
    return max(waits, default=timedelta(0))


def _limits(*, gamer: Gamer, phone: Phone, is_free: bool) -> Iterator[_Limit]:
    hour, day = timedelta(hours=1), timedelta(days=1)
    yield _Limit(Q(phone_hash=phone.phone_hash), settings.OTP_SENDS_PER_PHONE_AND_HOUR, hour)
    yield _Limit(Q(gamer=gamer), settings.OTP_SENDS_PER_GAMER_AND_DAY, day)
    if is_free:
        return
    yield _Limit(
        Q(prefix_hash=phone.prefix_hash, is_free=False),
        settings.OTP_SENDS_PER_PREFIX_AND_10_MINUTES,
        timedelta(minutes=10),
    )
    paid_by_game = Q(game_id=gamer.game_id, is_free=False)
    yield _Limit(paid_by_game, settings.OTP_DAILY_BUDGET_PER_GAME, day)
    yield _Limit(Q(is_free=False), settings.OTP_DAILY_BUDGET, day)


def _hash_of(*, phone: str, auth_code: str, code: str) -> str:
    message = f"{_PURPOSE}:{phone}:{auth_code}:{code}"
    return hmac.new(settings.OTP_SECRET.encode(), message.encode(), "sha256").hexdigest()
