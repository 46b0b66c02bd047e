"""The chain's events, read to the newest final block: once each, however often, and after reorgs."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.db import transaction

from wallet import chain_events, deposits, ledger
from wallet.chain_events import NotUnknown, Reading
from wallet.ledger import Balances
from wallet.models import ChainBlock, ChainCursor, ChainEvent, Deposit, Payout
from wallet.settlement.networks import NETWORKS
from wallet.tests.chain import new_address
from wallet.tests.factories import WalletFactory
from wallet.tests.outside import Outsider, transfer
from wallet.tests.settling import START, Engine, FaultyChain, give_bonus, payout_of

NOTHING = Reading(events=0, is_rewound=False)


class Interrupted(FaultyChain):
    """Something happens while the events are on their way."""

    meanwhile: Callable[[], object]

    def events(self, **asked):
        found = super().events(**asked)
        self.meanwhile()
        return found


@pytest.fixture
def outsider(engine) -> Outsider:
    """Everything up to here is read, so that a test sees its own events alone."""
    outsider = Outsider(engine)
    read(engine)
    return outsider


def paid(engine: Engine) -> Payout:
    """A payout that is final on the chain, and that the books do not know of yet."""
    bonus = give_bonus(WalletFactory.create())
    engine.tick()
    engine.tick()
    engine.finalize()
    return payout_of(bonus)


def read(engine: Engine) -> Reading:
    return chain_events.read(chain=engine.chain, now=START)


def told() -> list[tuple[str, str, int | None, bool]]:
    """All but the deployment: the mint, and the float's share."""
    events = ChainEvent.objects.order_by("pk")[1:]
    return [(one.name, one.meaning, one.amount, one.dropped_at is not None) for one in events]


# --- What events mean ----------------------------------------------------------------------------


def test_what_is_put_into_the_float_is_known(engine):
    engine.finalize()

    reading = read(engine)

    assert reading == Reading(events=1, is_rewound=False)
    event = ChainEvent.objects.get()
    assert (event.name, event.meaning, event.amount) == ("Transfer", "FLOAT", 10_000_000_000)
    assert event.to_address == engine.bench.float_wallet


def test_payout_is_two_events_of_ours(engine, outsider):
    bonus = give_bonus(WalletFactory.create())
    engine.settle_all()

    read(engine)

    assert sorted(told()) == [("Settled", "PAYOUT", 50, False), ("Transfer", "PAYOUT", 50, False)]
    assert ChainEvent.objects.get(name="Settled").onchain_id == payout_of(bonus).onchain_id


def test_deposit_from_outside_is_booked_once(engine, outsider):
    wallet = WalletFactory.create()
    outsider.send(wallet.address, 70)

    readings = [read(engine), read(engine)]
    chain_events.understand(now=START)

    assert readings == [Reading(events=1, is_rewound=False), NOTHING]
    assert ledger.balances(wallet.pk) == Balances(0, 70, 0, 0, 0, 70)
    assert told() == [("Transfer", "DEPOSIT", 70, False)]
    event = ChainEvent.objects.get(meaning="DEPOSIT")
    assert Deposit.objects.values_list("tx_hash", "log_index", "block_number").get() == (
        event.tx_hash,
        event.log_index,
        event.block_number,
    )


def test_two_deposits_in_alike_amounts_are_both_booked(engine, outsider):
    wallet = WalletFactory.create()
    outsider.send(wallet.address, 70)
    outsider.send(wallet.address, 70)

    read(engine)

    assert ledger.balances(wallet.pk) == Balances(0, 140, 0, 0, 0, 140)


def test_deposit_that_is_not_final_is_not_read(engine, outsider):
    wallet = WalletFactory.create()
    engine.chain.send(outsider.sign(wallet.address, 70))
    engine.mine()

    assert read(engine) == NOTHING
    assert ledger.balances(wallet.pk) == Balances(0, 0, 0, 0, 0, 0)


def test_transfers_of_others_and_of_nothing_are_no_business_of_ours(engine, outsider):
    wallet = WalletFactory.create()
    outsider.send(new_address(), 70)
    outsider.send(wallet.address, 0)

    assert read(engine) == NOTHING


