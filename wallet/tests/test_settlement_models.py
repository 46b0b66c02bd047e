"""What the database itself refuses, whatever the code does."""

import secrets

import pytest
from django.db import IntegrityError
from django.db.transaction import atomic

from kgen.common.identifiers import uuid7
from wallet.models import Attempt, Operator, Payout, Permit, Slot, SlotItem
from wallet.tests.chain import new_address, new_id
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import START

SETTLEMENT = "0x" + "5e" * 20
NAMED = {"settlement_address": SETTLEMENT, "onchain_id": "0x" + "1d" * 32}
PAID = {"tx_hash": "0x" + "aa" * 32, "block_number": 1, "gas_fee": 1}


def refused(name: str, make) -> None:
    with pytest.raises(IntegrityError, match=name), atomic():
        make()


@pytest.fixture
def wallet(db):
    return WalletFactory.create()


def payout(wallet, **changed) -> Payout:
    fields = {
        "uid": uuid7(),
        "kind": "IN",
        "wallet": wallet,
        "seq": secrets.randbelow(10**9),
        "from_address": new_address(),
        "to_address": wallet.address,
        "amount": 10,
        "created_at": START,
        "modified_at": START,
    }
    fields = {**fields, **changed}
    return Payout.objects.create(**{"last_seq": fields["seq"], **fields})


@pytest.fixture
def operator(db):
    return Operator.objects.create(address=new_address(), chain_id=31337, next_nonce=0)


def slot(operator, **changed) -> Slot:
    fields = {
        "operator": operator,
        "nonce": secrets.randbelow(10**9),
        "action": "SETTLE",
        "settlement_address": SETTLEMENT,
        "calldata": b"\0",
        "gas": 1,
        "created_at": START,
    }
    return Slot.objects.create(**{**fields, **changed})


def item(carrier: Slot, carried: Payout, *, position: int = 0) -> SlotItem:
    return SlotItem.objects.create(
        slot=carrier, payout=carried, wallet_id=carried.wallet_id, position=position
    )


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("payout_amount_positive", {"amount": 0}),
        ("payout_tries_within_limit", {"tries": 11}),
        ("payout_goes_elsewhere", {"from_address": SETTLEMENT, "to_address": SETTLEMENT}),
        ("payout_addresses_well_formed", {"from_address": "0x" + "AB" * 20}),
        ("payout_range_runs_forward", {"seq": 3, "last_seq": 2}),
        ("payout_range_runs_forward", {"kind": "WITHDRAW", "seq": 2, "last_seq": 3}),
        ("payout_kind_known", {"kind": "GIFT"}),
        ("payout_state_known", {**NAMED, "state": "LOST"}),
        ("payout_submitted_with_onchain_id", {"state": "SUBMITTED"}),
        ("payout_submitted_with_onchain_id", {**NAMED, "settlement_address": None}),
        ("payout_submitted_with_onchain_id", {**NAMED, "onchain_id": "0x1d"}),
        ("payout_completed_on_chain", {**NAMED, "state": "COMPLETED"}),
        ("payout_completed_on_chain", {**NAMED, **PAID, "state": "COMPLETED", "tx_hash": None}),
        ("payout_completed_on_chain", {**NAMED, **PAID, "state": "SUBMITTED"}),
    ],
)
def test_a_payout_that_contradicts_itself_is_refused(wallet, name, changed):
    refused(name, lambda: payout(wallet, **changed))

    assert Payout.objects.count() == 0


def test_a_payout_that_is_consistent_is_kept(wallet):
    payout(wallet)
    payout(wallet, **NAMED, state="SUBMITTED")
    payout(wallet, **PAID, settlement_address=SETTLEMENT, onchain_id=new_id(), state="COMPLETED")

    assert Payout.objects.count() == 3


