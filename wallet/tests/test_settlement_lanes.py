"""Several lanes side by side, and one of them alone: stopped, started, refused."""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from io import StringIO
from uuid import UUID

import pytest
from coincurve import PrivateKey
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.transaction import atomic
from web3 import Web3

from accounts.tests.staff import staff_user
from kgen.common.admin import FINANCE, SUPPORT
from kgen.common.models import StaffAct
from wallet import custody, ledger, reconciliation, tasks, withdrawals
from wallet.addresses import address_of
from wallet.models import Operator, Payout, Permit, Slot, SlotItem, Wallet, WalletTransaction
from wallet.settlement import lane, lanes, picking
from wallet.settlement.batching import group_transactions
from wallet.settlement.chain import CallReverted, Receipt
from wallet.settlement.lanes import LaneNotPaused
from wallet.settlement.signing import EnvironmentOperator
from wallet.settlement.verifying import WrongChain
from wallet.tests.chain import Bench
from wallet.tests.factories import KgenWalletFactory, WalletFactory
from wallet.tests.settling import START, Engine, give_bonus, join, payout_of, status, win

KEYS = ["01" * 32, "04" * 32]


def second_operator(bench: Bench) -> EnvironmentOperator:
    """A key of its own, with the role and gas."""
    signer = EnvironmentOperator(KEYS[1])
    address = Web3.to_checksum_address(signer.address)
    role = bench.settlement.functions.OPERATOR().call()
    bench.call(bench.admin, "grantRole", role, address)
    bench.chain.rpc("anvil_setBalance", address, hex(10**24))
    return signer


@pytest.fixture
def two(engine: Engine) -> list[Engine]:
    """Two lanes on one chain, in step."""
    engine.bench.chain.rpc("evm_setAutomine", True)
    other = Engine(engine.bench)
    other.signer = second_operator(engine.bench)
    engine.bench.chain.rpc("evm_setAutomine", False)
    return [engine, other]


def gamer_with_kgen_wallet() -> Wallet:
    wallet: Wallet = WalletFactory.create(gamer__game__min_withdrawal=1)
    linked = KgenWalletFactory.create(now=START)
    wallet.gamer.kgen_account = linked.account
    wallet.gamer.save()
    return wallet


def withdraw(wallet: Wallet) -> WalletTransaction:
    done = withdrawals.withdraw(gamer=wallet.gamer, now=START)
    return WalletTransaction.objects.get(uid=done.transaction_uid)


# --- Side by side --------------------------------------------------------------------------------


def test_key_of_the_second_lane(settings):
    settings.OPERATOR_KEYS = KEYS

    addresses = {EnvironmentOperator(key).address for key in KEYS}

    assert addresses == {
        address_of(PrivateKey(bytes.fromhex(key)).public_key.format()) for key in KEYS
    }
    assert len(addresses) == 2


def test_a_lane_takes_nothing_of_a_wallet_that_another_one_has(two):
    first, second = two
    give_bonus(wallet := WalletFactory.create())
    first.tick()
    win(wallet, 5)

    assert second.tick().submitted == 0

    first.finalize()
    lanes.pause(operator_id=first.open_lane().pk, reason="so that the other one is next", now=START)
    first.tick()
    assert second.tick().submitted == 1
    second.finalize()
    second.tick()
    assert ledger.balances(wallet.pk).onchain == first.onchain(wallet) == 55
    assert list(Slot.objects.values_list("operator__address", flat=True).order_by("pk")) == [
        first.signer.address,
        second.signer.address,
    ]


def test_lanes_do_not_prepare_the_same_batch(two):
    first, second = two
    for wallet in WalletFactory.create_batch(3):
        give_bonus(wallet)
    group_transactions(now=first.now)
    oldest = [payout.pk for payout in Payout.objects.order_by("created_at", "seq", "wallet")]

    def picked(engine: Engine, batch: int) -> list[UUID]:
        lane_id = engine.open_lane().pk
        return [payout.pk for payout in picking.pick(operator_id=lane_id, batch=batch, now=START)]

    assert sorted(picked(first, 2) + picked(second, 2)) == sorted(oldest)
    # Where there is nothing behind them, they are for whoever comes first.
    assert picked(second, 3) == picked(first, 3) == oldest


def test_slots_are_looked_at_once_a_block(engine: Engine, monkeypatch):
    asked: list[str] = []
    receipts = engine.chain.receipts
    give_bonus(WalletFactory.create())
    engine.tick()

    def overheard(tx_hashes: Sequence[str]) -> Mapping[str, Receipt]:
        asked.extend(tx_hashes)
        return receipts(tx_hashes)

    monkeypatch.setattr(engine.chain, "receipts", overheard)

    for _ in range(3):
        engine.tick()
    seen_before_the_block = list(asked)
    engine.mine()
    for _ in range(3):
        engine.tick()

    assert seen_before_the_block == []
    assert len(asked) == 1


