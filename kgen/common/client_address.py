"""Where a request comes from, as far as a proxy of ours vouches for it (API contract, section 0)."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest

Address = IPv4Address | IPv6Address


def client_address(request: HttpRequest) -> Address | None:
    """The caller's address: of the peer, or with `TRUSTED_PROXIES` the right-most trusted hop.

    Each of our proxies adds whom it speaks with to the right of X-Forwarded-For; what stands to the
    left of their entries is the caller's own word and never looked at. A request that passed by some
    of the proxies is the peer's own. None where the peer has no address, as on a Unix socket.
    """
    meta = request.META
    hops: int = settings.TRUSTED_PROXIES
    if hops:
        told = meta.get("HTTP_X_FORWARDED_FOR", "").split(",")
        address = _parsed(told[-hops].strip()) if len(told) >= hops else None
        if address is not None:
            return address
    return _parsed(meta.get("REMOTE_ADDR", ""))


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # An IPv4 caller of a socket that serves both kinds.
    return getattr(address, "ipv4_mapped", None) or address
