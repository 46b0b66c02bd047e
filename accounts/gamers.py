"""What support decides of a gamer as one game knows them."""

from accounts.models import Gamer
from kgen.common.errors import Conflict


class AlreadyBlocked(Conflict):
    code = "GAMER_ALREADY_BLOCKED"
    message = "This gamer is blocked already."


class NotBlocked(Conflict):
    code = "GAMER_NOT_BLOCKED"
    message = "This gamer is not blocked."


def block(*, gamer: Gamer) -> None:
    """Refuse the gamer everywhere in this game from the next request on (contract 0).

    Raises `AlreadyBlocked`.
    """
    if not Gamer.objects.filter(pk=gamer.pk, is_blocked=False).update(is_blocked=True):
        raise AlreadyBlocked


def unblock(*, gamer: Gamer) -> None:
    """Let the gamer play again at once.

    Raises `NotBlocked`, also of an erased one, who stays blocked for ever.
    """
    blocked = Gamer.objects.filter(pk=gamer.pk, is_blocked=True, erased_at=None)
    if not blocked.update(is_blocked=False):
        raise NotBlocked