def test_a_wallets_permit_is_used_by_its_own_lane_until_it_is_final(two):
    first, second = two
    give_bonus(wallet := WalletFactory.create())
    first.settle_all()
    fee = join(wallet, 10)
    group_transactions(now=first.now)
    # As if it had stopped between the two slots.
    with atomic():
        slot = Slot.objects.create(
            operator=first.open_lane(),
            nonce=10**6,
            action="PERMIT",
            settlement_address=second.bench.settlement.address.lower(),
            calldata=b"\0",
            gas=1,
            created_at=START,
        )
        permit = Permit.objects.create(
            wallet=wallet, settlement_address=slot.settlement_address, slot=slot
        )
    mine, other = first.open_lane().pk, second.open_lane().pk

    assert picking.pick(operator_id=other, batch=9, now=first.now) == []
    assert picking.pick(operator_id=mine, batch=9, now=first.now) == [payout_of(fee)]

    permit.state = "GRANTED"
    permit.save()
    assert picking.pick(operator_id=other, batch=9, now=first.now) == [payout_of(fee)]


@pytest.mark.slow
def test_two_lanes_in_threads_never_overtake_each_other(committed_database, bench: Bench):
    """Wallets that earn, play and withdraw all the time, and two lanes with two workers each."""
    with atomic():
        wallets = [gamer_with_kgen_wallet() for _ in range(8)]
        for wallet in wallets:
            give_bonus(wallet)
            win(wallet, 30)
    signers = [EnvironmentOperator(KEYS[0]), second_operator(bench)]
    problems: list[BaseException] = []
    is_over = threading.Event()
    lock = threading.Lock()
    clock = [START + timedelta(seconds=60)]

    def now():
        with lock:
            clock[0] += timedelta(seconds=1)
            return clock[0]

    def work(signer: EnvironmentOperator) -> None:
        engine = Engine(bench)
        try:
            while not is_over.is_set():
                lane.tick(chain=engine.chain, signer=signer, custodian=engine.custodian, now=now())
                with lock:
                    bench.chain.mine(2)
        except BaseException as problem:  # noqa: BLE001 - a thread's failure is the test's
            problems.append(problem)
        finally:
            connection.close()

    workers = [threading.Thread(target=work, args=(signer,)) for signer in signers * 2]
    for worker in workers:
        worker.start()
    try:
        for turn in range(4):
            for wallet in wallets:
                with atomic():
                    custody.lock(wallet.pk)
                    win(wallet, 10 + turn)
                    if turn % 2:
                        withdraw(wallet)
                    join(wallet, 5)
        for _ in range(600):
            if problems or not WalletTransaction.objects.exclude(sync_status="COMPLETED").exists():
                break
            is_over.wait(0.2)
    finally:
        is_over.set()
        for worker in workers:
            worker.join()

    assert problems == []
    assert set(WalletTransaction.objects.values_list("sync_status", flat=True)) == {"COMPLETED"}
    assert set(Payout.objects.values_list("state", flat=True)) == {"COMPLETED"}
    for wallet in wallets:
        balances = ledger.balances(wallet.pk)
        assert bench.balance(wallet.address) == balances.onchain == balances.lazy
        assert balances.hold == 0
    withdrawn: dict[str, int] = defaultdict(int)
    for payout in Payout.objects.filter(kind="WITHDRAW"):
        withdrawn[payout.to_address] += payout.amount
    assert {address: bench.balance(address) for address in withdrawn} == withdrawn
    assert left_in_order()
    assert set(
        Operator.objects.filter(slots__action="SETTLE").values_list("address", flat=True)
    ) == {signer.address for signer in signers}
    assert [finding for audit in reconciliation.AUDITS for finding in audit.find()] == []


def left_in_order() -> bool:
    """Whether the chain holds each wallet's payouts in the order of what the wallet did."""
    places = defaultdict(list)
    for item in SlotItem.objects.filter(slot__state="FINAL").select_related("payout"):
        payout = item.payout
        places[payout.wallet_id].append(
            (payout.seq, payout.block_number, item.slot_id, item.position)
        )
    for of_wallet in places.values():
        by_seq = sorted(of_wallet)
        if [one[1:] for one in by_seq] != sorted(one[1:] for one in by_seq):
            return False
    return bool(places)


def test_each_lane_has_a_task_of_its_own(engine: Engine, settings):
    settings.OPERATOR_KEYS = KEYS
    bench = engine.bench
    bench.chain.rpc("evm_setAutomine", True)
    second_operator(bench)
    bench.chain.rpc("evm_setAutomine", False)
    lane._configured.cache_clear()

    tasks.settle_tick()

    lane._configured.cache_clear()
    assert set(Operator.objects.values_list("address", flat=True)) == {
        EnvironmentOperator(key).address for key in KEYS
    }


