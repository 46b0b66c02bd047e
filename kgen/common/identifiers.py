"""Identifiers made by us."""

import secrets
import time
from uuid import UUID


def uuid7() -> UUID:
    """A new time-ordered UUID of version 7 (RFC 9562, section 5.7).

    Its first 48 bits are the Unix time in milliseconds: rows named by it stay together on disk, and
    the ledger's monthly partitions are ranges of it.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    random_a, random_b = random >> 62, random & (1 << 62) - 1
    return UUID(int=milliseconds << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b)


def uuid_of(text: str) -> UUID | None:
    """The UUID that `text` spells in the usual way, 8-4-4-4-12 in any letter case; else None."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text.lower() else None
