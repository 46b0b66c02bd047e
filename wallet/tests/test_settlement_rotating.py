"""A new Settlement contract takes over while payouts are open."""

from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from eth_account import Account

from kgen.common.models import StaffAct
from wallet import ledger, reconciliation
from wallet.models import Payout, Permit, Slot
from wallet.settlement import rotating, voiding
from wallet.settlement.broadcasting import broadcast
from wallet.settlement.chain import UNUSED, VOIDED
from wallet.settlement.confirming import confirm
from wallet.settlement.deploying import FLOAT, deploy_settlement
from wallet.settlement.rotating import OldContractBusy, OldContractPays, SameContract
from wallet.tests.chain import Bench
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import (
    Engine,
    give_bonus,
    join,
    lost,
    payout_of,
    status,
    withdraw,
)


@pytest.fixture
def new_address(engine: Engine, bench: Bench) -> str:
    """A second contract for the same KCash and float wallet, not named by the settings yet."""
    bench.chain.rpc("evm_setAutomine", True)
    address = deploy_settlement(
        bench.chain.url,
        kcash=django_settings.KCASH_ADDRESS,
        admin_key=django_settings.ADMIN_KEY,
        float_key=django_settings.FLOAT_KEY,
        operator_address=Account.from_key(django_settings.OPERATOR_KEY).address,
    )
    bench.chain.rpc("evm_setAutomine", False)
    return address


def pause(engine: Engine, bench: Bench) -> None:
    send(engine, bench, bench.admin, "pause")


def send(engine: Engine, bench: Bench, sender: str, function: str, *arguments, of=None) -> None:
    bench.chain.rpc("evm_setAutomine", True)
    assert bench.call(sender, function, *arguments, of=of).is_success
    bench.chain.rpc("evm_setAutomine", False)


def fail_once(engine: Engine, bench: Bench) -> None:
    """What is due comes back unpaid: the float wallet allows nothing while its slot is mined."""
    owner = bench.web3.to_checksum_address(bench.float_wallet)
    spender = bench.settlement.address
    allowed = bench.kcash.functions.allowance(owner, spender).call()
    engine.tick()
    bench.chain.rpc("anvil_dropAllTransactions")
    send(engine, bench, owner, "approve", spender, 0, of=bench.kcash)
    engine.now += timedelta(hours=1)
    lane = engine.open_lane().pk
    broadcast(operator_id=lane, chain=engine.chain, now=engine.now)
    engine.finalize()
    confirm(operator_id=lane, chain=engine.chain, now=engine.now)
    send(engine, bench, owner, "approve", spender, allowed, of=bench.kcash)


def rehome(engine: Engine, old_address: str) -> rotating.Rehomed:
    return rotating.rehome(chain=engine.chain, old_address=old_address, now=engine.now)


def test_what_waits_moves_to_the_new_contract_and_is_paid_there_once(
    engine: Engine, bench: Bench, new_address, settings
):
    old_address = settings.SETTLEMENT_ADDRESS
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    fail_once(engine, bench)
    waiting = payout_of(bonus)
    assert (waiting.state, waiting.tries) == ("PENDING", 1)
    pause(engine, bench)
    engine.finalize()
    settings.SETTLEMENT_ADDRESS = new_address

    engine.settle_all()
    assert payout_of(bonus).state == "PENDING"  # nobody has said yet that it may move
    rehomed = rehome(engine, old_address)
    engine.settle_all()

    paid = payout_of(bonus)
    assert [payout.pk for payout in rehomed.moved] == [waiting.pk]
    assert (paid.state, paid.settlement_address) == ("COMPLETED", new_address)
    assert paid.onchain_id != waiting.onchain_id
    assert (status(bonus), engine.onchain(wallet)) == ("COMPLETED", 50)


def test_a_withdrawal_moves_with_a_permit_and_signature_for_the_new_contract(
    engine: Engine, bench: Bench, new_address, settings
):
    old_address = settings.SETTLEMENT_ADDRESS
    wallet = WalletFactory.create()
    withdrawal = withdraw(wallet, 30)
    fail_once(engine, bench)
    assert Permit.objects.get().state == "GRANTED"
    pause(engine, bench)
    engine.finalize()
    settings.SETTLEMENT_ADDRESS = new_address

    rehomed = rehome(engine, old_address)
    engine.settle_all()

    assert [payout.kind for payout in rehomed.moved] == ["IN", "WITHDRAW"]
    assert status(withdrawal) == "COMPLETED"
    assert bench.balance(payout_of(withdrawal).to_address) == 30
    assert engine.onchain(wallet) == 0
    assert Permit.objects.filter(state="GRANTED").count() == 2


