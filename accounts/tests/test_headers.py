from urllib.parse import urlsplit

import pytest
from django.conf import settings as project

from accounts.tests.staff import staff_client
from kgen.common.admin import OPERATORS

STRICT = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}


def policy_of(response):
    parts = (part.split(" ", 1) for part in response["Content-Security-Policy"].split("; "))
    return {name: value.strip() for name, value in parts}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/login/", "/api/docs/", "/api/schema/", "/api/v1/none", "/none"]
)
def test_every_answer_forbids_what_no_page_of_ours_needs(path):
    response = staff_client(OPERATORS).get(path)

    assert {**policy_of(response), "connect-src": "'self'"} == STRICT
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in response["Permissions-Policy"]
    expected = "same-origin" if path.startswith("/admin/") else "no-referrer"
    assert response["Referrer-Policy"] == expected


def test_pages_may_speak_with_the_stream_of_boards():
    allowed = project.CONTENT_SECURITY_POLICY["DIRECTIVES"]["connect-src"]

    assert allowed == ["'self'", *([project.STREAM_URL] if project.STREAM_URL else [])]
    assert all(urlsplit(one).scheme in ("http", "https") for one in allowed[1:])


@pytest.mark.django_db
def test_docs_hold_no_script_and_no_style_of_their_own(client):
    page = client.get("/api/docs/").content.decode()
    script = client.get("/api/docs/?script=")

    assert "<style" not in page
    assert page.count("<script") == page.count("<script src=") == 3
    assert script["Content-Type"].startswith("application/javascript")
    assert "SwaggerUIBundle" in script.content.decode()
