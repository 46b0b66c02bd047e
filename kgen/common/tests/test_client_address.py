"""A caller cannot say where it comes from; the proxies in front of us can."""

import pytest
from django.test import RequestFactory

from kgen.common.client_address import client_address


def address_of(peer: str, forwarded_for: str | None = None) -> str:
    headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}
    return str(client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)))


def test_without_a_trusted_proxy_the_header_is_not_read():
    assert address_of("192.0.2.1", "203.0.113.7") == "192.0.2.1"
    assert address_of("192.0.2.1", "203.0.113.7, 203.0.113.8") == "192.0.2.1"


@pytest.mark.parametrize(
    ("proxies", "forwarded_for", "address"),
    [
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (1, "6.6.6.6,6.6.6.7,203.0.113.7 ", "203.0.113.7"),
        (2, "203.0.113.7, 10.0.0.1", "203.0.113.7"),
        (2, "6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "::ffff:203.0.113.7", "203.0.113.7"),
        # It came past a proxy, or the proxy says what nobody can read: the peer itself is meant.
        (1, None, "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (2, "203.0.113.7", "192.0.2.1"),
        (1, "6.6.6.6, unknown", "192.0.2.1"),
        (1, "6.6.6.6, ", "192.0.2.1"),
    ],
)
def test_right_most_trusted_hop_counts(settings, proxies, forwarded_for, address):
    settings.TRUSTED_PROXIES = proxies

    assert address_of("192.0.2.1", forwarded_for) == address


def test_peer_of_a_unix_socket_has_no_address():
    assert address_of("") == "None"