def test_nothing_moves_before_the_old_contract_is_paused_and_that_is_final(
    engine: Engine, bench: Bench, new_address, settings
):
    old_address = settings.SETTLEMENT_ADDRESS
    give_bonus(WalletFactory.create())
    fail_once(engine, bench)
    before = Payout.objects.values().get()

    with pytest.raises(SameContract):
        rehome(engine, old_address)
    settings.SETTLEMENT_ADDRESS = new_address
    with pytest.raises(OldContractPays):
        rehome(engine, old_address)
    pause(engine, bench)
    with pytest.raises(OldContractPays):
        rehome(engine, old_address)

    assert Payout.objects.values().get() == before
    engine.finalize()
    assert len(rehome(engine, old_address).moved) == 1


def test_nothing_moves_while_the_old_contract_has_a_slot_open(
    engine: Engine, bench: Bench, new_address, settings
):
    old_address = settings.SETTLEMENT_ADDRESS
    waiting = give_bonus(WalletFactory.create())
    fail_once(engine, bench)
    wallet = WalletFactory.create()
    paid = give_bonus(wallet)
    engine.tick()
    engine.mine()
    pause(engine, bench)
    settings.SETTLEMENT_ADDRESS = new_address
    engine.finalize()

    with pytest.raises(OldContractBusy):
        rehome(engine, old_address)

    assert Slot.objects.filter(state="OPEN").count() == 1
    engine.tick()  # the old contract's transactions are followed to their end all the same
    assert {payout_of(paid).state, payout_of(waiting).state} == {"COMPLETED"}
    assert rehome(engine, old_address).moved == []
    assert engine.onchain(wallet) == 50


def test_what_the_old_contract_knows_waits_for_a_person(
    engine: Engine, bench: Bench, new_address, settings
):
    old_address = settings.SETTLEMENT_ADDRESS
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    fail_once(engine, bench)
    payout = payout_of(bonus)
    send(engine, bench, bench.operator, "voidIds", [payout.onchain_id])
    pause(engine, bench)
    engine.finalize()
    settings.SETTLEMENT_ADDRESS = new_address

    rehomed = rehome(engine, old_address)
    engine.settle_all()

    assert ([one.pk for one in rehomed.known_there], rehomed.moved) == ([payout.pk], [])
    payout.refresh_from_db()
    assert (payout.state, payout.settlement_address) == ("REVIEW", old_address)
    assert payout.error == f"its id is known to {old_address}"
    assert engine.onchain(wallet) == 0


def test_the_command_is_for_somebody_who_may_and_is_written_down(
    engine: Engine, bench: Bench, new_address, settings, capsys
):
    old_address = settings.SETTLEMENT_ADDRESS
    bonus = give_bonus(WalletFactory.create())
    fail_once(engine, bench)
    pause(engine, bench)
    engine.finalize()
    settings.SETTLEMENT_ADDRESS = new_address
    User.objects.create_user("operator")
    User.objects.create_superuser("chief")
    words = {"old_address": old_address, "reason": "new caps"}

    with pytest.raises(CommandError, match="operator may not rehome payouts"):
        call_command("rehome_payouts", user="operator", **words)
    with pytest.raises(CommandError, match="Give a reason"):
        call_command("rehome_payouts", user="chief", old_address=old_address, reason=" ")
    with pytest.raises(CommandError, match="still names this contract"):
        call_command("rehome_payouts", user="chief", old_address=new_address, reason="x")
    assert payout_of(bonus).settlement_address == old_address
    call_command("rehome_payouts", user="chief", **words)

    assert capsys.readouterr().out == f"1 payouts now wait for {new_address}, 0 for a person.\n"
    assert payout_of(bonus).settlement_address == new_address
    entry = StaffAct.objects.get()
    assert (entry.by_name, entry.object_pk) == ("chief", str(payout_of(bonus).pk))
    assert entry.line() == f"Rehomed from {old_address}: new caps"


# --- A new float wallet as well ------------------------------------------------------------------

NEW_FLOAT_KEY = "06" * 32


def revert_once(engine: Engine, bench: Bench) -> None:
    """What is due comes back unpaid, as the contract is paused for good before it is mined."""
    engine.chain.before_send = lost
    engine.tick()
    engine.chain.before_send = None
    pause(engine, bench)
    engine.now += timedelta(seconds=10)
    engine.tick()
    engine.finalize()
    engine.tick()


def change_float(engine: Engine, bench: Bench, settings) -> str:
    """A contract that pays from another wallet, both named by the settings; says which wallet."""
    new_float = Account.from_key(NEW_FLOAT_KEY).address
    bench.chain.rpc("anvil_setBalance", new_float, hex(10**20))
    send(engine, bench, bench.admin, "transfer", new_float, FLOAT, of=bench.kcash)
    bench.chain.rpc("evm_setAutomine", True)
    settings.SETTLEMENT_ADDRESS = deploy_settlement(
        bench.chain.url,
        kcash=django_settings.KCASH_ADDRESS,
        admin_key=django_settings.ADMIN_KEY,
        float_key=NEW_FLOAT_KEY,
        operator_address=bench.operator,
    )
    bench.chain.rpc("evm_setAutomine", False)
    settings.FLOAT_ADDRESS = new_float.lower()
    return str(settings.FLOAT_ADDRESS)


