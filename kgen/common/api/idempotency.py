"""Idempotency-Key: the first good answer to a POST is kept and given again (contract 0).

The kept answer commits together with the effect that it speaks of. While a call runs, its key is
held by an advisory lock of its transaction, which dies with the connection.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from django.conf import settings
from django.db import connection

from kgen.common.api.exceptions import InvalidRequest
from kgen.common.errors import Conflict
from kgen.common.models import KeptAnswer
from kgen.common.transactions import requires_transaction

_KEY = re.compile(r"[\x20-\x7e]{1,64}")


class KeyReused(Conflict):
    code = "IDEMPOTENCY_KEY_REUSED"
    message = "This Idempotency-Key was used with another body."


class RequestInProgress(Conflict):
    code = "REQUEST_IN_PROGRESS"
    message = "The first call with this Idempotency-Key is still running."


@dataclass(frozen=True, slots=True)
class Request:
    """One keyed call: `scope` says who asked what, `body_hash` with which body."""

    scope: str
    body_hash: str


def keyed_request(*, client: str, gamer: str, path: str, key: str, body: bytes) -> Request:
    """The identity of a call; the same key of another client, gamer or path is another key.

    Raises `InvalidRequest` for a key that is not 1 to 64 printable ASCII characters.
    """
    if not _KEY.fullmatch(key):
        raise InvalidRequest({"Idempotency-Key": "Give 1 to 64 printable ASCII characters."})
    scope = "\n".join((client, gamer, path, key))
    return Request(scope=sha256(scope.encode()).hexdigest(), body_hash=sha256(body).hexdigest())


@requires_transaction
def first_answer(*, request: Request, now: datetime) -> KeptAnswer | None:
    """Hold the key until the transaction ends and return the answer kept under it, if any.

    Raises `RequestInProgress`, or `KeyReused` for another body.
    """
    number = int.from_bytes(bytes.fromhex(request.scope)[:8], signed=True)
    # Two statements: only one begun after the lock was given sees what its last holder committed.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        held: tuple[bool] = cursor.fetchone()
    if not held[0]:
        raise RequestInProgress(retry_after=timedelta(seconds=1))
    kept = KeptAnswer.objects.filter(
        scope=request.scope, created_at__gt=now - settings.IDEMPOTENCY_KEY_LIFE
    ).first()
    if kept is not None and kept.request_hash != request.body_hash:
        raise KeyReused
    return kept


@requires_transaction
def keep(*, request: Request, status: int, body: bytes, now: datetime) -> None:
    """Keep an answer, in the transaction of its effect."""
    answer = KeptAnswer(
        scope=request.scope,
        request_hash=request.body_hash,
        status=status,
        body=body,
        created_at=now,
    )
    KeptAnswer.objects.bulk_create(
        [answer],
        update_conflicts=True,  # an answer older than its life makes room
        unique_fields=["scope"],
        update_fields=["request_hash", "status", "body", "created_at"],
    )


def forget(request: Request) -> None:
    """Drop an answer that turned out not to be true, so that the call can be made again."""
    KeptAnswer.objects.filter(scope=request.scope).delete()


def forget_expired(*, now: datetime) -> int:
    """Drop every answer older than its life; return how many there were."""
    expired = KeptAnswer.objects.filter(created_at__lte=now - settings.IDEMPOTENCY_KEY_LIFE)
    dropped, _ = expired.delete()
    return dropped
