"""Each audit finds the fault that it is named for, planted by the owner past every guard."""

from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone
from web3 import HTTPProvider

from accounts.tests.factories import GamerFactory
from accounts.tests.staff import staff_user
from kgen.common.identifiers import uuid7
from wallet import (
    chain_events,
    claims,
    closing,
    corrections,
    entry_fees,
    ledger,
    prize_pools,
    reconciliation,
    welcome_bonus,
)
from wallet import withdrawals as withdrawing
from wallet.models import ChainEvent, Operator, Payout, WalletTransaction
from wallet.reconciliation import (
    AUDITS,
    ChainComparison,
    ChainLook,
    Finding,
    TournamentBooks,
)
from wallet.settlement.chain import ChainUnavailable, Web3Chain
from wallet.tests.factories import KgenWalletFactory, WalletFactory
from wallet.tests.outside import transfer
from wallet.tests.owner import move_to_the_past
from wallet.tests.settling import give_bonus, join
from wallet.tests.test_flows import FLOAT

TOURNAMENT = uuid4()
BOOKS = TournamentBooks(
    stakes=100,
    refunds=0,
    sponsored=0,
    prizes=85,
    rake=15,
    remainder=0,
    in_pool=0,
    ledger_sum=0,
)


@pytest.fixture(autouse=True)
def _settlement(settings, request) -> None:
    if "engine" in request.fixturenames:
        return
    settings.SETTLEMENT_ADDRESS = "0x" + "5e" * 20
    settings.CHAIN_RPC_URL = ""
    # Flows are called here for no seat and no reward.
    settings.LEDGER_AUDITS = ("wallet.reconciliation.AUDITS",)


@transaction.atomic
def play():
    """A little of everything: bonus, fees, prizes, a claim, a withdrawal, the chain's word."""
    now = timezone.now()
    gamer = GamerFactory.create(linked=True, game__min_withdrawal=1)
    KgenWalletFactory.create(account=gamer.kgen_account)
    wallet = WalletFactory.create(gamer=gamer)
    bonus = welcome_bonus.grant(wallet=wallet, now=now)
    assert bonus is not None
    pool = prize_pools.open_pool(tournament_id=1, tournament_uid=TOURNAMENT, game_id=gamer.game_id)
    entry_fees.collect(
        wallet=wallet, pool=pool, amount=30, reference=uuid7(), description="", now=now
    )
    claims.promise(wallet=wallet, amount=80, reference=uuid7())
    claims.credit(wallet=wallet, amount=80, reference=uuid7(), description="", now=now)
    withdrawing.withdraw(gamer=gamer, now=now)
    asked = corrections.ask(
        wallet=wallet,
        bucket=ledger.Bucket.BOUGHT,
        direction=WalletTransaction.Direction.CREDIT,
        amount=5,
        reason="bought twice, booked once",
        by=staff_user(username="sam"),
        now=now,
    )
    corrections.approve(
        correction=asked, reason="seen the receipt", by=staff_user(username="ada"), now=now
    )
    return wallet


def findings() -> dict[str, list[Finding]]:
    """What each audit that found anything has found."""
    found = {audit.title: audit.find() for audit in AUDITS}
    return {title: problems for title, problems in found.items() if problems}


@pytest.mark.django_db
def test_sound_books_have_no_findings():
    play()

    assert findings() == {}


@pytest.mark.django_db
def test_empty_books_have_no_findings():
    assert findings() == {}


ZERO = "All accounts together are zero"
CHAIN = "Each account's transfers follow each other"
SUM = "Balances are the sum of transfers"
WAITING = "Waiting credits are transfers"
STRANGERS = "Transfers join accounts of one asset"
HOLDS = "Holds are withdrawals under way"
WALLETS = "Wallets are the sum of transactions"
OVERDRAWN = "No account is overdrawn"
POSTED = "Transactions are posted"
TOLD = "Postings are transactions"
CORRECTED = "Corrections are what was approved"
EMPTY = "Pools are empty once paid out"
ORDERED = "The chain did what was ordered"
DAYS = "Closed days are as they were"
SNAPSHOTS = "Snapshots are sums"

