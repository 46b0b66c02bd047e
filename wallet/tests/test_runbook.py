"""Each scenario of docs/runbook.md, walked step by step on a chain: a runbook that rots misleads."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command, get_commands
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from eth_account import Account
from prometheus_client import REGISTRY

from accounts.tests.staff import staff_client, staff_user
from kgen.common.admin import FINANCE
from kgen.common.api import traffic  # noqa: F401 - which counts requests
from kgen.local.processes import free_port
from wallet import drift, metrics, solvency, tasks
from wallet.models import (
    ChainCursor,
    ChainEvent,
    Operator,
    Payout,
    PayoutSwitch,
    ReconciliationRun,
    Reorg,
    Slot,
    SolvencySample,
)
from wallet.settlement import lane as lanes
from wallet.settlement import networks
from wallet.settlement.chain import Chain, ChainUnavailable, connect
from wallet.settlement.deploying import FLOAT, deploy_settlement
from wallet.settlement.signing import EnvironmentOperator
from wallet.settlement.verifying import ChainStale
from wallet.tests.chain import new_address
from wallet.tests.factories import WalletFactory
from wallet.tests.outside import transfer
from wallet.tests.settling import Engine, give_bonus, lost, payout_of, status

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"

Scope = ReconciliationRun.Scope

_walked: set[str] = set()


def walks(scenario: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The test follows the section of the runbook with this heading."""
    _walked.add(scenario)
    return lambda test: test


# --- Hands ---------------------------------------------------------------------------------------


@pytest.fixture
def finance(engine):
    return staff_client(FINANCE)


@pytest.fixture
def fay(engine) -> str:
    """One of Finance, by name, as commands want it."""
    return staff_user(FINANCE, username="fay").username


def press(client, row, act: str) -> None:
    """A button of the row's page in the console, with a reason."""
    url = reverse(f"admin:wallet_{row._meta.model_name}_{act}", args=[row.pk])
    answer = client.post(url, {"reason": "as the runbook says"}, follow=True)
    assert [str(one.level_tag) for one in answer.context["messages"]] == ["success"]


def solvency_page(client) -> str:
    page = client.get(reverse("admin:wallet_solvencysample_changelist")).content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def send(engine: Engine, sender: str, function: str, *arguments, of=None) -> None:
    """A transaction of whoever holds a key, made final."""
    rpc = engine.bench.chain.rpc
    rpc("evm_setAutomine", True)
    assert engine.bench.call(sender, function, *arguments, of=of).is_success
    rpc("evm_setAutomine", False)
    engine.finalize()


def look(engine: Engine) -> list[str]:
    """What the minute's tasks find: the drift of the newest reconciliation."""
    engine.finalize()
    tasks.read_chain()
    tasks.reconcile_everything()
    return [one["audit"] for one in ReconciliationRun.objects.latest("pk").findings]


def is_paused() -> bool:
    return PayoutSwitch.objects.get().is_paused


def lane() -> Operator:
    return Operator.objects.get(address=EnvironmentOperator().address)


def figure(name: str) -> list[float]:
    [family] = [one for one in metrics.collect(now=timezone.now()) if one.name == name]
    return [sample.value for sample in family.samples]


def alarms(caplog) -> str:
    return "\n".join(one.getMessage() for one in caplog.records if one.levelname == "ERROR")


# --- Scenarios -----------------------------------------------------------------------------------


@walks("A lane is stuck")
def test_lane_without_gas_money_is_paused_until_it_is_filled_and_resumed(
    engine: Engine, finance, fay, caplog
):
    bonus = give_bonus(WalletFactory.create())
    engine.open_lane()
    engine.bench.chain.rpc("anvil_setBalance", lane().address, "0x1")

    engine.tick()

    assert "A lane is paused: it has 1 wei for gas and may need" in alarms(caplog)
    assert figure("kgen_lane_paused") == [1]
    assert "paused: it has 1 wei for gas" in solvency_page(finance)
    engine.bench.chain.rpc("anvil_setBalance", lane().address, hex(10**20))
    call_command("resume_lane", address=lane().address, user=fay, reason="filled")
    engine.settle_all()
    assert (status(bonus), figure("kgen_lane_paused")) == ("COMPLETED", [0])


