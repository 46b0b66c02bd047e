"""T7 and T11: what may be wrong with a payout, with a batch, or with the contract itself."""

from datetime import timedelta

import pytest
from web3 import Web3

from wallet.models import Payout, Permit, Slot, Wallet
from wallet.settlement import lanes, submitting
from wallet.settlement.calldata import Signature
from wallet.settlement.signing import EnvironmentCustodian
from wallet.settlement.tests.faults.behind_our_back import (
    at_once,
    move_kcash,
    other_operator,
    step_by_step,
)
from wallet.settlement.tests.faults.books import assert_books_equal_chain
from wallet.tests.chain import new_address
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import Engine, give_bonus, join, payout_of, status, withdraw

pytestmark = pytest.mark.chaos

DAY_CAP = 1_000_000_000
CAP = (100_000_000, DAY_CAP)


@pytest.fixture
def wallets(engine: Engine) -> list[Wallet]:
    """Three that hold their bonus on the chain."""
    made = [WalletFactory.create() for _ in range(3)]
    for wallet in made:
        give_bonus(wallet)
    engine.settle_all()
    return made


# --- T7 ------------------------------------------------------------------------------------------


def test_a_payout_that_cannot_be_paid_fails_alone_and_is_paid_once_it_can_be(
    engine: Engine, wallets
):
    poor = wallets[0]
    thief = new_address()
    move_kcash(engine, poor.address, thief, 50)
    fees = [join(wallet, 10) for wallet in wallets]

    for _ in range(3):
        engine.tick()
        engine.finalize()
    engine.tick()
    assert [status(fee) == "COMPLETED" for fee in fees] == [False, True, True]

    move_kcash(engine, thief, poor.address, 50)
    engine.now += timedelta(hours=1)
    engine.settle_all()

    assert [status(fee) for fee in fees] == ["COMPLETED"] * 3
    assert_books_equal_chain(engine.bench)


def test_a_batch_in_which_nothing_can_be_paid_harms_nobody_behind_it(engine: Engine, wallets):
    thief = new_address()
    for wallet in wallets:
        move_kcash(engine, wallet.address, thief, 50)
    fees = [join(wallet, 10) for wallet in wallets]
    engine.tick()
    engine.finalize()
    bonus = give_bonus(WalletFactory.create())
    for _ in range(3):
        engine.tick()
        engine.finalize()
    engine.tick()
    assert status(bonus) == "COMPLETED"
    assert "COMPLETED" not in {status(fee) for fee in fees}

    for wallet in wallets:
        move_kcash(engine, thief, wallet.address, 50)
    engine.now += timedelta(hours=1)
    engine.settle_all()
    assert_books_equal_chain(engine.bench)


def test_a_contract_paused_under_a_batch_pays_it_when_it_works_again(engine: Engine):
    bonus = give_bonus(WalletFactory.create())
    engine.tick()
    engine.bench.chain.rpc("anvil_dropAllTransactions")
    bench = at_once(engine)
    bench.call(bench.admin, "pause")
    step_by_step(engine)
    for _ in range(5):
        engine.now += timedelta(seconds=10)
        engine.tick()
        engine.finalize()
    assert status(bonus) != "COMPLETED"
    assert Slot.objects.count() == 1  # no gas is burned on a contract that pays nothing

    bench = at_once(engine)
    bench.call(bench.admin, "unpause")
    step_by_step(engine)
    engine.now += timedelta(hours=1)
    engine.settle_all()

    assert status(bonus) == "COMPLETED"
    assert_books_equal_chain(engine.bench)


def test_a_day_whose_cap_is_reached_pays_the_rest_on_the_next(engine: Engine):
    bench = at_once(engine)
    spent = bench.settlement.functions.claimedOn(bench.today()).call()
    bench.call(bench.admin, "setCaps", 200, (CAP[0], spent + 70), CAP)
    step_by_step(engine)
    bonuses = [give_bonus(WalletFactory.create()) for _ in range(3)]
    for _ in range(3):
        engine.tick()
        engine.finalize()
    engine.tick()
    assert [status(bonus) for bonus in bonuses].count("COMPLETED") == 1

    for _ in range(2):
        engine.bench.chain.rpc("evm_increaseTime", 86_400)
        engine.mine()
        for _ in range(3):
            engine.now += timedelta(hours=8)
            engine.tick()
            engine.finalize()
    engine.tick()

    assert [status(bonus) for bonus in bonuses] == ["COMPLETED"] * 3
    assert_books_equal_chain(engine.bench)


def test_an_operator_without_gas_waits_for_a_person_and_pays_when_it_has_some(engine: Engine):
    lane, operator = engine.open_lane(), engine.bench.operator
    engine.bench.chain.rpc("anvil_setBalance", operator, hex(10**9))
    bonus = give_bonus(WalletFactory.create())
    for _ in range(3):
        engine.tick()
        engine.finalize()
    lane.refresh_from_db()
    assert (lane.is_paused, Slot.objects.count(), status(bonus)) == (True, 0, "PENDING")

    engine.bench.chain.rpc("anvil_setBalance", operator, hex(10**24))
    lanes.resume(operator_id=lane.pk, by="ops", reason="filled up")
    engine.settle_all()

    assert status(bonus) == "COMPLETED"
    assert_books_equal_chain(engine.bench)


