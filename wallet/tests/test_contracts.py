"""Each rule of the contracts, on a real EVM."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from eth_hash.auto import keccak
from web3 import Web3

from wallet import custody
from wallet.contracts import artifact
from wallet.settlement import submitting
from wallet.settlement.deploying import BATCH_CAP, DAY_CAP, MAX_ITEMS, SUPPLY
from wallet.tests.chain import Bench, new_address, new_id

VOIDED = (1).to_bytes(32, "big")
FREE = bytes(32)


# --- KCash ---------------------------------------------------------------------------------------


def test_kcash_is_whole_units_of_a_fixed_supply(bench: Bench):
    assert bench.kcash.functions.decimals().call() == 0
    assert bench.kcash.functions.symbol().call() == "KCASH"
    assert bench.kcash.functions.totalSupply().call() == SUPPLY


def test_nobody_can_make_more_kcash_or_hold_it_back():
    changing = {
        entry["name"]
        for entry in artifact("KCash")["abi"]
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }

    assert changing == {"approve", "transfer", "transferFrom", "permit"}


# --- Paying --------------------------------------------------------------------------------------


def test_claim_pays_out_of_the_float_wallet(bench: Bench):
    payee = new_address()
    item = bench.claim(payee, 70)
    float_before = bench.balance(bench.float_wallet)

    done = bench.settle([item])

    assert done.events == [("Settled", item.onchain_id, "")]
    assert bench.balance(payee) == 70
    assert bench.balance(bench.float_wallet) == float_before - 70
    words = [item.from_address, item.to_address]
    paid = b"".join(bytes.fromhex(word[2:]).rjust(32, b"\0") for word in words)
    assert bench.record(item.onchain_id) == keccak(paid + (70).to_bytes(32, "big"))


def test_an_id_is_paid_once_over_batches_and_inside_one(bench: Bench):
    payee = new_address()
    item = bench.claim(payee, 70)
    bench.settle([item])

    done = bench.settle([item, item])

    assert done.events == [("Skipped", item.onchain_id, "")] * 2
    assert bench.balance(payee) == 70


@pytest.mark.parametrize("changed", [{"amount": 71}, {"to_address": "0x" + "ab" * 20}])
def test_a_used_id_with_other_data_is_flagged_as_conflict(bench: Bench, changed):
    payee = new_address()
    item = bench.claim(payee, 70)
    bench.settle([item])

    done = bench.settle([replace(item, **changed)])

    assert done.events == [("Skipped", item.onchain_id, "conflict")]
    assert bench.balance(payee) == 70


def test_an_item_that_cannot_be_paid_fails_alone_and_stays_payable(bench: Bench):
    payer = bench.fund(0, 10)
    payees = [new_address() for _ in range(3)]
    items = [
        bench.claim(payees[0], 5),
        bench.payment(0, payees[1], 11),
        bench.claim(payees[2], 7),
    ]

    done = bench.settle(items)

    assert done.events == [
        ("Settled", items[0].onchain_id, ""),
        ("Failed", items[1].onchain_id, "ERC20InsufficientBalance"),
        ("Settled", items[2].onchain_id, ""),
    ]
    assert [bench.balance(payee) for payee in payees] == [5, 0, 7]
    assert bench.record(items[1].onchain_id) == FREE

    bench.settle([bench.claim(payer, 1)])
    assert bench.settle([items[1]]).events == [("Settled", items[1].onchain_id, "")]
    assert bench.balance(payees[1]) == 11


def test_money_that_comes_in_can_leave_in_the_same_batch(bench: Bench):
    payer, payee = custody.custodial_address(0), new_address()
    bench.permit_many([bench.permit(0)])
    items = [bench.claim(payer, 90), bench.payment(0, payee, 90)]

    done = bench.settle(items)

    assert [event for event, _, _ in done.events] == ["Settled", "Settled"]
    assert (bench.balance(payer), bench.balance(payee)) == (0, 90)


def test_a_claim_beyond_what_the_float_wallet_allows_fails_alone(bench: Bench):
    owner = Web3.to_checksum_address(bench.float_wallet)
    bench.call(owner, "approve", bench.settlement.address, 100, of=bench.kcash)
    items = [bench.claim(new_address(), amount) for amount in (60, 41, 40)]

    done = bench.settle(items)

    assert [(event, detail) for event, _, detail in done.events] == [
        ("Settled", ""),
        ("Failed", "ERC20InsufficientAllowance"),
        ("Settled", ""),
    ]
    assert [bench.balance(item.to_address) for item in items] == [60, 0, 40]


# --- The payer's signature -----------------------------------------------------------------------


def test_a_payment_out_of_a_custodial_wallet_carries_its_signature(bench: Bench):
    payer, payee = bench.fund(0, 100), new_address()

    done = bench.settle([item := bench.payment(0, payee, 100)])

    assert done.events == [("Settled", item.onchain_id, "")]
    assert (bench.balance(payer), bench.balance(payee)) == (0, 100)


def test_without_the_payers_own_signature_over_this_payment_nothing_leaves(bench: Bench):
    payer, payee, thief = bench.fund(0, 100), new_address(), new_address()
    signed = bench.payment(0, payee, 10)
    forged = [
        replace(signed, signature=None),
        replace(signed, to_address=thief),
        replace(signed, amount=100),
        replace(signed, onchain_id=new_id()),
        bench.payment(0, payee, 10, signed_by=1),
        # A sweep into the float is the payer's to allow as well.
        replace(bench.payment(0, payee, 10), to_address=bench.float_wallet),
    ]

    done = bench.settle(forged)

    assert done.events == [("Failed", item.onchain_id, "BadSignature") for item in forged]
    assert [bench.balance(address) for address in (payer, payee, thief)] == [100, 0, 0]


def test_a_signature_for_another_contract_or_chain_is_none_here(bench: Bench, settings):
    payer, payee = bench.fund(0, 100), new_address()
    onchain_id = new_id()
    here = bench.payment(0, payee, 10, onchain_id=onchain_id)
    settings.CHAIN_ID = 137
    other_chain = bench.payment(0, payee, 10, onchain_id=onchain_id)
    settings.CHAIN_ID = 31337
    settings.SETTLEMENT_ADDRESS = new_address()
    other_contract = bench.payment(0, payee, 10, onchain_id=onchain_id)

    done = bench.settle([other_chain, other_contract])

    assert done.events == [("Failed", onchain_id, "BadSignature")] * 2
    assert (bench.balance(payer), bench.balance(payee)) == (100, 0)
    assert bench.settle([here]).events == [("Settled", onchain_id, "")]


def test_a_permit_that_is_none_stops_nothing(bench: Bench):
    forged = replace(bench.permit(0), owner=custody.custodial_address(1))

    done = bench.permit_many([forged, bench.permit(2)])

    assert done.is_success
    assert [bench.allowance(index) for index in (0, 1, 2)] == [0, 0, 2**256 - 1]


def test_a_permit_sent_before_by_anyone_stops_nothing(bench: Bench):
    bench.permit_many([bench.permit(0)], sender=new_address())

    done = bench.permit_many([bench.permit(0), bench.permit(1)])

    assert done.is_success
    assert [bench.allowance(index) for index in (0, 1)] == [2**256 - 1] * 2


# --- Caps ----------------------------------------------------------------------------------------


def set_caps(bench: Bench, *, claims, withdrawals, max_items=MAX_ITEMS):
    assert bench.call(bench.admin, "setCaps", max_items, claims, withdrawals).is_success


def test_an_item_over_the_batch_cap_fails_alone(bench: Bench):
    set_caps(bench, claims=(100, DAY_CAP), withdrawals=(BATCH_CAP, DAY_CAP))
    items = [bench.claim(new_address(), amount) for amount in (60, 41, 40)]

    done = bench.settle(items)

    assert [(event, detail) for event, _, detail in done.events] == [
        ("Settled", ""),
        ("Failed", "OverBatchCap"),
        ("Settled", ""),
    ]
    assert bench.settle([items[1]]).events == [("Settled", items[1].onchain_id, "")]


def test_an_item_over_the_day_cap_fails_alone_until_the_next_day(bench: Bench):
    day = bench.today()
    spent = bench.settlement.functions.claimedOn(day).call()
    set_caps(bench, claims=(BATCH_CAP, spent + 100), withdrawals=(BATCH_CAP, DAY_CAP))
    items = [bench.claim(new_address(), amount) for amount in (60, 41, 40)]

    done = bench.settle(items)

    assert [(event, detail) for event, _, detail in done.events] == [
        ("Settled", ""),
        ("Failed", "OverDayCap"),
        ("Settled", ""),
    ]
    assert bench.settlement.functions.claimedOn(day).call() == spent + 100
    bench.chain.rpc("evm_increaseTime", hex(86_400))
    assert bench.settle([items[1]]).events == [("Settled", items[1].onchain_id, "")]
    assert bench.settlement.functions.claimedOn(day + 1).call() == 41


def test_claims_and_withdrawals_are_counted_apart_and_sweeps_not_at_all(bench: Bench):
    bench.fund(0, 1_000)
    day = bench.today()
    claimed = bench.settlement.functions.claimedOn(day).call()
    withdrawn = bench.settlement.functions.withdrawnOn(day).call()
    set_caps(bench, claims=(50, claimed + 50), withdrawals=(30, withdrawn + 30))
    items = [
        bench.claim(new_address(), 50),
        bench.payment(0, bench.float_wallet, 500),
        bench.payment(0, new_address(), 30),
        bench.claim(new_address(), 1),
        bench.payment(0, new_address(), 1),
    ]

    done = bench.settle(items)

    assert [(event, detail) for event, _, detail in done.events] == [
        ("Settled", ""),
        ("Settled", ""),
        ("Settled", ""),
        ("Failed", "OverBatchCap"),
        ("Failed", "OverBatchCap"),
    ]
    assert bench.settlement.functions.claimedOn(day).call() == claimed + 50
    assert bench.settlement.functions.withdrawnOn(day).call() == withdrawn + 30


def test_only_what_is_paid_is_counted(bench: Bench):
    bench.fund(0, 5)
    day = bench.today()
    spent = bench.settlement.functions.withdrawnOn(day).call()
    set_caps(bench, claims=(BATCH_CAP, DAY_CAP), withdrawals=(10, spent + 10))
    paid = bench.payment(0, new_address(), 1)
    bench.settle([paid])
    items = [
        paid,  # skipped
        bench.payment(0, new_address(), 9),  # more than the wallet has
        replace(bench.payment(0, new_address(), 9), signature=None),
        bench.payment(0, new_address(), 4),
    ]

    done = bench.settle(items)

    assert [event for event, _, _ in done.events] == ["Skipped", "Failed", "Failed", "Settled"]
    assert bench.settlement.functions.withdrawnOn(day).call() == spent + 5


def test_a_cap_lowered_below_what_is_spent_leaves_nothing(bench: Bench):
    bench.settle([bench.claim(new_address(), 100)])
    set_caps(bench, claims=(BATCH_CAP, 1), withdrawals=(BATCH_CAP, DAY_CAP))

    done = bench.settle([item := bench.claim(new_address(), 1)])

    assert done.events == [("Failed", item.onchain_id, "OverDayCap")]


def test_a_batch_is_neither_empty_nor_longer_than_allowed(bench: Bench):
    set_caps(bench, claims=(100, DAY_CAP), withdrawals=(BATCH_CAP, DAY_CAP), max_items=2)
    payees = [new_address() for _ in range(3)]

    empty = bench.settle([])
    long = bench.settle([bench.claim(payee, 1) for payee in payees])

    assert (empty.is_success, long.is_success) == (False, False)
    assert [bench.balance(payee) for payee in payees] == [0, 0, 0]
    assert bench.settle([bench.claim(payee, 1) for payee in payees[:2]]).is_success
    assert [bench.balance(payee) for payee in payees] == [1, 1, 0]


# --- Roles and pause -----------------------------------------------------------------------------


def test_everyone_may_do_only_what_is_theirs(bench: Bench):
    stranger, refused = new_address(), "AccessControlUnauthorizedAccount"
    caps = (1, 1)

    for sender in (Web3.to_checksum_address(stranger), bench.admin):
        bench.refuses(refused, sender, "settle", [])
        bench.refuses(refused, sender, "voidIds", [])
    for sender in (Web3.to_checksum_address(stranger), bench.operator):
        bench.refuses(refused, sender, "setCaps", 1, caps, caps)
        bench.refuses(refused, sender, "pause")
    for sender in (Web3.to_checksum_address(stranger), bench.operator):
        bench.refuses(refused, sender, "grantRole", bytes(32), sender)
    bench.call(bench.admin, "pause")
    bench.refuses(refused, bench.operator, "unpause")


def test_the_guardian_pauses_and_only_the_admin_lets_go_on(bench: Bench):
    guardian, payee = Web3.to_checksum_address(new_address()), new_address()
    role = bench.settlement.functions.GUARDIAN().call()
    bench.call(bench.admin, "grantRole", role, guardian)
    item = bench.claim(payee, 5)

    refused = "AccessControlUnauthorizedAccount"
    bench.refuses(refused, guardian, "settle", [])
    bench.refuses(refused, guardian, "voidIds", [])
    bench.refuses(refused, guardian, "setCaps", 1, (1, 1), (1, 1))
    bench.refuses(refused, guardian, "grantRole", role, guardian)
    assert bench.call(guardian, "pause").is_success
    assert not bench.settle([item]).is_success
    assert not bench.call(guardian, "unpause").is_success
    assert bench.balance(payee) == 0

    assert bench.call(bench.admin, "unpause").is_success
    assert bench.settle([item]).events == [("Settled", item.onchain_id, "")]


# --- Void ----------------------------------------------------------------------------------------


def test_a_voided_id_can_never_be_paid(bench: Bench):
    payee = new_address()
    item = bench.claim(payee, 5)

    voided = bench.call(bench.operator, "voidIds", [item.onchain_id])
    done = bench.settle([item])

    assert voided.events == [("Voided", item.onchain_id, "")]
    assert done.events == [("Skipped", item.onchain_id, "conflict")]
    assert bench.balance(payee) == 0
    assert bench.record(item.onchain_id) == VOIDED


def test_a_paid_id_stays_paid(bench: Bench):
    item = bench.claim(new_address(), 5)
    bench.settle([item])
    paid = bench.record(item.onchain_id)

    done = bench.call(bench.operator, "voidIds", [item.onchain_id])

    assert done.events == []
    assert bench.record(item.onchain_id) == paid


def test_ids_can_be_voided_while_paused(bench: Bench):
    onchain_id = new_id()
    bench.call(bench.admin, "pause")

    done = bench.call(bench.operator, "voidIds", [onchain_id])

    assert done.events == [("Voided", onchain_id, "")]
    assert bench.settlement.functions.recordsOf([onchain_id, new_id()]).call() == [VOIDED, FREE]


# --- Gas -----------------------------------------------------------------------------------------


def test_a_batch_starved_of_gas_is_reverted_whole(bench: Bench):
    payees = [new_address() for _ in range(5)]
    items = [bench.claim(payee, 1) for payee in payees]
    enough = bench.settle([bench.claim(new_address(), 1) for _ in range(5)]).gas_used

    starved = bench.settle(items, gas=enough)

    assert (starved.is_success, starved.events) == (False, [])
    assert [bench.balance(payee) for payee in payees] == [0] * 5


def test_no_gas_limit_makes_an_item_fail_that_could_be_paid(bench: Bench):
    """With any of them the batch is paid whole or reverted whole, so that none fails falsely."""
    enough = 3 * 66_000 + 150_000
    seen = set()

    for gas in range(enough, 60_000, -12_000):
        done = bench.settle([bench.claim(new_address(), 1) for _ in range(3)], gas=gas)
        seen.add((done.is_success, *(event for event, _, _ in done.events)))

    assert seen == {(True, "Settled", "Settled", "Settled"), (False,)}


@pytest.mark.parametrize("size", [1, MAX_ITEMS])
def test_a_slot_offers_gas_enough_for_the_dearest_batch(bench: Bench, size):
    """Withdrawals to addresses that never held KCash; the limit is what the engine sets."""
    bench.settle([bench.claim(custody.custodial_address(index), 3) for index in range(size)])
    for start in range(0, size, 100):
        end = min(start + 100, size)
        bench.permit_many([bench.permit(index) for index in range(start, end)])
    items = [bench.payment(index, new_address(), 3) for index in range(size)]
    gas = submitting._GAS + size * (submitting._GAS_PER_ITEM + submitting._GAS_PER_SIGNATURE)

    done = bench.settle(items, gas=gas)

    assert [event for event, _, _ in done.events] == ["Settled"] * size
    assert gas <= 2**24  # what a transaction may have at most (EIP-7825)


def test_gas_per_payout_stays_within_its_budget(bench: Bench, capsys):
    """Batches of 100 between wallets that hold KCash before and after, beside a plain transfer."""
    wallets = range(100)
    addresses = [custody.custodial_address(index) for index in wallets]
    known = [new_address() for _ in wallets]
    bench.settle([bench.claim(address, 10) for address in addresses])
    bench.settle([bench.claim(address, 1) for address in known])
    bench.permit_many([bench.permit(index) for index in wallets])

    gas = {
        "claim": bench.settle([bench.claim(address, 5) for address in addresses]),
        "withdrawal": bench.settle([bench.payment(index, known[index], 5) for index in wallets]),
        "out to the float": bench.settle(
            [bench.payment(index, bench.float_wallet, 5) for index in wallets]
        ),
        "claim of a new wallet": bench.settle([bench.claim(new_address(), 5) for _ in wallets]),
        "withdrawal to a new wallet": bench.settle(
            [bench.payment(index, new_address(), 3) for index in wallets]
        ),
        "permit": bench.permit_many([bench.permit(index) for index in range(100, 200)]),
    }
    assert all(len(done.events) == 100 for name, done in gas.items() if name != "permit")
    per_payout = {name: done.gas_used // 100 for name, done in gas.items()}
    per_payout["plain transfer"] = bench.transfer(known[0], 5).gas_used
    budget = {
        "claim": 37_000,
        "withdrawal": 49_000,
        "out to the float": 44_000,
        "claim of a new wallet": 54_500,
        "withdrawal to a new wallet": 66_000,
        "permit": 54_500,
        "plain transfer": 34_400,
    }
    with capsys.disabled():
        print("\n\ngas each, batch of 100        used   budget")  # noqa: T201 - a table to read
        for name, used in per_payout.items():
            print(f"{name:26} {used:8,} {budget[name]:8,}")  # noqa: T201
    assert {name: used for name, used in per_payout.items() if used > budget[name]} == {}
    assert per_payout["claim"] <= 1.08 * per_payout["plain transfer"]


# --- Artifacts -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_committed_artifacts_are_what_the_sources_compile_to():
    script = Path(__file__).resolve().parent.parent / "contracts" / "recompile.py"

    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, script, "--check"], capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