# --- What stops a lane ---------------------------------------------------------------------------


def paused(engine: Engine) -> str:
    return Operator.objects.get(address=engine.signer.address).pause_reason


def test_a_paused_lane_stands_still_alone(two):
    first, second = two
    lanes.pause(operator_id=first.open_lane().pk, reason="a look at its key", now=START)
    bonus = give_bonus(WalletFactory.create())

    assert (first.tick().submitted, second.tick().submitted) == (0, 1)

    second.finalize()
    second.tick()
    assert status(bonus) == "COMPLETED"


def test_a_batch_that_would_be_reverted_pauses_the_lane(engine: Engine):
    bonus = give_bonus(WalletFactory.create())
    bench = engine.bench
    bench.chain.rpc("evm_setAutomine", True)
    role = bench.settlement.functions.OPERATOR().call()
    bench.call(bench.admin, "revokeRole", role, bench.operator)
    bench.chain.rpc("evm_setAutomine", False)

    engine.tick()

    assert paused(engine) == ("a whole batch would be reverted: AccessControlUnauthorizedAccount")
    assert (payout_of(bonus).state, payout_of(bonus).tries, Slot.objects.count()) == (
        "PENDING",
        0,
        0,
    )


def test_a_lane_that_cannot_pay_its_gas_is_paused(engine: Engine):
    bonus = give_bonus(WalletFactory.create())
    engine.bench.chain.rpc("anvil_setBalance", engine.signer.address, hex(10**12))

    engine.tick()

    assert paused(engine).startswith("it has 1,000,000,000,000 wei for gas and may need ")
    assert (payout_of(bonus).state, Slot.objects.count()) == ("PENDING", 0)


def test_a_lane_that_finds_another_contract_is_paused(engine: Engine, settings):
    operator = engine.open_lane()
    settings.FLOAT_ADDRESS = "0x" + "f1" * 20

    with pytest.raises(WrongChain):
        engine.tick()

    operator.refresh_from_db()
    assert operator.is_paused
    assert operator.pause_reason.startswith("The contract pays from ")


def test_a_paused_lane_finishes_what_it_has_under_way(engine: Engine):
    bonus = give_bonus(WalletFactory.create())
    engine.tick()
    lanes.pause(operator_id=engine.open_lane().pk, reason="a look", now=START)

    engine.settle_all()

    assert status(bonus) == "COMPLETED"


def test_the_first_reason_is_kept(engine: Engine):
    operator = engine.open_lane()
    lanes.pause(operator_id=operator.pk, reason="first", now=START)

    lanes.pause(operator_id=operator.pk, reason="second", now=START)

    assert paused(engine) == "first"


# --- What a batch is foreseen to do --------------------------------------------------------------


def empty_the_float(engine: Engine) -> int:
    bench = engine.bench
    held = bench.balance(bench.float_wallet)
    bench.chain.rpc("evm_setAutomine", True)
    bench.chain.rpc("anvil_impersonateAccount", bench.float_wallet)
    bench.chain.rpc("anvil_setBalance", bench.float_wallet, hex(10**20))
    move(engine, bench.float_wallet, bench.admin, held - 60)
    bench.chain.rpc("evm_setAutomine", False)
    return held - 60


def move(engine: Engine, payer: str, payee: str, amount: int) -> None:
    bench = engine.bench
    bench.chain.rpc("anvil_impersonateAccount", payer)
    data = bench.kcash.encode_abi("transfer", args=[Web3.to_checksum_address(payee), amount])
    bench.chain.rpc("eth_sendTransaction", {"from": payer, "to": bench.kcash.address, "data": data})


def test_what_the_float_cannot_pay_waits_without_using_up_its_tries(engine: Engine):
    taken = empty_the_float(engine)
    poor, rich = (give_bonus(WalletFactory.create()) for _ in range(2))

    for _ in range(3):
        engine.settle_all()
        engine.now += timedelta(seconds=60)

    assert sorted([status(poor), status(rich)]) == ["COMPLETED", "PENDING"]
    left = Payout.objects.get(state="PENDING")
    assert (left.tries, left.error, left.onchain_id) == (0, "ERC20InsufficientBalance", None)
    assert left.not_before is not None
    assert Slot.objects.count() == 1

    engine.bench.chain.rpc("evm_setAutomine", True)
    move(engine, engine.bench.admin, engine.bench.float_wallet, taken)
    engine.bench.chain.rpc("evm_setAutomine", False)
    engine.now += timedelta(seconds=60)
    engine.settle_all()
    assert {status(poor), status(rich)} == {"COMPLETED"}


