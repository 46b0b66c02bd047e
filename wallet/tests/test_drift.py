"""Drift that somebody plants past every guard is found by the minute's run, and stops the payouts."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.tests.staff import staff_user
from kgen.common.admin import FINANCE, SUPPORT
from kgen.common.models import StaffAct
from wallet import drift, ledger, reconciliation, tasks
from wallet.ledger import Bucket
from wallet.models import PayoutSwitch, ReconciliationRun, WalletTransaction
from wallet.settlement import pausing
from wallet.settlement.chain import Block, ChainUnavailable
from wallet.tests.factories import WalletFactory, fill
from wallet.tests.settling import give_bonus, payout_of, status

Scope = ReconciliationRun.Scope

PLANTED = [
    ("UPDATE ledger.account SET balance = balance + 1 WHERE bucket = 'bonus'", Scope.CHANGED),
    (
        """
        INSERT INTO ledger.transfer (posting_id, phase, leg, kind, debit_id, credit_id, amount)
        SELECT uuidv7(), 0, 1, 'GRANT', 2, id, 9 FROM ledger.account WHERE bucket = 'earned'
        """,
        Scope.CHANGED,
    ),
    (
        """
        ALTER TABLE ledger.transfer DISABLE TRIGGER USER;
        UPDATE ledger.transfer SET amount = amount + 1 WHERE phase = 0
        """,
        Scope.FULL,
    ),
    (
        """
        ALTER TABLE ledger.transfer DISABLE TRIGGER USER;
        DELETE FROM ledger.transfer WHERE phase = 0
        """,
        Scope.FULL,
    ),
]


class FakeChain:
    """A chain that says what the test wants, one answer after the other."""

    def __init__(self, *answers: dict[str, int]) -> None:
        self.answers = list(answers)

    def finalized(self) -> Block:
        raise AssertionError("no block of this network gets stale")

    def finalized_block(self) -> int:
        if not self.answers:
            raise ChainUnavailable("timed out")
        return 1

    def balances(self, addresses: Sequence[str], *, block: int) -> list[int]:
        held = self.answers.pop(0)
        return [held.get(address, 0) for address in addresses]

    def nonce(self, address: str, *, block: int | str) -> int:
        raise AssertionError("no lane is open here")


@pytest.fixture(autouse=True)
def _no_chain(request, settings) -> None:
    # Flows are called here for no seat and no reward.
    settings.LEDGER_AUDITS = ("wallet.reconciliation.AUDITS",)
    if "engine" not in request.fixturenames:
        settings.CHAIN_RPC_URL = ""


@pytest.fixture
def wallet(db):
    return WalletFactory.create()


def wallet_with_bonus():
    """A wallet whose welcome bonus of 50 KCash is final on the chain, as far as we know."""
    wallet = WalletFactory.create()
    bonus = give_bonus(wallet)
    ledger.confirm_on_chain(transaction_uid=bonus.uid, wallet_id=wallet.pk, signed_amount=50)
    WalletTransaction.objects.filter(pk=bonus.pk).update(sync_status="COMPLETED")
    return wallet


@pytest.fixture
def holding(db):
    return wallet_with_bonus()


def plant(owner, statement: str) -> None:
    with owner.cursor() as cursor:
        cursor.execute(statement)
        # What is counted goes to the server's statistics now, and not within some seconds.
        cursor.execute("SELECT pg_stat_force_next_flush()")


def last_run() -> ReconciliationRun:
    return ReconciliationRun.objects.latest("pk")


def reconcile(chain: FakeChain, *, scope=Scope.CHANGED) -> ReconciliationRun:
    run = drift.first_look(scope=scope, chain=chain, now=timezone.now())
    drift.conclude(run, chain=chain, now=timezone.now())
    return run


def is_paused() -> bool:
    return PayoutSwitch.objects.get().is_paused


# --- Planted -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "scope"), PLANTED)
def test_planted_drift_is_found_by_one_run_and_pauses_payouts(owner, caplog, fault, scope):
    with transaction.atomic():
        give_bonus(WalletFactory.create())
    tasks.reconcile_changes()
    clean = last_run()

    plant(owner, fault)
    tasks.reconcile_changes()

    assert (clean.scope, clean.findings, clean.problem) == (Scope.FULL, [], "")
    run, switch = last_run(), PayoutSwitch.objects.get()
    assert run.scope == scope
    assert "Balances are the sum of transfers" in {one["audit"] for one in run.findings}
    assert (switch.is_paused, switch.changed_by) == (True, "reconciliation")
    assert switch.reason.startswith("Drift, ")
    assert [r.levelno for r in caplog.records if "Payouts are paused" in r.message] == [
        logging.ERROR
    ]


def test_run_looks_at_what_was_written_since_the_last_clean_one(committed_database):
    with transaction.atomic():
        still, moved = WalletFactory.create(bonus=5), WalletFactory.create(bonus=5)
    # Not the horizon itself: other tests of this server have transactions open, which hold it back.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        (past,) = cursor.fetchone()
    with transaction.atomic():
        fill(moved, Bucket.BONUS, 1)

    changed = reconciliation.accounts_changed_since(timezone.now() + timedelta(hours=1), past=past)

    assert changed == [ledger.wallet_account(moved.pk, Bucket.BONUS)]
    assert still.pk != moved.pk


def test_queries_do_not_grow_with_the_wallets(committed_database):
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            tasks.reconcile_changes()
        return len(captured)

    tasks.reconcile_changes()
    with transaction.atomic():
        give_bonus(WalletFactory.create())
    few = queries()
    with transaction.atomic():
        for _ in range(5):
            give_bonus(WalletFactory.create())

    assert queries() == few
    assert list(ReconciliationRun.objects.values_list("findings", flat=True)) == [[]] * 3


# --- Two looks -----------------------------------------------------------------------------------


def test_what_the_second_look_does_not_find_is_no_drift(holding):
    run = reconcile(FakeChain({holding.address: 7}, {holding.address: 50}))

    assert run.suspects == [
        {
            "audit": "Wallets are what the chain says",
            "subject": f"wallet {holding.pk} {holding.address}",
            "problem": "ledger 50, chain 7",
        }
    ]
    assert run.findings == []
    assert not is_paused()


def test_what_only_the_second_look_finds_waits_for_the_next_run(holding):
    other = wallet_with_bonus()

    run = reconcile(FakeChain({other.address: 50}, {holding.address: 50}))

    assert run.findings == []
    assert not is_paused()


def test_what_both_looks_find_is_drift(holding):
    run = reconcile(FakeChain({holding.address: 7}, {holding.address: 6}))

    assert [one["problem"] for one in run.findings] == ["ledger 50, chain 6"]
    assert is_paused()


def test_kcash_from_a_stranger_pauses_nobody(holding, caplog):
    with caplog.at_level(logging.WARNING):
        run = reconcile(FakeChain({holding.address: 51}))

    assert (run.suspects, run.findings) == ([], [])
    assert not is_paused()
    assert caplog.messages == [
        f"A deposit is not booked: wallet {holding.pk} {holding.address}: ledger 50, chain 51"
    ]


def test_chain_that_does_not_answer_pauses_nothing_and_is_not_clean(wallet):
    silent = reconcile(FakeChain())
    answered = reconcile(FakeChain({}))

    assert (silent.findings, silent.problem) == ([], "The chain could not be asked: timed out")
    assert not is_paused()
    # With no clean run before it, it had to look at everything.
    assert (answered.scope, answered.problem) == (Scope.FULL, "")


def test_old_runs_are_forgotten(db):
    now = timezone.now()
    for age in (29, 31):
        ReconciliationRun.objects.create(
            scope=Scope.CHANGED,
            started_at=now - timedelta(days=age),
            horizon=1,
            rewritten_rows=0,
        )

    tasks.reconcile_everything()

    kept = ReconciliationRun.objects.order_by("started_at")
    assert [(now - run.started_at).days for run in kept] == [29, -1]


# --- Paused --------------------------------------------------------------------------------------


def test_paused_payouts_are_not_submitted_and_open_ones_go_on(engine, wallet):
    under_way = give_bonus(wallet)
    engine.tick()
    pausing.pause(reason="drift", by="fin", now=timezone.now())
    waiting = give_bonus(WalletFactory.create())

    engine.settle_all()

    assert (status(under_way), status(waiting)) == ("COMPLETED", "PENDING")
    assert payout_of(waiting).state == "PENDING"

    pausing.resume(reason="counted again", by="fin", now=timezone.now())
    engine.settle_all()

    assert status(waiting) == "COMPLETED"


def test_drift_that_lasts_pauses_again(wallet):
    fill(wallet, Bucket.BONUS, 1)
    tasks.reconcile_changes()
    assert is_paused()

    pausing.resume(reason="an error of the audit", by="fin", now=timezone.now())
    tasks.reconcile_changes()

    assert is_paused()
    assert PayoutSwitch.objects.get().changed_by == "reconciliation"


def test_pause_of_a_person_is_kept(wallet):
    pausing.pause(reason="maintenance", by="fin", now=timezone.now())
    fill(wallet, Bucket.BONUS, 1)

    tasks.reconcile_changes()

    switch = PayoutSwitch.objects.get()
    assert (switch.changed_by, switch.reason) == ("fin", "maintenance")


# --- Resuming from the command line --------------------------------------------------------------


def resume(user: User, reason: str = "counted again") -> str:
    output = StringIO()
    call_command("resume_payouts", user=user.username, reason=reason, stdout=output)
    return output.getvalue().strip()


def test_finance_resumes_with_a_reason_that_is_kept(db):
    user = staff_user(FINANCE)
    pausing.pause(reason="drift", by="reconciliation", now=timezone.now())

    assert resume(user) == "Payouts are on."

    switch = PayoutSwitch.objects.get()
    assert (switch.is_paused, switch.changed_by, switch.reason) == (
        False,
        user.username,
        "counted again",
    )
    entry = StaffAct.objects.get()
    assert (entry.by, entry.object_pk) == (user, str(switch.pk))
    assert entry.line() == "Resume payouts: counted again"


@pytest.mark.parametrize(("role", "reason"), [(SUPPORT, "counted again"), (FINANCE, " ")])
def test_others_and_the_unexplained_are_refused(db, role, reason):
    user = staff_user(role)
    pausing.pause(reason="drift", by="reconciliation", now=timezone.now())

    with pytest.raises(CommandError):
        resume(user, reason)

    assert is_paused()
    assert not StaffAct.objects.exists()


def test_payouts_that_are_on_are_not_resumed(db):
    user = staff_user(FINANCE)

    with pytest.raises(CommandError, match="that state already"):
        resume(user)

    assert not StaffAct.objects.exists()