@walks("A lane is stuck")
def test_lane_at_the_fee_cap_goes_on_by_itself_once_gas_is_cheap(engine: Engine, caplog):
    network = networks.of(31337)
    engine.bench.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(network.fee_cap * 2 // 5))
    engine.mine()
    bonus = give_bonus(WalletFactory.create())

    for _ in range(10):
        engine.now += network.bump_after
        engine.tick()

    assert "is stuck at the fee cap" in alarms(caplog)
    assert figure("kgen_lane_open_slots") == [1]
    engine.bench.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(networks.GWEI))
    engine.settle_all()
    assert (status(bonus), figure("kgen_lane_open_slots")) == ("COMPLETED", [0])


@walks("Somebody else used a lane's key")
def test_nonce_taken_by_somebody_else_costs_a_slot_and_no_payout(engine: Engine, caplog):
    bonus = give_bonus(WalletFactory.create())
    engine.chain.before_send = lost
    engine.tick()
    engine.chain.before_send = None
    _use_key_of(engine, lane())

    engine.tick()

    assert "Nonce 0 of slot" in alarms(caplog)
    assert "was used by somebody else" in alarms(caplog)
    engine.settle_all()
    assert status(bonus) == "COMPLETED"
    assert list(Slot.objects.order_by("nonce").values_list("state", flat=True)) == ["DEAD", "FINAL"]
    assert look(engine) == []


@walks("Somebody else used a lane's key")
def test_nonce_taken_while_the_lane_was_idle_pauses_payouts_until_one_waits(
    engine: Engine, finance
):
    engine.open_lane()
    _use_key_of(engine, lane())

    found = look(engine)

    assert (len(found), is_paused()) == (1, True)
    bonus = give_bonus(WalletFactory.create())
    press(finance, PayoutSwitch.objects.get(), "resume")
    engine.settle_all()
    assert (status(bonus), look(engine), is_paused()) == ("COMPLETED", [], False)


@walks("A deep reorg")
def test_final_payouts_that_a_reorg_took_are_sent_again_on_somebodys_word(
    engine: Engine, finance, caplog
):
    engine.open_lane()
    engine.finalize()
    before = engine.bench.chain.snapshot()
    engine.now = timezone.now()
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    engine.settle_all()
    tasks.read_chain()
    engine.bench.chain.revert(before)
    engine.bench.chain.mine(60)

    tasks.read_chain()

    assert "has lost 1 final slots with 1 payouts to a reorg" in alarms(caplog)
    assert (payout_of(bonus).state, lane().is_paused) == ("REVIEW", True)
    assert figure("kgen_reorgs") == [1]
    press(finance, Reorg.objects.get(), "confirm")
    engine.settle_all()
    press(finance, lane(), "resume")
    assert (status(bonus), engine.onchain(wallet)) == ("COMPLETED", 50)
    assert "paid again" in _text(finance, "admin:wallet_reorg_changelist")
    assert look(engine) == []


@walks("The float wallet is empty")
def test_payouts_wait_for_the_float_to_be_filled(engine: Engine, finance, caplog):
    treasury, float_wallet = new_address(), engine.bench.float_wallet
    transfer(engine, float_wallet, treasury, engine.bench.balance(float_wallet))
    bonus = give_bonus(WalletFactory.create())

    tasks.sample_solvency()
    engine.tick()

    assert "The float does not cover what is owed: 50 KCash short" in alarms(caplog)
    assert "as it would fail: ERC20InsufficientBalance" in alarms(caplog)
    assert "50 KCash short: no tournament is published" in solvency_page(finance)
    assert (status(bonus), payout_of(bonus).tries) == ("PENDING", 0)
    transfer(engine, treasury, float_wallet, FLOAT)
    engine.now += timedelta(minutes=2)
    tasks.sample_solvency()
    engine.settle_all()
    assert "the float covers what is owed" in solvency_page(finance)
    assert status(bonus) == "COMPLETED"