PLANTED = {
    "UPDATE ledger.account SET balance = balance + 1 WHERE bucket = 'bonus'": {
        ZERO,
        CHAIN,
        SUM,
        WALLETS,
    },
    "UPDATE ledger.account SET seq = seq + 1 WHERE bucket = 'bonus'": {CHAIN},
    "ALTER TABLE ledger.account DROP CONSTRAINT account_never_overdrawn;"
    "UPDATE ledger.account SET balance = -5 WHERE bucket = 'bought'": {
        OVERDRAWN,
        ZERO,
        CHAIN,
        SUM,
        WALLETS,
    },
    "ALTER TABLE wallet_correction DISABLE TRIGGER USER;"
    "UPDATE wallet_correction SET amount = amount + 1": {CORRECTED},
    "ALTER TABLE wallet_correction DISABLE TRIGGER USER; DELETE FROM wallet_correction": {
        CORRECTED
    },
    "ALTER TABLE ledger.transfer DISABLE TRIGGER USER;"
    "UPDATE ledger.transfer SET kind = 'GRANT' WHERE kind = 'ADJUST'": {
        POSTED,
        CORRECTED,
        DAYS,
    },
    "DELETE FROM ledger.pending_credit": {ZERO, SUM},
    "UPDATE ledger.pending_credit SET amount = amount + 1": {ZERO, SUM, WAITING},
    "ALTER TABLE ledger.transfer DISABLE TRIGGER USER;"
    "UPDATE ledger.transfer SET debit_id = 999999 WHERE kind = 'GRANT'": {
        ZERO,
        STRANGERS,
        DAYS,
        SNAPSHOTS,
    },
    "ALTER TABLE ledger.transfer DISABLE TRIGGER USER;"
    "DELETE FROM ledger.transfer WHERE kind = 'CLAIM'": {CHAIN, SUM, POSTED, DAYS},
    # A fault that agrees with itself in every table: only the days that were told know better.
    "ALTER TABLE ledger.transfer DISABLE TRIGGER USER;"
    "UPDATE ledger.transfer SET created_at = created_at + interval '1 second'": {DAYS},
    "ALTER TABLE ledger.day_digest DISABLE TRIGGER USER;"
    "DELETE FROM ledger.day_digest WHERE day = (SELECT min(day) FROM ledger.day_digest)": {DAYS},
    "ALTER TABLE ledger.snapshot DISABLE TRIGGER USER;"
    "UPDATE ledger.snapshot SET balance = balance - 1 WHERE account_id = 1": {SNAPSHOTS},
    "ALTER TABLE wallet_payout DISABLE TRIGGER USER;"
    "UPDATE wallet_payout SET amount = amount + 1 WHERE kind = 'WITHDRAW'": {HOLDS},
    "UPDATE wallet_wallettransaction SET sync_status = 'COMPLETED'": {WALLETS, POSTED},
    "ALTER TABLE wallet_wallettransaction DISABLE TRIGGER USER;"
    "DELETE FROM wallet_wallettransaction WHERE type = 'WELCOME_BONUS'": {WALLETS, TOLD},
    "INSERT INTO ledger.transfer"
    " (posting_id, phase, leg, kind, debit_id, credit_id, amount, debit_seq, debit_after)"
    " SELECT uuidv7(), 0, 1, 'PRIZE', id, 2, 1, 1, 0 FROM ledger.account WHERE bucket = 'pool'": {
        ZERO,
        CHAIN,
        SUM,
        EMPTY,
    },
    "INSERT INTO wallet_chainevent"
    " (chain_id, block_number, block_hash, tx_hash, log_index, name, meaning, amount, read_at,"
    "  explanation, explained_by)"
    " VALUES (31337, 1, '', '', 0, 'Transfer', 'UNKNOWN', 5, now(), '', '')": {ORDERED},
}


def test_every_planted_fault_is_found(owner):
    play()
    move_to_the_past(owner, days=3)
    closing.close_days(now=timezone.now())
    found = {}

    for fault in PLANTED:
        with owner.cursor() as cursor:
            # Each fault is looked at in the owner's own transaction, which is then undone.
            cursor.execute("BEGIN")
            cursor.execute(fault)
            found[fault] = {audit.title for audit in AUDITS if _ask_as(owner, audit)}
            cursor.execute("ROLLBACK")

    assert found == PLANTED
    assert {title for titles in PLANTED.values() for title in titles} == {
        audit.title for audit in AUDITS
    }


def _ask_as(owner: Any, audit: reconciliation.Audit) -> list[Finding]:
    """Ask an audit's question over the owner's connection."""
    application, connection.connection = connection.connection, owner
    try:
        return audit.find()
    finally:
        connection.connection = application


