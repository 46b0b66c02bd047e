"""`make codes`: the one-time codes of the demo's staff, for who has no authenticator at hand."""

import base64
import hmac
import struct
import sys
import time
from pathlib import Path

from kgen.local import dotenv
from kgen.local.processes import PROJECT


def code_of(secret: str, at: float) -> str:
    """The six digits of RFC 6238 for a secret in base32."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", int(at) // 30), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def main(demo: Path) -> None:
    known = dotenv.read(demo)
    if not known:
        sys.exit(f"{demo} is not there: start the platform with `make run` first.")
    for prefix in ("OPERATOR", "SUPPORT", "FINANCE", "ADMIN"):
        code = code_of(known[f"{prefix}_TOTP_SECRET"], time.time())
        print(f"{known[f'{prefix}_USER']}: {code}")
    print(f"Good for {30 - int(time.time()) % 30} s more; each works once.")


if __name__ == "__main__":
    main(PROJECT / ".local" / "demo.env")
