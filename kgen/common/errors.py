"""Refusals: what the rules say no to, by kind.

A subject module derives its own refusals from these and gives each the code and the sentence of the
API contract. Nothing here knows HTTP: `kgen.common.api.exceptions` turns a kind into a status.
"""

from datetime import timedelta
from typing import ClassVar


class Refusal(Exception):
    """Something that the rules refuse; the caller may mend it, and nothing was changed."""

    code: ClassVar[str]
    message: ClassVar[str]

    def __init__(
        self,
        message: str | None = None,
        *,
        details: dict[str, object] | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message or self.message)
        self.details = details or {}
        self.retry_after = retry_after


class Invalid(Refusal):
    """The request itself is wrong, or the state forbids it for now."""

    code = "BAD_REQUEST"
    message = "The request is not valid."


class Unauthenticated(Refusal):
    """The caller did not prove who it is."""

    code = "UN_AUTHORIZED"
    message = "The credentials are missing or not valid."


class Forbidden(Refusal):
    """The caller is known and may not do this."""


class NotFound(Refusal):
    """No such thing for this caller; other callers' things count as absent."""

    code = "NOT_FOUND"
    message = "There is nothing at this address."


class Conflict(Refusal):
    """Somebody was first, or the thing is already in the state asked for."""


class Unprocessable(Refusal):
    """Understood, but it could not be carried out; a retry is safe."""


class TooMany(Refusal):
    """A limit is used up; `retry_after` says when to come back."""


class Unavailable(Refusal):
    """A part behind us did not answer; nothing was changed."""

    code = "SERVICE_UNAVAILABLE"
    message = "The service is not available just now. Nothing was changed."