@walks("An operator's key leaked")
def test_leaked_operator_loses_its_role_and_another_takes_over(
    engine: Engine, finance, fay, settings, caplog
):
    bench, admin = engine.bench, engine.bench.admin
    role = bench.settlement.functions.OPERATOR().call()
    old = engine.open_lane()
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    look(engine)
    send(engine, bench.operator, "settle", [_stolen(engine, 7_000)])

    assert len(look(engine)) >= 1

    assert "Nobody here has ordered" in alarms(caplog)
    assert is_paused()
    assert figure("kgen_chain_events_unknown") == [2]
    # The chain: stop, take the role from the leaked key, give it to a new one with gas money.
    send(engine, admin, "pause")
    send(engine, admin, "revokeRole", role, bench.operator)
    key = "05" * 32
    new = EnvironmentOperator(key)
    send(engine, admin, "grantRole", role, bench.web3.to_checksum_address(new.address))
    bench.chain.rpc("anvil_setBalance", new.address, hex(10**20))
    # The platform: both keys until the old lane has no open slot.
    engine.tick()
    assert old.slots.filter(state="OPEN").count() == 0
    settings.OPERATOR_KEY = key
    engine.signer = new
    # What the thief did is known now, and the contract pays again.
    for event in ChainEvent.objects.filter(meaning="UNKNOWN"):
        press(finance, event, "explain")
    send(engine, admin, "unpause")
    call_command("resume_payouts", user=fay, reason="a new operator")
    engine.settle_all()
    assert (status(bonus), engine.onchain(wallet)) == ("COMPLETED", 50)
    assert Slot.objects.get().operator.address == new.address
    assert not bench.settlement.functions.hasRole(role, bench.operator).call()
    assert (figure("kgen_chain_events_unknown"), is_paused()) == ([0], False)


@walks("The seed of the gamers' wallets leaked")
def test_wallet_that_a_thief_emptied_pauses_payouts_and_is_filled_from_the_float(
    engine: Engine, finance, fay, caplog
):
    bonus = give_bonus(WalletFactory.create())
    engine.settle_all()
    assert look(engine) == []
    wallet = bonus.wallet
    transfer(engine, wallet.address, new_address(), 50)

    found = look(engine)

    assert "Nobody here has ordered" in alarms(caplog)
    assert (len(found) >= 1, is_paused()) == (True, True)
    transfer(engine, engine.bench.float_wallet, wallet.address, 50)
    tasks.read_chain()
    for event in ChainEvent.objects.filter(meaning="UNKNOWN"):
        press(finance, event, "explain")
    assert look(engine) == []
    call_command("resume_payouts", user=fay, reason="the wallet is filled")
    assert engine.onchain(wallet) == 50
    assert (look(engine), is_paused()) == ([], False)


@walks("The float wallet's key leaked")
def test_new_float_wallet_comes_with_a_new_contract(engine: Engine, finance, fay, settings, caplog):
    bench, old_contract = engine.bench, settings.SETTLEMENT_ADDRESS
    look(engine)
    # One that is sent too late, and comes back with an id of the old contract.
    sent = give_bonus(WalletFactory.create())
    engine.chain.before_send = lost
    engine.tick()
    engine.chain.before_send = None
    transfer(engine, bench.float_wallet, new_address(), 7_000)

    assert len(look(engine)) >= 1

    assert ("Nobody here has ordered" in alarms(caplog), is_paused()) == (True, True)
    bonus = give_bonus(WalletFactory.create())
    send(engine, bench.admin, "pause")
    engine.now += timedelta(seconds=10)
    engine.tick()
    engine.finalize()
    engine.tick()
    assert figure("kgen_lane_open_slots") == [0]
    old_payouts = [payout_of(sent), payout_of(bonus)]
    assert [(one.state, one.onchain_id is None) for one in old_payouts] == [
        ("PENDING", False),
        ("PENDING", True),
    ]
    # A new wallet, what was saved in it, and a contract that pays from it.
    key = "06" * 32
    new_float = Account.from_key(key).address
    rescued = bench.balance(bench.float_wallet)
    bench.chain.rpc("anvil_setBalance", new_float, hex(10**20))
    transfer(engine, bench.float_wallet, new_float, rescued)
    bench.chain.rpc("evm_setAutomine", True)
    settings.SETTLEMENT_ADDRESS = deploy_settlement(
        bench.chain.url,
        kcash=settings.KCASH_ADDRESS,
        admin_key=django_settings.ADMIN_KEY,
        float_key=key,
        operator_address=bench.operator,
    )
    bench.chain.rpc("evm_setAutomine", False)
    settings.FLOAT_ADDRESS = new_float.lower()
    call_command("rehome_payouts", old_address=old_contract, user=fay, reason="a new float")
    # What waits to be paid from the old wallet is void, and is netted anew.
    for payout in Payout.objects.filter(state="PENDING", kind__in=["IN", "OUT"]):
        press(finance, payout, "void")
    assert [Payout.objects.get(pk=one.pk).state for one in old_payouts] == ["VOIDING", "VOIDED"]
    engine.settle_all()
    assert [Payout.objects.get(pk=one.pk).state for one in old_payouts] == ["VOIDED", "VOIDED"]
    tasks.read_chain()
    for event in ChainEvent.objects.filter(meaning="UNKNOWN"):
        press(finance, event, "explain")
    assert look(engine) == []
    call_command("resume_payouts", user=fay, reason="a new float")
    engine.settle_all()
    for transaction in (sent, bonus):
        paid = payout_of(transaction)
        assert (paid.state, paid.from_address) == ("COMPLETED", new_float.lower())
        assert (status(transaction), engine.onchain(transaction.wallet)) == ("COMPLETED", 50)
    assert bench.balance(new_float) == rescued - 100
    assert (look(engine), is_paused()) == ([], False)


