"""The console's page of what is owed and held, and staff's word about what the chain did."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from wallet import chain_events
from wallet.models import (
    ChainEvent,
    Operator,
    Payout,
    ReconciliationRun,
    Reorg,
    SlotItem,
    SolvencySample,
)
from wallet.settlement import lanes, pausing, reorgs
from wallet.tests.factories import WalletFactory
from wallet.tests.outside import transfer
from wallet.tests.settling import START, give_bonus
from wallet.tests.test_admin import page, panels, text, texts
from wallet.tests.test_solvency import WELL

PAGE = "admin:wallet_solvencysample_changelist"


def solvency_page(role=FINANCE, **query):
    return staff_client(role).get(reverse(PAGE), query)


def tables(answer) -> dict[str, list[list[str]]]:
    return {title: texts(table) for title, table in answer.context["panels"]}


def keep(minutes_ago: int, **changed) -> SolvencySample:
    now = timezone.now()
    times = {"taken_at": now - timedelta(minutes=minutes_ago), "block_made_at": now}
    return SolvencySample.objects.create(**{**WELL, **times, **changed})


@pytest.mark.parametrize("role", [OPERATORS, SUPPORT, FINANCE])
def test_all_staff_see_the_page_before_anything_was_sampled(db, role):
    answer = solvency_page(role)

    assert answer.status_code == 200
    assert text(answer.context["verdict"]) == "not looked at yet"
    assert answer.context["charts"] == []


def test_strangers_do_not(db, client):
    assert client.get(reverse(PAGE)).status_code == 302


def test_page_says_what_is_owed_and_held(db):
    keep(0, bonus=30, earned=7, pools=20, custodial=50, gas_spent=15 * 10**17)

    answer = solvency_page()

    assert text(answer.context["verdict"]).startswith("the float covers what is owed")
    told = tables(answer)
    assert [row[:2] for row in told["Owed to gamers"]] == [
        ["Bonus", "30 KCash"],
        ["Bought", "0 KCash"],
        ["Earned", "7 KCash"],
        ["To claim", "0 KCash"],
        ["On hold", "0 KCash"],
        ["Pools", "20 KCash"],
        ["Together", "57 KCash"],
    ]
    assert [row[:2] for row in told["Held for it"]] == [
        ["Custodial wallets", "50 KCash"],
        ["Float wallet", "100 KCash"],
        ["It lets the contract spend", "100 KCash"],
        ["The float has to cover", "7 KCash"],
        ["The float can pay", "100 KCash"],
        ["It is short of", "0 KCash"],
        ["Gas of the day's payouts", "1.500000 coins"],
    ]


def test_page_warns(db):
    keep(9, bonus=111)
    pausing.pause(reason="drift", by="fay", now=START)

    verdict = text(solvency_page().context["verdict"])

    assert verdict.startswith("11 KCash short: no tournament is published ")
    assert " as of 9 min " in verdict
    assert verdict.endswith("payouts are paused")


def test_page_shows_queue_lanes_and_books(engine):
    give_bonus(WalletFactory.create())
    engine.tick()
    engine.tick()
    lane = engine.signer.address
    keep(0, lanes=[{"address": lane, "nonce": 0, "gas": 25 * 10**17}])
    Operator.objects.update(is_paused=True, pause_reason="gas is low", paused_at=START)
    run = ReconciliationRun.objects.create(
        scope="FULL", started_at=START, finished_at=START, horizon=1, rewritten_rows=0, drift=7
    )

    told = tables(solvency_page())

    assert [row[:4] for row in told["Payouts that are not over"]] == [
        ["SUBMITTED", "1", "50 KCash", "0 KCash"]
    ]
    assert told["Lanes"] == [
        [
            f"{lane[:8]}…{lane[-6:]}",
            "paused: gas is low",
            "1",
            "0",
            "1",
            told["Lanes"][0][5],
            "2.500000 coins",
        ]
    ]
    assert told["Chain and books"][0] == [
        "Newest reconciliation",
        f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC",
        "right 7 KCash apart",
    ]


def test_charts_run_from_the_oldest_sample_to_the_newest(db):
    now = timezone.now()
    for minutes, held, bonus in ((60 * 24 * 2, 1, 0), (60, 50, 25), (30, 200, 50), (0, 100, 100)):
        taken_at = now - timedelta(minutes=minutes)
        keep(0, taken_at=taken_at, float_balance=held, float_allowance=200, bonus=bonus)

    day, week = (solvency_page(days=days).context["charts"][0] for days in (1, 7))

    assert (day.title, day.top) == ("What the float can pay, in KCash", "200")
    assert [(line.label, line.points, line.last) for line in day.lines] == [
        ("can pay", "0,90 300,0 600,60", "100"),
        ("has to cover", "0,105 300,90 600,60", "100"),
    ]
    assert day.begins == f"{now - timedelta(minutes=60):%Y-%m-%d %H:%M} UTC"
    assert week.begins == f"{now - timedelta(days=2):%Y-%m-%d %H:%M} UTC"


def test_long_times_are_thinned_out(db):
    for minutes in range(0, 600, 2):
        keep(minutes)

    chart = solvency_page(days=1).context["charts"][0]

    # A day in 240 points is one of each six minutes.
    assert 100 <= len(chart.lines[0].points.split()) <= 102


def test_unknown_time_is_refused_in_words(db):
    keep(1)
    keep(0)

    answer = solvency_page(days="x")

    assert answer.status_code == 200
    assert "Select a valid choice" in answer.content.decode()


# --- Staff's word --------------------------------------------------------------------------------


@pytest.fixture
def unknown(engine) -> ChainEvent:
    transfer(engine, engine.bench.float_wallet, "0x" + "0f" * 20, 12)
    chain_events.read(chain=engine.chain, now=START)
    return ChainEvent.objects.get(meaning="UNKNOWN")


def do(client, row, act: str, **data):
    address = reverse(f"admin:wallet_{row._meta.model_name}_{act}", args=[row.pk])
    return client.post(address, {"reason": "Seen by two", **data})


def test_finance_explains_an_unknown_event(unknown):
    answer = do(staff_client(FINANCE), unknown, "explain")

    unknown.refresh_from_db()
    assert answer.status_code == 302
    assert unknown.explanation == "Seen by two"
    assert StaffAct.objects.get().line() == "Explain: Seen by two"


@pytest.mark.parametrize("role", [OPERATORS, SUPPORT])
def test_others_explain_nothing(unknown, role):
    answer = do(staff_client(role), unknown, "explain")

    unknown.refresh_from_db()
    assert answer.status_code == 403
    assert unknown.explained_at is None


def test_finance_confirms_a_reorg(engine):
    give_bonus(WalletFactory.create())
    engine.open_lane()
    engine.finalize()
    before = engine.bench.chain.snapshot()
    engine.settle_all()
    engine.bench.chain.revert(before)
    engine.bench.chain.mine(60)
    reorgs.find_lost(chain=engine.chain, since=START, now=engine.now)
    reorg = Reorg.objects.get()
    client = staff_client(FINANCE)

    assert do(staff_client(SUPPORT), reorg, "confirm").status_code == 403
    assert not SlotItem.objects.filter(is_open=True).exists()
    assert client.get(page(reorg)).status_code == 200
    answer = do(client, reorg, "confirm")

    reorg.refresh_from_db()
    assert answer.status_code == 302
    assert reorg.reason == "Seen by two"
    assert SlotItem.objects.filter(is_open=True).count() == 1
    assert Payout.objects.get().state == Payout.State.SUBMITTED
    told = {title: texts(table) for title, table in panels(client, reorg).items()}
    assert told["Lost slots"][0][:3] == ["0", "Settle", "OPEN"]
    assert told["Lost payouts"][0][1] == "SUBMITTED"


# --- Lanes ---------------------------------------------------------------------------------------


@pytest.fixture
def stopped(db) -> Operator:
    lane = Operator.objects.create(address="0x" + "0a" * 20, chain_id=31337, next_nonce=4)
    lanes.pause(operator_id=lane.pk, reason="gas is low", now=START)
    return lane


def resume_page(lane: Operator) -> str:
    return reverse("admin:wallet_operator_resume", args=[lane.pk])


def state_of(lane: Operator) -> tuple[bool, str, object]:
    lane.refresh_from_db()
    return lane.is_paused, lane.pause_reason, lane.paused_at


def test_finance_resumes_a_lane_from_the_page_that_shows_it(stopped):
    finance = staff_client(FINANCE)

    found = finance.get(reverse(PAGE)).content.decode()
    offered = finance.get(page(stopped)).content.decode()
    asked = finance.get(resume_page(stopped)).content.decode()
    finance.post(resume_page(stopped), {"reason": "filled"})

    assert f'<a href="{page(stopped)}">' in found
    assert f'<a href="{resume_page(stopped)}" class="dangerous">Resume the lane</a>' in offered
    assert "It was paused because: gas is low" in asked
    assert state_of(stopped) == (False, "", None)
    entry = StaffAct.objects.get()
    assert entry.object_pk == str(stopped.pk)
    assert entry.line() == "Resume the lane: filled"
    assert finance.get(page(stopped)).context["acts"] == []


def test_without_a_reason_a_lane_stays_paused(stopped):
    answer = staff_client(FINANCE).post(resume_page(stopped), {"reason": " "})

    assert answer.context["form"].errors == {"reason": ["This field is required."]}
    assert state_of(stopped) == (True, "gas is low", START)
    assert not StaffAct.objects.exists()


@pytest.mark.parametrize("role", [OPERATORS, SUPPORT])
def test_others_see_a_lane_and_do_not_resume_it(stopped, role):
    client = staff_client(role)

    seen = client.get(page(stopped))
    refused = client.post(resume_page(stopped), {"reason": "filled"})

    assert (seen.status_code, seen.context["acts"], refused.status_code) == (200, [], 403)
    assert state_of(stopped) == (True, "gas is low", START)
    assert not StaffAct.objects.exists()


def test_a_lane_that_is_on_is_not_resumed_twice(stopped):
    lanes.resume(operator_id=stopped.pk, by="sam", reason="filled")

    answer = staff_client(FINANCE).post(resume_page(stopped), {"reason": "filled"}, follow=True)

    assert [str(one) for one in answer.context["messages"]] == [
        "“Resume the lane” is not possible any more."
    ]
    assert not StaffAct.objects.exists()
