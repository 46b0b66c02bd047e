"""How one gets to the stream of a board: its address, and tickets for staff, who have no token."""

from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.core import signing

from accounts.sessions import TokenExpired, TokenInvalid
from kgen.common.errors import Unavailable
from tournaments.models import Tournament

_SALT = "tournaments.tickets"


class StreamOff(Unavailable):
    message = "Boards are not streamed here."


def stream_address(tournament: Tournament, *, token: str) -> str:
    """Where the board is sent as it changes, to whoever has the token or ticket.

    Refuses with StreamOff.
    """
    if not settings.STREAM_URL:
        raise StreamOff
    query = urlencode({"token": token})
    return f"{settings.STREAM_URL}/leaderboards/{tournament.uid}?{query}"


def issue(tournament: Tournament) -> str:
    """A ticket for a minute of one board, whatever its state."""
    return signing.TimestampSigner(salt=_SALT).sign(str(tournament.uid))


def is_ticket(text: str) -> bool:
    """Whether it is meant as one; a token has no colon."""
    return ":" in text


def check(ticket: str, *, uid: UUID) -> None:
    """Refuses with TokenInvalid and TokenExpired, as a token's look-up does."""
    signer = signing.TimestampSigner(salt=_SALT)
    try:
        named = signer.unsign(ticket, max_age=settings.STREAM_TICKET_LIFE)
    except signing.SignatureExpired:
        raise TokenExpired from None
    except signing.BadSignature:
        raise TokenInvalid from None
    if named != str(uid):
        raise TokenInvalid
