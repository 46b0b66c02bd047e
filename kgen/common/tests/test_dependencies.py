"""What we run on is no older than what mended the known holes, and their doors are shut too."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models
from django.urls import get_resolver
from packaging.version import Version

from kgen.common.api.parsers import StrictJsonParser
from kgen.common.api.renderers import JsonRenderer

ROOT = Path(__file__).resolve().parents[3]

# Package, the first version without the holes, and which these are. Where an advisory names no
# version, it is the release in whose notes it was read.
FLOORS = [
    ("djangorestframework", "3.18.2", "CVE-2026-114136"),
    ("djangorestframework", "3.17.2", "CVE-2026-73228 CVE-2026-73229"),
    ("djangorestframework", "3.15.2", "CVE-2024-21520"),
    ("djangorestframework", "3.9.1", "WS-2019-0037"),
    ("django", "5.2.18", "CVE-2026-84429 CVE-2026-87975"),
    ("django", "5.2.17", "CVE-2026-15920"),
    ("django", "5.2.13", "CVE-2026-3902 CVE-2026-4292 CVE-2026-4277"),
    ("django", "5.2.19", "CVE-2026-33033 CVE-2026-33034 CVE-2026-5766 CVE-2026-108147"),
    ("django", "5.2.19", "CVE-2026-8404 CVE-2026-35193 CVE-2026-48587 CVE-2026-6907"),
    ("django", "5.2.19", "CVE-2026-48588 CVE-2026-113593 CVE-2026-1287 CVE-2026-1312"),
    ("django", "5.2.19", "CVE-2025-57833 CVE-2025-59681 CVE-2025-64459 CVE-2025-13372"),
    ("django", "5.2.19", "CVE-2025-48432 CVE-2019-19118"),
    ("celery", "5.2.2", "CVE-2021-23727"),
]


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = (re.fullmatch(r"([a-z0-9._-]+)==(\S+)(?: ;.*)?", line) for line in lines)
    return {pin[1]: pin[2] for pin in pins if pin}


@pytest.mark.parametrize(("package", "floor", "holes"), FLOORS)
def test_package_is_no_older_than_what_mended_its_holes(package, floor, holes):
    assert Version(version(package)) >= Version(floor), holes
    assert Version(locked()[package]) >= Version(floor), holes


@pytest.mark.parametrize("package", sorted({package for package, _, _ in FLOORS}))
def test_what_is_installed_is_what_is_locked(package):
    assert version(package) == locked()[package]


def test_api_reads_and_writes_json_alone():
    """No browsable API, no AdminRenderer, no forms and no uploads."""
    assert settings.REST_FRAMEWORK["DEFAULT_RENDERER_CLASSES"] == [
        "kgen.common.api.renderers.JsonRenderer"
    ]
    assert settings.REST_FRAMEWORK["DEFAULT_PARSER_CLASSES"] == [
        "kgen.common.api.parsers.StrictJsonParser"
    ]
    root: Any = get_resolver()
    views = [
        endpoint.callback.cls
        for prefix in root.url_patterns
        if str(prefix.pattern) == "api/v1/"
        for endpoint in prefix.url_patterns
    ]
    assert len(views) >= 19
    assert {tuple(view.renderer_classes) for view in views} == {(JsonRenderer,)}
    assert {tuple(view.parser_classes) for view in views} == {(StrictJsonParser,)}


def test_no_answer_is_cached_on_the_server():
    assert [name for name in settings.MIDDLEWARE if "cache" in name.lower()] == []


def test_nobody_types_a_link_that_the_console_shows():
    """A URL field's widget once took `javascript:` for an address."""
    fields = [field for model in apps.get_models() for field in model._meta.get_fields()]
    assert fields
    assert [field for field in fields if isinstance(field, models.URLField)] == []


def test_workers_read_json_alone_and_keep_no_results():
    assert settings.CELERY_TASK_SERIALIZER == "json"
    assert settings.CELERY_ACCEPT_CONTENT == ["json"]
    assert settings.CELERY_TASK_IGNORE_RESULT is True
    assert not hasattr(settings, "CELERY_RESULT_BACKEND")
