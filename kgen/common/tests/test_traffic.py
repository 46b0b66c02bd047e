"""Figures of requests: labelled by our URL map alone, and added up over processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from django.test import Client
from django.urls import URLResolver, get_resolver
from django.utils import timezone
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.registry import CollectorRegistry

from kgen.common.api import traffic
from kgen.common.management.commands.serve_metrics import Traffic
from kgen.common.metrics import collect
from kgen.local.processes import PROJECT


def labels() -> set[tuple[str, ...]]:
    return {tuple(names) for names in traffic.REQUESTS._metrics}


def routes(resolver: URLResolver | None = None, prefix: str = "") -> set[str]:
    found = set()
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern)
        found |= routes(pattern, route) if isinstance(pattern, URLResolver) else {route}
    return found


@pytest.mark.django_db
def test_a_request_is_counted_by_route_method_and_status():
    def counted() -> float | None:
        return REGISTRY.get_sample_value(
            "kgen_requests_total",
            {"route": "api/v1/tournaments/<str:uid>", "method": "GET", "status": "401"},
        )

    before = counted() or 0

    Client().get("/api/v1/tournaments/7f9c2a34-1c58-4f0c-b1a1-6f0a5e0b9d11?token=x")

    assert counted() == before + 1
    assert REGISTRY.get_sample_value("kgen_requests_in_progress") == 0


@pytest.mark.django_db
def test_no_caller_makes_a_label():
    known = {*routes(), traffic.UNKNOWN, traffic.TURNED_AWAY, "static", "admin"}
    client = Client(raise_request_exception=False)

    for number in range(40):
        client.get(f"/api/v1/tournaments/{number}?token={number}")
        client.get(f"/nowhere/{number}")
        client.get(f"/admin/{number}")
        client.get(f"/admin/accounts/gamer/{number}/change/")
        client.get(f"/static/{number}")
        client.generic(f"ODD{number}", "/api/v1/session")

    assert {route for route, _, _ in labels()} <= known
    assert {method for _, method, _ in labels()} <= {*traffic.METHODS, traffic.UNKNOWN}
    of_these = [route for route, _, _ in labels() if route in ("admin", "static", traffic.UNKNOWN)]
    assert len(of_these) <= 12


COUNT = """
import django, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "kgen.settings_test"
django.setup()
from kgen.common.api import traffic
traffic.REQUESTS.labels("healthz", "GET", 200).inc()
traffic.SECONDS.labels("healthz").observe(0.02)
traffic.IN_PROGRESS.inc()
"""


def test_processes_are_added_up_and_the_dead_have_nothing_under_way(tmp_path: Path):
    registry = CollectorRegistry()
    registry.register(Traffic(tmp_path))

    for _ in range(2):
        subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", COUNT],
            cwd=PROJECT,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            check=True,
        )

    told = generate_latest(registry).decode().splitlines()
    assert 'kgen_requests_total{method="GET",route="healthz",status="200"} 2.0' in told
    assert 'kgen_request_seconds_bucket{le="0.025",route="healthz"} 2.0' in told
    assert not [line for line in told if line.startswith("kgen_requests_in_progress ")]


def told() -> dict[tuple[str, str], float]:
    return {
        (sample.name.removeprefix("kgen_"), sample.labels.get("outcome", "")): sample.value
        for family in collect(now=timezone.now())
        for sample in family.samples
    }


def test_waiting_tasks_are_told(db, settings):
    with redis.Redis.from_url(settings.REDIS_URL) as valkey:
        valkey.rpush("celery", "one", "two")

    figures = told()

    assert (figures["tasks_waiting", ""], figures["tasks_taken", ""]) == (2, 0)


def test_without_valkey_nobody_says_how_many_tasks_wait(db, valkey_away):
    assert {name for name, _ in told()} == {"staff_sign_ins_last_hour"}


def test_failed_sign_ins_are_told(db):
    Client().post("/admin/login/", {"username": "nobody", "password": "x", "otp_token": "000000"})

    figures = told()

    assert figures["staff_sign_ins_last_hour", "login_failed"] == 1
    assert figures["staff_sign_ins_last_hour", "login"] == 0


def test_who_is_turned_away_is_counted():
    labels = {"route": "turned away", "method": "unknown", "status": "503"}
    before = REGISTRY.get_sample_value("kgen_requests_total", labels) or 0

    traffic.note_turned_away()

    assert REGISTRY.get_sample_value("kgen_requests_total", labels) == before + 1