def test_a_batch_with_too_little_gas_is_not_sent_and_no_item_is_called_failed(
    engine: Engine, monkeypatch
):
    lane = engine.open_lane()
    bonuses = [give_bonus(WalletFactory.create()) for _ in range(3)]
    with monkeypatch.context() as thrifty:
        thrifty.setattr(submitting, "_GAS", 150_000)
        thrifty.setattr(submitting, "_GAS_PER_ITEM", 10_000)
        engine.tick()
    lane.refresh_from_db()
    assert "StarvedOfGas" in lane.pause_reason
    assert Slot.objects.count() == 0
    assert {(payout_of(bonus).tries, payout_of(bonus).error) for bonus in bonuses} == {(0, "")}

    lanes.resume(operator_id=lane.pk, by="ops", reason="mended")
    engine.settle_all()

    assert [status(bonus) for bonus in bonuses] == ["COMPLETED"] * 3
    assert_books_equal_chain(engine.bench)


def test_a_batch_starved_of_gas_on_the_chain_is_reverted_whole_and_paid_with_more(
    engine: Engine, monkeypatch
):
    """The node foresaw nothing of it."""
    bonuses = [give_bonus(WalletFactory.create()) for _ in range(3)]
    foresee = engine.chain.preflight
    with monkeypatch.context() as thrifty:
        thrifty.setattr(submitting, "_GAS", 150_000)
        thrifty.setattr(submitting, "_GAS_PER_ITEM", 10_000)
        thrifty.setattr(
            engine.chain,
            "preflight",
            lambda data, **asked: foresee(data, **{**asked, "gas": 10**6}),
        )
        engine.tick()
    engine.finalize()
    engine.tick()
    assert {(payout_of(bonus).tries, payout_of(bonus).error) for bonus in bonuses} == {
        (1, "the whole batch was reverted")
    }

    engine.now += timedelta(hours=1)
    engine.settle_all()

    assert [status(bonus) for bonus in bonuses] == ["COMPLETED"] * 3
    assert_books_equal_chain(engine.bench)


# --- T11 -----------------------------------------------------------------------------------------


def test_what_was_won_comes_before_its_withdrawal_in_one_batch(engine: Engine):
    withdrawals = [withdraw(WalletFactory.create(), 70) for _ in range(3)]

    engine.settle_all()

    assert [status(entry) for entry in withdrawals] == ["COMPLETED"] * 3
    settling = Slot.objects.filter(action="SETTLE")
    assert [slot.items.count() for slot in settling] == [6]
    assert_books_equal_chain(engine.bench)


def test_a_permit_that_somebody_else_sent_first_is_as_good(engine: Engine, wallets):
    permits = [engine.bench.permit(wallet.hd_index) for wallet in wallets]
    fees = [join(wallet, 10) for wallet in wallets]
    engine.tick()
    engine.bench.chain.rpc("anvil_dropAllTransactions")
    bench = at_once(engine)
    assert bench.permit_many(permits, sender=Web3.to_checksum_address(new_address())).is_success
    step_by_step(engine)

    engine.now += timedelta(seconds=10)
    engine.settle_all()

    assert [status(fee) for fee in fees] == ["COMPLETED"] * 3
    assert set(Permit.objects.values_list("state", flat=True)) == {"GRANTED"}
    assert_books_equal_chain(engine.bench)


class WrongCustodian(EnvironmentCustodian):
    """Signs each payout with the neighbour's key."""

    def sign_payout(self, *, hd_index: int, **payout) -> Signature:
        return super().sign_payout(hd_index=hd_index + 1, **payout)


def test_a_payout_signed_by_somebody_else_is_not_paid(engine: Engine, wallets):
    right, engine.custodian = engine.custodian, WrongCustodian()
    fee = join(wallets[0], 10)
    for _ in range(3):
        engine.tick()
        engine.finalize()
    engine.tick()
    assert status(fee) != "COMPLETED"
    assert engine.onchain(wallets[0]) == 50

    engine.custodian = right
    engine.now += timedelta(hours=1)
    engine.settle_all()

    assert status(fee) == "COMPLETED"
    assert_books_equal_chain(engine.bench)


def test_an_id_that_paid_another_amount_is_left_to_a_person(engine: Engine):
    wallet, other = WalletFactory.create(), WalletFactory.create()
    bonus, fine = give_bonus(wallet), give_bonus(other)
    engine.tick()
    taken = str(payout_of(bonus).onchain_id)
    engine.bench.chain.rpc("anvil_dropAllTransactions")
    thief = other_operator(engine)
    bench = at_once(engine)
    bench.settle([bench.claim(new_address(), 49, onchain_id=taken)], sender=thief)
    step_by_step(engine)

    engine.now += timedelta(seconds=10)
    engine.settle_all()

    assert (payout_of(bonus).state, status(fine)) == (Payout.State.REVIEW, "COMPLETED")
    assert engine.onchain(wallet) == 0
    assert_books_equal_chain(engine.bench, strangers=[taken], still_open=["REVIEW"])
