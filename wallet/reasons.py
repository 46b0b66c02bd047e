"""Why staff did something: kept beside what they did."""

from typing import Final

from kgen.common.errors import Invalid

LONGEST: Final = 500


class NoReason(Invalid):
    code = "REASON_MISSING"
    message = "Say why, in at most 500 characters."


def checked(reason: str) -> str:
    """The reason without spaces around it. Raises NoReason."""
    reason = reason.strip()
    if not 0 < len(reason) <= LONGEST:
        raise NoReason
    return reason