@walks("The node is out of reach")
def test_while_no_node_answers_nothing_moves_and_a_second_one_takes_over(
    engine: Engine, settings, caplog
):
    bonus = give_bonus(WalletFactory.create())
    node, settings.CHAIN_RPC_URL = settings.CHAIN_RPC_URL, f"http://127.0.0.1:{free_port()}"

    with pytest.raises(ChainUnavailable):
        _tick_by(connect(), engine)
    tasks.read_chain()

    assert "The chain's events could not be read" in caplog.text
    assert (status(bonus), Payout.objects.count()) == ("PENDING", 0)
    settings.CHAIN_RPC_URL_2 = node
    chain = connect()
    with pytest.raises(ChainUnavailable):
        _tick_by(chain, engine)
    assert "Node 1 is out of reach" in caplog.text
    for _ in range(3):
        _tick_by(chain, engine)
        engine.finalize()
    assert status(bonus) == "COMPLETED"


@walks("The node is out of reach")
def test_a_node_that_has_stopped_is_told_of_and_nothing_is_decided_on_it(
    engine: Engine, finance, caplog, monkeypatch
):
    stale_after = timedelta(minutes=10)
    watched = replace(networks.of(31337), stale_after=stale_after)
    monkeypatch.setitem(networks.NETWORKS, 31337, watched)
    bonus = give_bonus(WalletFactory.create())
    engine.finalize()
    final = engine.chain.finalized()

    engine.now = final.made_at + stale_after - timedelta(seconds=1)
    with pytest.raises(ChainStale, match=f"The newest final block, {final.number}, is of "):
        engine.tick()
    solvency.take_sample(chain=engine.chain, now=engine.now)
    run = drift.first_look(scope=Scope.FULL, chain=engine.chain, now=engine.now)

    assert f"The newest final block, {final.number}, is of" in alarms(caplog)
    assert figure("kgen_chain_stale") == [1]
    assert "settlement waits: the newest final block is 10 min 1 s old" in solvency_page(finance)
    assert run.problem.startswith("The chain could not be asked: The newest final block")
    assert (status(bonus), Payout.objects.count(), Slot.objects.count()) == ("PENDING", 0, 0)
    # The youngest that it may be.
    caplog.clear()
    SolvencySample.objects.all().delete()
    engine.now = final.made_at + stale_after - timedelta(seconds=2)
    engine.tick()
    solvency.take_sample(chain=engine.chain, now=engine.now)
    run = drift.first_look(scope=Scope.FULL, chain=engine.chain, now=engine.now)
    assert (alarms(caplog), figure("kgen_chain_stale"), run.problem) == ("", [0], "")
    assert (payout_of(bonus).state, Slot.objects.count()) == ("SUBMITTED", 1)
    # Read by the clock on the wall, to which no block is old enough.
    monkeypatch.setitem(networks.NETWORKS, 31337, replace(watched, stale_after=timedelta(days=-1)))
    tasks.read_chain()
    assert "The chain's events could not be read: The newest final block" in caplog.text
    assert not ChainCursor.objects.exists()