# --- One tournament ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "is_balanced"),
    [
        ({}, True),
        ({"prizes": 80, "remainder": 5}, True),
        ({"sponsored": 50, "prizes": 135}, True),
        ({"prizes": 0, "rake": 0, "refunds": 100}, True),
        ({"prizes": 0, "rake": 0, "in_pool": 100}, True),
        ({"prizes": 84}, False),
        ({"prizes": 86}, False),
        ({"refunds": 10}, False),
        ({"ledger_sum": 1}, False),
    ],
)
def test_tournament_is_balanced_when_what_went_in_came_out(changed, is_balanced):
    assert replace(BOOKS, **changed).is_balanced is is_balanced


@pytest.mark.django_db
def test_books_of_a_tournament_are_read_from_its_pool(django_assert_num_queries):
    play()

    # The pool's account; its figures, all of one moment; the sum of all accounts.
    with django_assert_num_queries(3):
        books = reconciliation.tournament_books(TOURNAMENT)

    assert books == TournamentBooks(
        stakes=30,
        refunds=0,
        sponsored=0,
        prizes=0,
        rake=0,
        remainder=0,
        in_pool=30,
        ledger_sum=0,
    )


# --- The command ---------------------------------------------------------------------------------


def audit_ledger(*arguments: str) -> list[str]:
    output = StringIO()
    call_command("audit_ledger", *arguments, stdout=output)
    return output.getvalue().splitlines()


@pytest.mark.django_db
def test_audit_ledger_prints_a_line_for_each_audit(settings):
    settings.LEDGER_AUDITS = ("wallet.reconciliation.AUDITS", "tournaments.audits.AUDITS")

    lines = audit_ledger()

    assert lines == [
        *(f"{audit.title:<44} ok" for audit in reconciliation.all_audits()),
        f"{'Wallets are what the chain says':<44} not compared: no chain is configured",
        "The ledger is right.",
    ]


@pytest.mark.django_db
def test_audit_ledger_prints_a_tournament_in_one_line():
    play()

    (line,) = audit_ledger("--tournament", str(TOURNAMENT))

    assert line == (
        "stakes=30 refunds=0 sponsored=0 prizes=0 rake=0 remainder=0 in_pool=30 ledger_sum=0"
    )


@pytest.mark.django_db
def test_audit_ledger_of_an_unknown_tournament_fails():
    with pytest.raises(CommandError, match="has a pool"):
        audit_ledger("--tournament", str(uuid4()))


@pytest.mark.django_db
def test_audit_ledger_fails_on_a_finding():
    wallet = play()
    # Money without a wallet transaction, which no flow makes.
    ledger.post(
        [
            ledger.Leg(
                debit=ledger.MINT,
                credit=ledger.wallet_account(wallet.pk, ledger.Bucket.BONUS),
                amount=1,
                kind=ledger.Kind.GRANT,
            )
        ],
        posting_id=uuid7(),
    )
    output = StringIO()

    with pytest.raises(CommandError, match="1 findings"):
        call_command("audit_ledger", stdout=output)

    assert (
        f"  wallet {wallet.pk}: lazy 26, transactions say 25; on chain 0, synced transactions say 0"
        in output.getvalue().splitlines()
    )


# --- The chain -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_mirror_is_compared_with_the_chain(engine):
    followed, ahead = WalletFactory.create(), WalletFactory.create(onchain=7)
    give_bonus(followed)
    engine.settle_all()

    comparison = reconciliation.compare_with_chain(engine.chain)

    assert ledger.balances(followed.pk).onchain == 50
    assert comparison == ChainComparison(
        missing=[Finding(f"wallet {ahead.pk} {ahead.address}", "ledger 7, chain 0")], unbooked=[]
    )


@pytest.mark.django_db
def test_payout_that_is_final_and_not_booked_yet_is_no_difference(engine):
    wallet = WalletFactory.create()
    give_bonus(wallet)
    engine.tick()
    engine.finalize()

    assert engine.onchain(wallet) == 50
    assert ledger.balances(wallet.pk).onchain == 0
    assert reconciliation.compare_with_chain(engine.chain) == ChainComparison([], [])


@pytest.mark.django_db
def test_payout_that_is_paid_while_it_is_being_voided_is_no_difference(engine):
    incoming, outgoing = WalletFactory.create(), WalletFactory.create()
    give_bonus(outgoing)
    engine.settle_all()
    give_bonus(incoming)
    join(outgoing, 20)
    engine.now += timedelta(minutes=1)
    engine.tick()
    engine.finalize()

    under_way = look(engine)
    Payout.objects.filter(state="SUBMITTED").update(state="VOIDING")
    voiding = look(engine)
    Payout.objects.filter(state="VOIDING").update(state="FAILED")
    failed = look(engine)

    assert (engine.onchain(incoming), engine.onchain(outgoing)) == (50, 30)
    assert ledger.balances(incoming.pk).onchain == 0
    assert ledger.balances(outgoing.pk).onchain == 50
    assert under_way == voiding == ChainLook(wrong=[], unbooked=[], kcash=0)
    # Not under way, the same payments are drift: in both wallets, and in the float.
    assert failed.kcash == 50 + 20 + 30


