"""Every path under /api/ answers the contract's error body, whoever refuses."""

import re

import pytest
from django.test import Client

REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def body_of(response):
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["Content-Length"] == str(len(response.content))
    return response.json()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/v1",
        "/api/v1/",
        "/api/v1/nothing",
        "/api/v1/session/",
        "/api/v1/%00",
        "/api/v1/tournaments/a%00b/c",
        "/api/v2/session",
        "/api/v1//session",
    ],
)
def test_unknown_path_is_404(client, method, path):
    response = client.generic(method, path)

    assert response.status_code == 404
    assert body_of(response) == {
        "statusCode": 404,
        "error": "NOT_FOUND",
        "message": "There is nothing at this address.",
        "details": {},
        "request_id": response["X-Request-ID"],
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_wrong_method_is_405_before_anything_else(client, method):
    response = client.generic(method, "/api/v1/session", b"x" * 70_000, content_type="text/plain")

    assert response.status_code == 405
    assert response["Allow"] == "POST"
    if method != "HEAD":
        assert body_of(response) == {
            "statusCode": 405,
            "error": "METHOD_NOT_ALLOWED",
            "message": "This address does not answer to that method.",
            "details": {},
            "request_id": response["X-Request-ID"],
        }


def test_foreign_host_is_400(client):
    response = client.get("/api/v1/session", headers={"host": "evil.example"})

    assert response.status_code == 400
    assert body_of(response)["error"] == "BAD_REQUEST"


def test_large_body_is_413_before_the_client_headers(client):
    response = client.post(
        "/api/v1/session", b"x" * (64 * 1024 + 1), content_type="application/json"
    )

    assert response.status_code == 413
    assert body_of(response)["error"] == "PAYLOAD_TOO_LARGE"


def test_pages_outside_the_api_are_left_as_they_are(client):
    response = client.get("/nothing")

    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")
    assert REQUEST_ID.fullmatch(response["X-Request-ID"])
    assert "Cache-Control" not in response


@pytest.mark.parametrize("given", ["0193c1d2-7c1e-7c55", "a" * 64, "A1-b2-C3"])
def test_request_id_of_the_caller_is_kept(client, given):
    response = client.get("/api/v1/nothing", headers={"x-request-id": given})

    assert response["X-Request-ID"] == given
    assert response.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "short", "a" * 65, "under_score", "with space 1", "é" * 8])
def test_request_id_that_is_not_fit_is_replaced(client, given):
    response = client.get("/api/v1/nothing", headers={"x-request-id": given})

    assert REQUEST_ID.fullmatch(response["X-Request-ID"])
    assert response.json()["request_id"] == response["X-Request-ID"]


def test_rate_limit_headers_are_on_every_answer(client):
    response = client.get("/api/v1/nothing")

    assert response["RateLimit-Limit"] == "100"
    assert response["RateLimit-Remaining"] == "100"
    assert response["RateLimit-Reset"] == "0"