@pytest.mark.parametrize(
    ("seq", "last_seq"), [(4, 4), (9, 9), (6, 7), (1, 4), (9, 12), (1, 12), (4, 9)]
)
def test_a_wallets_transaction_is_in_one_payout(wallet, seq, last_seq):
    payout(wallet, seq=4, last_seq=9)

    refused("payout_ranges_never_overlap", lambda: payout(wallet, seq=seq, last_seq=last_seq))

    payout(wallet, seq=1, last_seq=3)
    payout(wallet, seq=10, last_seq=12)
    payout(WalletFactory.create(), seq=4, last_seq=9)


def test_a_voided_payout_leaves_its_transactions_to_another(wallet):
    payout(wallet, seq=4, last_seq=9, state="VOIDED")
    payout(wallet, **NAMED, seq=4, last_seq=6, state="VOIDED")

    payout(wallet, seq=4, last_seq=12)

    assert Payout.objects.count() == 3


def test_two_payouts_never_share_a_name_on_the_chain(wallet):
    payout(wallet, **NAMED)

    refused("onchain_id", lambda: payout(wallet, **NAMED))


def test_a_nonce_is_used_by_one_slot(operator):
    slot(operator, nonce=7)

    refused("slot_one_per_nonce", lambda: slot(operator, nonce=7))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("slot_action_known", {"action": "SEND"}),
        ("slot_closed_at_when_closed", {"state": "FINAL"}),
        ("slot_closed_at_when_closed", {"closed_at": START}),
    ],
)
def test_a_slot_that_contradicts_itself_is_refused(operator, name, changed):
    refused(name, lambda: slot(operator, **changed))


def test_a_payout_is_in_one_open_slot_at_a_time(wallet, operator):
    carried = payout(wallet)
    first = item(slot(operator), carried)

    refused("slot_item_one_open", lambda: item(slot(operator), carried))

    first.is_open = False
    first.save()
    item(slot(operator), carried)
    assert SlotItem.objects.count() == 2


def test_a_wallet_is_in_one_open_slot_at_a_time(wallet, operator):
    carrier = slot(operator)
    first = item(carrier, payout(wallet))
    second = item(carrier, payout(wallet), position=1)
    third = payout(wallet)

    refused("slot_item_one_open_slot_per_wallet", lambda: item(slot(operator), third))

    SlotItem.objects.filter(pk__in=[first.pk, second.pk]).update(is_open=False)
    item(slot(operator), third)


def test_a_wallet_has_one_live_permit_per_contract(wallet, operator):
    def permit(**changed) -> Permit:
        fields = {"wallet": wallet, "settlement_address": SETTLEMENT, "slot": slot(operator)}
        return Permit.objects.create(**{**fields, **changed})

    permit(state="FAILED")
    permit()

    refused("permit_one_live_per_contract", lambda: permit(state="GRANTED"))
    permit(settlement_address=new_address())


def test_attempts_are_counted_and_never_share_a_hash(operator):
    filled = slot(operator)

    def attempt(**changed) -> Attempt:
        fields = {
            "slot": filled,
            "seq": 0,
            "tx_hash": new_id(),
            "raw": b"\0",
            "max_fee": 2,
            "priority_fee": 1,
            "created_at": START,
        }
        return Attempt.objects.create(**{**fields, **changed})

    first = attempt()

    refused("attempt_seq_once", attempt)
    refused("tx_hash", lambda: attempt(seq=1, tx_hash=first.tx_hash))
    refused("attempt_tx_hash_well_formed", lambda: attempt(seq=1, tx_hash="0x"))
    refused("attempt_sent_times_agree", lambda: attempt(seq=1, first_sent_at=START))


@pytest.mark.parametrize(
    "changed",
    [
        {"is_paused": True},
        {"is_paused": True, "pause_reason": "gas"},
        {"pause_reason": "gas", "paused_at": START},
        {"paused_at": START},
    ],
)
def test_a_lane_is_paused_for_a_reason(db, changed):
    refused(
        "operator_paused_for_a_reason",
        lambda: Operator.objects.create(
            address=new_address(), chain_id=31337, next_nonce=0, **changed
        ),
    )


def test_an_operator_is_one_lane_per_chain(operator):
    refused(
        "operator_once_per_chain",
        lambda: Operator.objects.create(address=operator.address, chain_id=31337, next_nonce=5),
    )