def test_deposit_that_cannot_be_booked_waits_for_the_next_reading(engine, outsider, caplog):
    wallet = WalletFactory.create()
    outsider.send(wallet.address, 70)
    with transaction.atomic():
        # Somebody has booked another deposit under the same event.
        event = engine.chain.events(
            from_block=0,
            to_block=engine.chain.finalized_block(),
            settlement_address=engine.bench.settlement.address,
        )[-1]
        other = WalletFactory.create()
        place = deposits.ChainEvent(31337, event.tx_hash, event.log_index, 1)
        deposits.receive(wallet=other, amount=1, from_address=new_address(), event=place, now=START)

    read(engine)

    assert told() == [("Transfer", "UNREAD", 70, False)]
    assert ledger.balances(wallet.pk) == Balances(0, 0, 0, 0, 0, 0)
    assert [r.message[:32] for r in caplog.records if r.levelno == logging.ERROR] == [
        "A deposit could not be booked: 0"
    ]


# --- What nobody has ordered ---------------------------------------------------------------------


def test_payment_by_the_contract_that_we_did_not_order_is_unknown(engine, outsider, caplog):
    engine.bench.chain.rpc("evm_setAutomine", True)
    engine.bench.settle([engine.bench.claim(new_address(), 9)])
    engine.finalize()

    read(engine)

    assert sorted(told()) == [("Settled", "UNKNOWN", 9, False), ("Transfer", "UNKNOWN", 9, False)]
    assert [r.message[:27] for r in caplog.records if r.levelno == logging.ERROR] == [
        "Nobody here has ordered Tra",
        "Nobody here has ordered Set",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": 51},
        {"from_address": "0x" + "ab" * 20},
        {"to_address": "0x" + "ab" * 20},
        {"settlement_address": "0x" + "ab" * 20},
    ],
)
def test_payment_of_something_else_under_our_id_is_unknown(engine, outsider, changed):
    paid(engine)
    read(engine)
    event = ChainEvent.objects.get(name="Settled")
    assert event.meaning == "PAYOUT"
    told_otherwise = {**vars(event), "id": None, "meaning": "UNREAD", "log_index": 99, **changed}
    del told_otherwise["_state"]
    ChainEvent.objects.create(**told_otherwise)

    chain_events.understand(now=START)

    assert ChainEvent.objects.get(name="Settled", log_index=99).meaning == "UNKNOWN"


def test_payment_of_what_was_voided_is_unknown(engine, outsider):
    payout = paid(engine)
    Payout.objects.filter(pk=payout.pk).update(state=Payout.State.VOIDED)

    read(engine)

    assert ChainEvent.objects.get(name="Settled").meaning == "UNKNOWN"


def test_kcash_taken_out_of_the_float_beside_the_contract_is_unknown(engine, outsider):
    transfer(engine, engine.bench.float_wallet, new_address(), 12)

    read(engine)

    assert told() == [("Transfer", "UNKNOWN", 12, False)]


def test_kcash_between_our_own_wallets_beside_the_contract_is_unknown(engine, outsider):
    one, other = WalletFactory.create(), WalletFactory.create()
    outsider.send(one.address, 12)
    transfer(engine, one.address, other.address, 12)

    read(engine)

    assert told() == [("Transfer", "DEPOSIT", 12, False), ("Transfer", "UNKNOWN", 12, False)]
    assert ledger.balances(other.pk) == Balances(0, 0, 0, 0, 0, 0)


def test_unknown_payment_whose_payout_turns_up_is_known(engine, outsider):
    payout = paid(engine)
    Payout.objects.filter(pk=payout.pk).update(state=Payout.State.VOIDED)
    read(engine)
    Payout.objects.filter(pk=payout.pk).update(state=Payout.State.CONFIRMING)

    read(engine)

    assert ChainEvent.objects.get(name="Settled").meaning == "PAYOUT"


def test_unknown_event_is_explained_once_and_for_all(engine, outsider):
    transfer(engine, engine.bench.float_wallet, new_address(), 12)
    read(engine)
    event = ChainEvent.objects.get(meaning="UNKNOWN")

    chain_events.explain(event_id=event.pk, explanation="Back to the safe", by="fay", now=START)

    with pytest.raises(NotUnknown):
        chain_events.explain(event_id=event.pk, explanation="No", by="ben", now=START)
    read(engine)
    event.refresh_from_db()
    assert (event.meaning, event.explanation, event.explained_by, event.explained_at) == (
        "UNKNOWN",
        "Back to the safe",
        "fay",
        START,
    )


def test_deposit_needs_no_explanation(engine, outsider):
    outsider.send(WalletFactory.create().address, 12)
    read(engine)
    event = ChainEvent.objects.get(meaning="DEPOSIT")

    with pytest.raises(NotUnknown):
        chain_events.explain(event_id=event.pk, explanation="Mine", by="ben", now=START)

    event.refresh_from_db()
    assert (event.explanation, event.explained_at) == ("", None)