@walks("A new Settlement contract")
def test_open_payouts_move_to_the_new_contract(engine: Engine, finance, fay, settings, capsys):
    bench, old_contract = engine.bench, settings.SETTLEMENT_ADDRESS
    bonus = give_bonus(WalletFactory.create())
    # The contract is paused when it comes, so it is not paid, and has an id of that contract.
    engine.chain.before_send = lost
    engine.tick()
    engine.chain.before_send = None
    press(finance, PayoutSwitch.objects.get(), "pause")
    send(engine, bench.admin, "pause")
    engine.now += timedelta(seconds=10)
    engine.tick()
    engine.finalize()
    engine.tick()
    assert (payout_of(bonus).state, payout_of(bonus).tries) == ("PENDING", 1)
    assert figure("kgen_lane_open_slots") == [0]
    bench.chain.rpc("evm_setAutomine", True)
    settings.SETTLEMENT_ADDRESS = deploy_settlement(
        bench.chain.url,
        kcash=settings.KCASH_ADDRESS,
        admin_key=django_settings.ADMIN_KEY,
        float_key=django_settings.FLOAT_KEY,
        operator_address=bench.operator,
    )
    bench.chain.rpc("evm_setAutomine", False)

    call_command("rehome_payouts", old_address=old_contract, user=fay, reason="new caps")
    call_command("resume_payouts", user=fay, reason="new caps")
    engine.settle_all()

    assert "1 payouts now wait for" in capsys.readouterr().out
    paid = payout_of(bonus)
    assert (paid.state, paid.settlement_address) == ("COMPLETED", settings.SETTLEMENT_ADDRESS)
    assert (look(engine), is_paused()) == ([], False)


@walks("Payouts are paused after drift")
def test_payment_by_hand_is_explained_and_payouts_are_resumed(engine: Engine, finance, caplog):
    engine.open_lane()
    look(engine)
    transfer(engine, engine.bench.float_wallet, new_address(), 30)

    assert look(engine) == ["The chain did what was ordered"]

    assert "Payouts are paused. Drift, 1 findings" in alarms(caplog)
    tasks.sample_solvency()
    assert "payouts are paused" in solvency_page(finance)
    bonus = give_bonus(WalletFactory.create())
    engine.tick()
    assert status(bonus) == "PENDING"
    press(finance, ChainEvent.objects.get(meaning="UNKNOWN"), "explain")
    press(finance, PayoutSwitch.objects.get(), "resume")
    engine.settle_all()
    assert (status(bonus), look(engine), is_paused()) == ("COMPLETED", [], False)


def _use_key_of(engine: Engine, operator: Operator) -> None:
    somebody = engine.bench.web3.to_checksum_address(new_address())
    send(engine, operator.address, "approve", somebody, 1, of=engine.bench.kcash)


def _tick_by(chain: Chain, engine: Engine) -> None:
    engine.now += timedelta(seconds=2)
    lanes.tick(chain=chain, signer=engine.signer, custodian=engine.custodian, now=engine.now)


def _stolen(engine: Engine, amount: int) -> tuple[object, ...]:
    """A claim that the operator's key alone can make."""
    checksum = engine.bench.web3.to_checksum_address
    return (
        bytes(31) + b"\7",
        checksum(engine.bench.float_wallet),
        checksum(new_address()),
        amount,
        bytes(32),
        bytes(32),
    )


def _text(client, page: str) -> str:
    return re.sub(r"<[^>]+>", " ", client.get(reverse(page)).content.decode())


# --- The page itself -----------------------------------------------------------------------------


def test_each_scenario_of_the_runbook_is_walked():
    headings = re.findall(r"^## (.+)$", RUNBOOK.read_text(), flags=re.MULTILINE)

    assert [one for one in headings if one not in _walked] == ["What to watch"]
    assert _walked - set(headings) == set()


def test_commands_and_figures_of_the_runbook_exist(engine: Engine):
    text = RUNBOOK.read_text()
    engine.settle_all()
    tasks.sample_solvency()
    look(engine)

    commands = set(re.findall(r"manage\.py (\w+)", text))
    figures = set(re.findall(r"`(kgen_\w+)", text))

    assert commands
    assert commands - set(get_commands()) == set()
    assert figures
    collected = [
        family
        for name in django_settings.METRICS
        for family in import_string(name)(now=timezone.now())
    ]
    counted = list(REGISTRY.collect())
    told = {family.name for family in (*collected, *counted)}
    assert figures - told - {f"{family.name}_total" for family in counted} == set()
