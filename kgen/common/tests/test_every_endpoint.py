"""What holds for every address of the API, found by walking the URL map."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
SOMETHING = "7f9c2a34-1c58-4f0c-b1a1-6f0a5e0b9d11"


def endpoints() -> list[tuple[str, frozenset[str]]]:
    """Address and methods of everything under /api/v1/."""
    root: Any = get_resolver()
    return [
        (f"/{re.sub('<[^>]*>', SOMETHING, route)}", frozenset(view.actions))
        for prefix in root.url_patterns
        if str(prefix.pattern) == "api/v1/"
        for endpoint in prefix.url_patterns
        for route, view in [(f"{prefix.pattern}{endpoint.pattern}", endpoint.callback)]
    ]


@pytest.fixture(scope="module")
def client() -> Client:
    return Client(raise_request_exception=False)


def test_the_documented_addresses_are_there():
    assert {(path, min(methods).upper()) for path, methods in endpoints()} >= {
        ("/api/v1/session", "POST"),
        ("/api/v1/eventing", "POST"),
        ("/api/v1/tournaments/_active", "GET"),
        ("/api/v1/tournaments/_session", "GET"),
        (f"/api/v1/tournaments/{SOMETHING}", "GET"),
        (f"/api/v1/leaderboards/_byTournament/{SOMETHING}", "GET"),
        ("/api/v1/wallet/lazyChain/balance", "GET"),
        (f"/api/v1/wallet/lazyChain/transactions/{SOMETHING}", "GET"),
        ("/api/v1/verification/otp/_request", "POST"),
        ("/api/v1/verification/otp/_verify", "POST"),
        ("/api/v1/rewards", "GET"),
        ("/api/v1/rewards/_claim", "POST"),
        ("/api/v1/wallet/_withdraw", "POST"),
        ("/api/v1/statistics/_historic", "GET"),
        (f"/api/v1/tournaments/{SOMETHING}/_join", "POST"),
        (f"/api/v1/tournaments/{SOMETHING}/_leave", "POST"),
    }


@pytest.mark.parametrize(("path", "methods"), endpoints())
def test_other_methods_are_405_before_anything_else(client, path, methods):
    served = {method.upper() for method in methods} - {"HEAD"}

    for method in sorted(METHODS - served):
        answer = client.generic(method, path, b"x" * 70_000, content_type="text/plain")
        assert (answer.status_code, answer["Allow"]) == (405, ", ".join(sorted(served)))
        if method != "HEAD":
            assert answer.json()["error"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize(("path", "methods"), endpoints())
def test_nobody_comes_in_without_client_headers(client, path, methods):
    for method in sorted(methods - {"head"}):
        answer = client.generic(method.upper(), path, b"{", content_type="text/plain")
        body = answer.json()
        assert (answer.status_code, body["error"]) == (401, "UN_AUTHORIZED")
        assert body["details"] == {"reason": "CLIENT_CREDENTIALS"}
        assert body["request_id"] == answer["X-Request-ID"]


@pytest.mark.parametrize(("path", "methods"), endpoints())
def test_no_address_is_redirected_to_another(client, path, methods):
    for method in sorted(methods):
        answer = client.generic(method.upper(), f"{path}/")
        assert answer.status_code == 404
