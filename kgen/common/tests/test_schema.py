"""The OpenAPI document and the page that shows it."""

import re

import pytest
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema


@pytest.fixture(scope="module")
def schema():
    GENERATOR_STATS.reset()
    with GENERATOR_STATS.silence():
        return SchemaGenerator().get_schema(request=None, public=True)


def test_schema_is_valid_and_made_without_warnings(schema):
    validate_schema(schema)

    assert (GENERATOR_STATS._warn_cache, GENERATOR_STATS._error_cache) == ({}, {})


def test_every_answer_of_every_endpoint_is_documented(schema):
    for path, methods in schema["paths"].items():
        if not path.startswith("/api/v1/"):
            continue
        for method, operation in methods.items():
            statuses = set(operation["responses"])
            assert {"400", "401", "413", "429", "500", "503"} <= statuses, (method, path)
            if method == "post":
                assert {"409", "415"} <= statuses, (method, path)
                names = [parameter["name"] for parameter in operation["parameters"]]
                assert "Idempotency-Key" in names


def test_claimable_rewards_are_documented_as_they_are_answered(schema):
    """An object, though the action reads like a list; and what only some rewards carry is optional."""
    answer = schema["paths"]["/api/v1/rewards"]["get"]["responses"]["200"]
    reward = schema["components"]["schemas"]["GrantedReward"]

    assert answer["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/RewardList"
    }
    assert {"source", "reference", "expires_at"} & set(reward["required"]) == set()


def test_headers_of_every_answer_are_documented(schema):
    known = set(schema["components"]["headers"])
    every = {"X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}

    for path, methods in schema["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                named = set(response["headers"])
                assert every <= named <= known, (path, status)
                assert ("Retry-After" in named) == (status in ("429", "503")), (path, status)


def test_links_lead_to_operations_that_are_there(schema):
    operations = [one for methods in schema["paths"].values() for one in methods.values()]
    known = {operation["operationId"] for operation in operations}
    links = [
        link["operationId"]
        for operation in operations
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]

    assert len(links) >= 12
    assert set(links) <= known


def test_docs_ask_nobody_else():
    client = Client()

    page = "".join(client.get(f"/api/docs/{part}").content.decode() for part in ("", "?script="))

    links = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page)
    assert links
    assert [link for link in links if not link.startswith("/")] == []
    assert "validatorUrl" in page
    for link in (link for link in links if link.startswith("/static/")):
        file = client.get(link)
        assert (link, file.status_code) == (link, 200)
        assert b"".join(file)  # read to its end, it is closed


def test_schema_is_served_as_openapi_31():
    answer = Client().get("/api/schema/", headers={"accept": "application/json"})

    assert answer.status_code == 200
    assert answer.json()["openapi"].startswith("3.1")