# --- Ranges, and several readers -----------------------------------------------------------------


def test_many_blocks_are_read_in_pieces(engine, outsider, monkeypatch):
    monkeypatch.setitem(NETWORKS, 31337, replace(NETWORKS[31337], log_blocks=3))
    wallet = WalletFactory.create()
    before = ChainCursor.objects.get().next_block
    for _ in range(4):
        outsider.send(wallet.address, 1)

    reading = read(engine)

    cursor = ChainCursor.objects.get()
    assert reading == Reading(events=4, is_rewound=False)
    assert cursor.next_block == engine.chain.finalized_block() + 1
    assert cursor.next_block - before == 20  # five blocks each time
    assert ChainBlock.objects.count() == 1 + 7
    assert ledger.balances(wallet.pk).bought == 4


def test_reader_that_is_overtaken_leaves_it_to_the_other(engine, outsider):
    wallet = WalletFactory.create()
    outsider.send(wallet.address, 70)
    chain = Interrupted()
    chain.meanwhile = lambda: read(engine)

    reading = chain_events.read(chain=chain, now=START)

    assert reading == NOTHING
    assert told() == [("Transfer", "DEPOSIT", 70, False)]
    assert ledger.balances(wallet.pk).bought == 70


def test_blocks_that_change_while_they_are_read_are_read_again(engine, outsider):
    wallet = WalletFactory.create()
    before = engine.bench.chain.snapshot()
    outsider.send(wallet.address, 70)
    chain = Interrupted()
    chain.meanwhile = lambda: (engine.bench.chain.revert(before), engine.bench.chain.mine(50))

    reading = chain_events.read(chain=chain, now=START)

    assert reading == NOTHING
    assert told() == []
    assert read(engine) == NOTHING
    assert ChainCursor.objects.get().next_block == engine.chain.finalized_block() + 1


# --- Reorgs past finality ------------------------------------------------------------------------


@pytest.fixture
def reorg(engine, outsider):
    """A deposit that was final and read, and a chain that never had it."""
    wallet = WalletFactory.create()
    engine.finalize()
    read(engine)
    ancestor = ChainCursor.objects.get().next_block - 1
    before = engine.bench.chain.snapshot()
    raw = outsider.sign(wallet.address, 70)
    engine.chain.send(raw)
    engine.finalize()
    read(engine)
    engine.bench.chain.revert(before)
    engine.bench.chain.mine(20)
    return wallet, ancestor, raw


def test_cursor_goes_back_to_the_common_ancestor(engine, reorg, caplog):
    _, ancestor, _ = reorg

    reading = read(engine)

    cursor = ChainCursor.objects.get()
    assert reading == Reading(events=0, is_rewound=True)
    assert (cursor.rewinds, cursor.next_block) == (1, engine.chain.finalized_block() + 1)
    assert told() == [("Transfer", "DEPOSIT", 70, True)]
    assert [b.hash for b in cursor.blocks.order_by("number")] == [
        engine.chain.block_hash(b.number) for b in cursor.blocks.order_by("number")
    ]
    assert f"is read again from block {ancestor + 1}," in caplog.text
    assert read(engine) == NOTHING


def test_deposit_that_comes_back_in_another_block_is_the_same_one(engine, reorg):
    wallet, _, raw = reorg
    read(engine)

    engine.chain.send(raw)
    engine.finalize()
    reading = read(engine)

    assert reading == Reading(events=1, is_rewound=False)
    assert told() == [("Transfer", "DEPOSIT", 70, True), ("Transfer", "DEPOSIT", 70, False)]
    assert Deposit.objects.count() == 1
    assert ledger.balances(wallet.pk) == Balances(0, 70, 0, 0, 0, 70)


def test_block_that_the_chain_had_all_the_time_is_the_same_row(engine, outsider):
    outsider.send(WalletFactory.create().address, 70)
    read(engine)
    # The cursor has seen one hash above the deposit, and none between it and the beginning.
    newest = ChainBlock.objects.latest("number")
    ChainBlock.objects.filter(pk=newest.pk).update(hash="0x" + "00" * 32)

    reading = read(engine)

    assert reading.is_rewound
    assert told() == [("Transfer", "DEPOSIT", 70, False)]
    assert Deposit.objects.count() == 1


def test_node_that_lags_behind_is_no_reorg(engine, reorg):
    engine.chain.finalized_block = lambda: 1

    assert read(engine) == NOTHING
    assert ChainCursor.objects.get().rewinds == 0
