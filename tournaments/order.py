"""The one order of every board: as SQL sorts seats, and as bytes that sort the same way.

Highest score first (the lowest under LOW), then who reached it first, then who joined first, then
gamer_id; seats without a score come last (API contract, section 1).
"""

from struct import Struct
from typing import Final, NamedTuple

from tournaments.models import NO_SCORE_YET, Tournament

# Ascending and never null, so that one index and one row comparison serve the order;
# `participation_board` is that index.
_KEYS: Final = (
    "seat.standing_key",
    "coalesce(seat.reached_at, seat.joined_at)",
    "seat.joined_at",
    "seat.tiebreak",
)
ORDER: Final = ", ".join(_KEYS)
PLACE: Final = ", ".join(f"{key} AS place_{number}" for number, key in enumerate(_KEYS, start=1))


def _sortable(number: str) -> str:
    # Big-endian, with the sign turned round: negative numbers before positive ones.
    return f"int8send({number} # (-9223372036854775808))"


def _microseconds(instant: str) -> str:
    return f"(extract(epoch FROM {instant}) * 1000000)::bigint"


# The numbers have one width each. gamer_id, which has none, ends in a NUL, which it cannot hold and
# which is less than all that it can; behind it stands whose seat it is.
MEMBER: Final = " || ".join(
    (
        _sortable(_KEYS[0]),
        _sortable(_microseconds(_KEYS[1])),
        _sortable(_microseconds(_KEYS[2])),
        f"convert_to({_KEYS[3]}, 'UTF8')",
        "'\\x00'::bytea",
        "int8send(seat.gamer_id)",
    )
)

_NUMBERS: Final = Struct(">QQQ")
_OWNER: Final = Struct(">Q")
_ZERO: Final = 2**63


class Seat(NamedTuple):
    """What a member of the order says of itself; hundreds are made for a page."""

    gamer_pk: int
    gamer_id: str
    standing_key: int

    def score(self, sort: Tournament.Sort) -> int:
        """As the board shows it: 0 where there is none yet."""
        if self.standing_key == NO_SCORE_YET:
            return 0
        return -self.standing_key if sort == Tournament.Sort.HIGH else self.standing_key


def seat_of(member: bytes) -> Seat:
    """Read what `MEMBER` has written."""
    standing_key, _, _ = _NUMBERS.unpack_from(member)
    (gamer_pk,) = _OWNER.unpack_from(member, len(member) - _OWNER.size)
    gamer_id = member[_NUMBERS.size : -_OWNER.size - 1].decode()
    return Seat(gamer_pk, gamer_id, standing_key - _ZERO)