def test_what_is_wrong_with_a_payout_is_waited_for_once_and_then_tried(engine: Engine):
    wallet = WalletFactory.create()
    give_bonus(wallet)
    engine.settle_all()
    join(wallet, 1)
    engine.settle_all()
    drain(engine, wallet)
    fee = join(wallet, 10)

    engine.settle_all()
    assert (payout_of(fee).state, payout_of(fee).tries) == ("PENDING", 0)
    assert payout_of(fee).error == "ERC20InsufficientBalance"
    slots = Slot.objects.count()

    engine.now += timedelta(seconds=60)
    engine.settle_all()
    assert (payout_of(fee).state, payout_of(fee).tries) == ("FAILED", 10)
    assert Slot.objects.count() == slots + 10


def drain(engine: Engine, wallet: Wallet) -> None:
    bench = engine.bench
    bench.chain.rpc("evm_setAutomine", True)
    bench.chain.rpc("anvil_setBalance", wallet.address, hex(10**20))
    move(engine, wallet.address, bench.admin, bench.balance(wallet.address))
    bench.chain.rpc("evm_setAutomine", False)


def test_a_withdrawal_never_leaves_without_the_net_before_it(engine: Engine):
    wallet = gamer_with_kgen_wallet()
    give_bonus(wallet)
    engine.settle_all()
    empty_the_float(engine)
    win(wallet, 1000)
    withdrawal = withdraw(wallet)

    engine.settle_all()

    assert set(Payout.objects.exclude(state="COMPLETED").values_list("kind", "state")) == {
        ("IN", "PENDING"),
        ("WITHDRAW", "PENDING"),
    }
    assert status(withdrawal) == "PENDING"
    assert ledger.balances(wallet.pk).hold == 1000


def test_a_node_that_refuses_the_whole_call_is_believed(engine: Engine, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise CallReverted("BadBatch")

    monkeypatch.setattr(engine.chain, "preflight", refuse)
    give_bonus(WalletFactory.create())

    engine.tick()

    assert paused(engine) == "a whole batch would be reverted: BadBatch"


def test_a_contract_paused_in_between_pauses_no_lane(engine: Engine, monkeypatch):
    bonus = give_bonus(WalletFactory.create())
    bench = engine.bench
    bench.chain.rpc("evm_setAutomine", True)
    bench.call(bench.admin, "pause")
    bench.chain.rpc("evm_setAutomine", False)
    monkeypatch.setattr(engine.chain, "is_paused", lambda _address: False)

    engine.tick()

    assert paused(engine) == ""
    assert (payout_of(bonus).state, Slot.objects.count()) == ("PENDING", 0)


# --- Resuming ------------------------------------------------------------------------------------


def resume(user, operator: Operator, reason: str = "its key is safe") -> str:
    output = StringIO()
    call_command(
        "resume_lane",
        address=operator.address,
        user=user.username,
        reason=reason,
        stdout=output,
    )
    return output.getvalue().strip()


@pytest.fixture
def stopped(db) -> Operator:
    operator = Operator.objects.create(address="0x" + "0a" * 20, chain_id=31337, next_nonce=0)
    lanes.pause(operator_id=operator.pk, reason="gas", now=START)
    return operator


def test_finance_resumes_a_lane_with_a_reason_that_is_kept(stopped):
    user = staff_user(FINANCE)

    assert resume(user, stopped) == f"Lane {stopped.address} is on."

    stopped.refresh_from_db()
    assert (stopped.is_paused, stopped.pause_reason, stopped.paused_at) == (False, "", None)
    entry = StaffAct.objects.get()
    assert (entry.by, entry.object_pk) == (user, str(stopped.pk))
    assert entry.line() == "Resume the lane: its key is safe"


@pytest.mark.parametrize(("role", "reason"), [(SUPPORT, "its key is safe"), (FINANCE, " ")])
def test_others_and_the_unexplained_do_not_resume_a_lane(stopped, role, reason):
    with pytest.raises(CommandError):
        resume(staff_user(role), stopped, reason)

    stopped.refresh_from_db()
    assert stopped.is_paused
    assert not StaffAct.objects.exists()


def test_a_lane_that_is_on_or_unknown_is_not_resumed(stopped):
    user = staff_user(FINANCE)
    lanes.resume(operator_id=stopped.pk, by="sam", reason="gas")

    with pytest.raises(CommandError, match="not paused"):
        resume(user, stopped)
    with pytest.raises(CommandError, match="There is no lane"):
        resume(user, Operator(address="0x" + "0b" * 20))
    with pytest.raises(LaneNotPaused):
        lanes.resume(operator_id=stopped.pk, by="sam", reason="gas")
    assert not StaffAct.objects.exists()