def look(engine, accounts=None) -> ChainLook:
    chain_events.read(chain=engine.chain, now=timezone.now())
    return reconciliation.look_at_chain(engine.chain, accounts)


@pytest.mark.django_db
def test_chain_and_books_agree_while_payouts_are_under_way(engine):
    give_bonus(wallet := WalletFactory.create())
    engine.settle_all()
    join(wallet, 20)
    give_bonus(WalletFactory.create())
    looks = []

    for step in (engine.finalize, engine.tick, engine.mine, engine.tick, engine.finalize):
        step()
        looks.append(look(engine))
    engine.settle_all()

    assert looks == [ChainLook(wrong=[], unbooked=[], kcash=0)] * 5
    assert look(engine) == ChainLook(wrong=[], unbooked=[], kcash=0)


@pytest.mark.django_db
def test_every_kcash_that_differs_is_counted(engine):
    WalletFactory.create(onchain=7)
    more = WalletFactory.create()
    engine.finalize()

    before = look(engine)
    transfer(engine, engine.bench.admin, more.address, 5)
    # Not read yet, so not booked either.
    after = reconciliation.look_at_chain(engine.chain)

    assert (before.kcash, len(before.wrong), before.unbooked) == (7, 1, [])
    assert (after.kcash, len(after.wrong), len(after.unbooked)) == (12, 1, 1)


@pytest.mark.django_db
def test_float_that_was_drained_is_found_until_it_is_filled_again(engine):
    engine.finalize()
    assert look(engine).wrong == []
    # As if it had been paid out: no event tells of another way.
    ChainEvent.objects.filter(meaning="FLOAT").update(meaning="PAYOUT")

    drained = look(engine)
    partial = look(engine, accounts=[])

    assert drained.wrong == [
        ("The float is what was put in and not paid out", Finding(FLOAT, "+10000000000 KCash"))
    ]
    assert drained.kcash == 10_000_000_000
    assert partial.wrong == []


@pytest.mark.django_db
def test_float_that_staff_take_from_is_right(engine):
    transfer(engine, engine.bench.float_wallet, "0x" + "0f" * 20, 1_000)

    assert look(engine).wrong == []
    assert findings()[ORDERED][0].problem == (
        f"Transfer of 1000 from {engine.bench.float_wallet} to 0x{'0f' * 20}"
        " was ordered by nobody here"
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("nonce", "told"),
    [
        (0, "nonces 1 to 1 here, 0 on the chain"),
        (2, "nonces 1 to 1 here, 2 on the chain"),
    ],
)
def test_nonces_of_a_lane_are_those_of_the_chain(engine, nonce, told):
    give_bonus(WalletFactory.create())
    engine.settle_all()
    lane = Operator.objects.get()
    assert look(engine).wrong == []

    engine.bench.chain.rpc("anvil_setNonce", lane.address, hex(nonce))
    engine.finalize()

    assert look(engine).wrong == [
        ("Lanes have used the nonces of their slots", Finding(f"lane {lane.address}", told))
    ]


def test_thousands_of_wallets_take_few_requests(bench, monkeypatch):
    chain = Web3Chain(settings.CHAIN_RPC_URL, kcash_address=settings.KCASH_ADDRESS)
    sent, send = [], HTTPProvider.make_batch_request

    def counted(provider, batch):
        sent.append(len(batch))
        return send(provider, batch)

    monkeypatch.setattr(HTTPProvider, "make_batch_request", counted)
    others = [f"0x{number:040x}" for number in range(1, 1100)]
    latest = bench.web3.eth.block_number

    held = chain.balances([bench.float_wallet, *others], block=latest)

    assert sent == [500, 500, 100]
    assert held == [bench.balance(bench.float_wallet), *[0] * 1099]


def test_batch_that_is_not_answered_is_no_balance(bench):
    chain = Web3Chain(settings.CHAIN_RPC_URL, kcash_address=settings.KCASH_ADDRESS)
    future = bench.web3.eth.block_number + 1_000_000

    with pytest.raises(ChainUnavailable):
        chain.balances([bench.float_wallet], block=future)