def void(engine: Engine, payout: Payout) -> Payout:
    return voiding.begin_void(payout_uid=payout.pk, by="fay", reason="old float", now=engine.now)


def record(engine: Engine, payout: Payout) -> bytes:
    """What the contract that a payout is named on knows of it."""
    [found] = engine.chain.records(
        [str(payout.onchain_id)],
        settlement_address=str(payout.settlement_address),
        block=engine.chain.finalized_block(),
    )
    return found


def books_are_right() -> bool:
    return [finding for audit in reconciliation.AUDITS for finding in audit.find()] == []


@pytest.mark.parametrize("is_rehomed", [True, False])
def test_what_an_old_float_owed_is_voided_where_it_is_named_and_paid_once_by_the_new_one(
    engine: Engine, bench: Bench, settings, is_rehomed
):
    old_address = settings.SETTLEMENT_ADDRESS
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    revert_once(engine, bench)
    with pytest.raises(voiding.NotVoidable):
        void(engine, payout_of(bonus))  # its float wallet is still the one that pays
    new_float = change_float(engine, bench, settings)
    if is_rehomed:
        rehome(engine, old_address)
    engine.settle_all()
    waiting = payout_of(bonus)
    named_on = settings.SETTLEMENT_ADDRESS if is_rehomed else old_address
    assert (waiting.state, waiting.settlement_address) == ("PENDING", named_on)
    assert (record(engine, waiting), engine.onchain(wallet)) == (UNUSED, 0)

    void(engine, waiting)
    assert (payout_of(bonus).state, status(bonus)) == ("VOIDING", "PROCESSING")
    engine.settle_all()

    waiting.refresh_from_db()
    assert (waiting.state, record(engine, waiting)) == ("VOIDED", VOIDED)
    assert Slot.objects.get(action="VOID").settlement_address == named_on
    paid = payout_of(bonus)
    assert (paid.state, paid.from_address, paid.amount) == ("COMPLETED", new_float, 50)
    assert paid.settlement_address == settings.SETTLEMENT_ADDRESS
    assert paid.onchain_id != waiting.onchain_id
    assert Payout.objects.count() == 2
    assert engine.onchain(wallet) == ledger.balances(wallet.pk).onchain == 50
    assert bench.balance(new_float) == FLOAT - 50
    assert rehome(engine, old_address).moved == []
    assert books_are_right()


@pytest.mark.parametrize("was_submitted", [True, False])
def test_nothing_goes_to_an_old_float_any_more_and_what_was_to_go_is_voided(
    engine: Engine, bench: Bench, settings, was_submitted
):
    old_address, old_float = settings.SETTLEMENT_ADDRESS, settings.FLOAT_ADDRESS
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    engine.settle_all()
    fee = join(wallet, 20)
    if was_submitted:
        revert_once(engine, bench)
    else:
        pause(engine, bench)
        engine.tick()
        engine.finalize()
    waiting = payout_of(fee)
    assert (waiting.kind, waiting.state) == ("OUT", "PENDING")
    assert (waiting.onchain_id is not None) == was_submitted
    held = bench.balance(old_float)
    new_float = change_float(engine, bench, settings)
    rehome(engine, old_address)

    engine.settle_all()
    assert (payout_of(fee).state, bench.balance(old_float)) == ("PENDING", held)
    void(engine, payout_of(fee))
    engine.settle_all()

    waiting.refresh_from_db()
    paid = payout_of(fee)
    assert (waiting.state, status(bonus), status(fee)) == ("VOIDED", "COMPLETED", "COMPLETED")
    assert (paid.state, paid.to_address, paid.amount) == ("COMPLETED", new_float, 20)
    assert (bench.balance(old_float), bench.balance(new_float)) == (held, FLOAT + 20)
    assert engine.onchain(wallet) == ledger.balances(wallet.pk).onchain == 30
    assert books_are_right()


def test_a_withdrawal_behind_what_an_old_float_owed_follows_the_new_net(
    engine: Engine, bench: Bench, settings
):
    old_address = settings.SETTLEMENT_ADDRESS
    wallet = WalletFactory.create()
    withdrawal = withdraw(wallet, 30)
    revert_once(engine, bench)
    change_float(engine, bench, settings)
    rehome(engine, old_address)
    engine.settle_all()
    with pytest.raises(voiding.NotVoidable):
        void(engine, payout_of(withdrawal))
    net = Payout.objects.get(kind="IN")
    assert (net.state, payout_of(withdrawal).state) == ("PENDING", "PENDING")

    void(engine, net)
    engine.now += timedelta(minutes=2)  # the withdrawal was held back together with it
    engine.settle_all()

    assert payout_of(withdrawal).state == "COMPLETED"
    assert bench.balance(payout_of(withdrawal).to_address) == 30
    assert (engine.onchain(wallet), ledger.balances(wallet.pk).hold) == (0, 0)
    assert books_are_right()
