"""Lists of networks as people write them: `203.0.113.7, 10.0.0.0/8, 2001:db8::/32`."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from django.core.exceptions import ValidationError

from kgen.common.client_address import Address

Network = IPv4Network | IPv6Network

# A list that nobody can read over is no protection.
MOST_NETWORKS: Final = 50


@lru_cache(maxsize=1024)
def parse(text: str) -> tuple[Network, ...]:
    """The networks that are named, apart by commas, blanks or lines; each once, in their order.

    Raises ValueError, which names what is none.
    """
    return tuple(dict.fromkeys(ip_network(word) for word in text.replace(",", " ").split()))


def contain(text: str, address: Address | None) -> bool:
    """Whether the address lies in one of the networks named; an unknown one lies nowhere."""
    return address is not None and any(address in network for network in parse(text))


def written(text: str) -> str:
    """The same list as it is kept: one network a line, in its shortest form."""
    return "\n".join(map(str, parse(text)))


def validate(text: str) -> None:
    """Raises `ValidationError`."""
    try:
        networks = parse(text)
    except ValueError as error:
        raise ValidationError(f"{error}. Give networks such as 203.0.113.0/24.") from None
    if len(networks) > MOST_NETWORKS:
        raise ValidationError(f"Give at most {MOST_NETWORKS} networks.")
