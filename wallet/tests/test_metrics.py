"""What Prometheus reads: the figures of this moment, on a port of their own."""

import urllib.request
from datetime import timedelta

import pytest
from django.test import Client
from prometheus_client import CollectorRegistry, start_http_server

from kgen.common.management.commands.serve_metrics import Figures
from wallet import chain_events, metrics, solvency
from wallet.models import ChainCursor, Operator, ReconciliationRun
from wallet.settlement import node_errors, pausing
from wallet.tests.factories import WalletFactory
from wallet.tests.outside import transfer
from wallet.tests.settling import START, give_bonus, join


def figures(now=START) -> dict[tuple[str, str], float]:
    """By name and label."""
    return {
        (sample.name.removeprefix("kgen_"), next(iter(sample.labels.values()), "")): sample.value
        for family in metrics.collect(now=now)
        for sample in family.samples
    }


def test_empty_platform_has_figures(db):
    assert figures() == {
        ("unsettled_kcash", ""): 0,
        ("payouts_paused", ""): 0,
        ("slots_seen", ""): 0,
        ("slot_bumps", ""): 0,
        ("slots_dead", ""): 0,
        ("chain_rewinds", ""): 0,
        ("reorgs", ""): 0,
        ("reorgs_unconfirmed", ""): 0,
        ("chain_events_unknown", ""): 0,
        **{("node_errors", kind): 0 for kind in node_errors.KINDS},
    }


def test_errors_of_nodes_are_told_by_kind(db):
    node_errors.count(TimeoutError())
    node_errors.count(OSError())
    node_errors.count(OSError())

    told = figures()

    assert {kind: told["node_errors", kind] for kind in node_errors.KINDS} == {
        "answer": 0,
        "connection": 2,
        "http_4xx": 0,
        "http_429": 0,
        "http_5xx": 0,
        "timeout": 1,
    }


def test_without_valkey_the_rest_is_told(db, valkey_away):
    assert {name for name, _ in figures()} == {
        "unsettled_kcash",
        "payouts_paused",
        "slots_seen",
        "slot_bumps",
        "slots_dead",
        "chain_rewinds",
        "reorgs",
        "reorgs_unconfirmed",
        "chain_events_unknown",
    }


def test_payouts_are_told_by_state_and_age(engine):
    wallet = WalletFactory.create()
    give_bonus(wallet)
    engine.settle_all()
    join(wallet, 20)
    give_bonus(WalletFactory.create())
    engine.tick()
    engine.tick()

    told = figures(now=engine.now + timedelta(seconds=60))

    assert told["payouts", "SUBMITTED"] == 2
    assert 60 <= told["payout_oldest_seconds", "SUBMITTED"] < 70
    assert told["unsettled_kcash", ""] == 70
    assert 0 < told["payout_seconds", "0.5"] == told["payout_seconds", "0.99"]


def test_slots_and_lanes_are_told(engine):
    give_bonus(WalletFactory.create())
    give_bonus(WalletFactory.create())
    engine.settle_all()
    give_bonus(WalletFactory.create())
    engine.tick()
    engine.tick()
    engine.now += timedelta(seconds=40)
    engine.tick()
    lane = engine.signer.address

    told = figures(now=engine.now)

    assert told["slots_seen", ""] == 2
    assert told["slot_payouts", ""] == 1.5
    assert told["slot_attempts", ""] == 1.5
    assert told["slot_bumps", ""] == 1
    assert told["slots_dead", ""] == 0
    assert told["lane_next_nonce", lane] == 2
    assert told["lane_open_slots", lane] == 1
    assert told["lane_oldest_slot_seconds", lane] >= 40
    assert told["lane_paused", lane] == 0


def test_what_is_paused_and_what_is_unknown_shows(engine):
    engine.open_lane()
    transfer(engine, engine.bench.float_wallet, "0x" + "0f" * 20, 12)
    chain_events.read(chain=engine.chain, now=START)
    pausing.pause(reason="drift", by="fay", now=START)
    Operator.objects.update(is_paused=True, pause_reason="gas", paused_at=START)
    ChainCursor.objects.update(rewinds=3)
    ReconciliationRun.objects.create(
        scope="FULL",
        started_at=START - timedelta(seconds=30),
        finished_at=START,
        horizon=1,
        rewritten_rows=0,
        findings=[{}, {}],
        drift=7,
    )

    told = figures()

    assert told["payouts_paused", ""] == 1
    assert told["lane_paused", engine.signer.address] == 1
    assert told["chain_events_unknown", ""] == 1
    assert told["chain_rewinds", ""] == 3
    assert told["drift_kcash", ""] == 7
    assert told["drift_findings", ""] == 2
    assert told["reconciled_seconds", ""] == 30


def test_solvency_is_told(engine):
    give_bonus(WalletFactory.create())
    engine.settle_all()
    join(WalletFactory.create(bought=9), 4)
    solvency.take_sample(chain=engine.chain, now=START)

    told = figures(now=START + timedelta(seconds=5))

    assert told["sample_seconds", ""] == 5
    assert told["float_kcash", ""] == told["float_payable_kcash", ""] == 10_000_000_000 - 50
    assert told["custodial_kcash", ""] == 50
    assert told["float_to_cover_kcash", ""] == 9
    assert told["float_shortfall_kcash", ""] == 0
    assert [told["owed_kcash", name] for name in ("bonus", "bought", "pools")] == [50, 5, 4]
    assert told["gas_spent_wei", ""] >= 0
    assert told["lane_gas_wei", engine.signer.address] > 10**18


@pytest.mark.django_db
def test_public_port_knows_no_metrics():
    assert Client().get("/metrics").status_code == 404


def test_server_asks_the_database_for_each_scrape(committed_database):
    registry = CollectorRegistry()
    registry.register(Figures())
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    scrapes = []

    try:
        for reason in (None, "drift"):
            if reason:
                pausing.pause(reason=reason, by="fay", now=START)
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
                scrapes.append(answer.read().decode())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    paused = [
        line for text in scrapes for line in text.splitlines() if "kgen_payouts_paused" in line
    ]
    assert paused == [
        "# HELP kgen_payouts_paused 1 while all payouts are paused.",
        "# TYPE kgen_payouts_paused gauge",
        "kgen_payouts_paused 0.0",
        "# HELP kgen_payouts_paused 1 while all payouts are paused.",
        "# TYPE kgen_payouts_paused gauge",
        "kgen_payouts_paused 1.0",
    ]
