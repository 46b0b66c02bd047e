"""The ledger's tests notice when a rule is taken out of it.

Each mutant is planted by the owner of a database of its own, and what watches over that rule has to
fail. That the ledger as it is passes is for the tests beside this one to show.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import DatabaseError

from wallet.ledger import LedgerBusy
from wallet.tests import test_ledger_races as races
from wallet.tests.ledger_model import run
from wallet.tests.owner import owner_of_this_database

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("committed_database")]

REPLAY = "SELECT FROM ledger.transfer\n                WHERE posting_id = p_posting_id AND phase = p_phase"


@dataclass(frozen=True)
class Mutant:
    name: str
    function: str
    before: str
    after: str

    def plant(self, cursor: Any) -> None:
        cursor.execute("SELECT pg_get_functiondef(%s::regproc)", [f"ledger.{self.function}"])
        [source] = cursor.fetchone()
        assert self.before in source, "the function has moved on: plant this mutant anew"
        cursor.execute(source.replace(self.before, self.after))


MUTANTS = [
    Mutant("fold removed", "fold_pending_credits", "account.mode = 'Q'", "false"),
    Mutant(
        "payload not compared: one leg",
        "post1",
        "(v_known.kind, v_known.debit_id, v_known.credit_id, v_known.amount)",
        "(p_kind, p_debit, p_credit, p_amount)",
    ),
    Mutant("payload not compared: only the first leg", "post1", "AND leg > 1", "AND leg > 99"),
    Mutant(
        "payload not compared: many legs",
        "post",
        "(known.kind, known.debit_id, known.credit_id, known.amount)",
        "(asked.kind, asked.debit_id, asked.credit_id, asked.amount)",
    ),
    Mutant(
        "payload not compared: spend",
        "spend",
        "v_known.request_hash IS DISTINCT FROM",
        "false AND v_request IS DISTINCT FROM",
    ),
    Mutant("floor dropped: spend", "spend", "v_available < p_total", "false"),
    Mutant("+1 on credit: one leg", "post1", "balance + p_amount", "balance + p_amount + 1"),
    Mutant("+1 on credit: few legs", "write_leg", "balance + p_amount", "balance + p_amount + 1"),
    Mutant(
        "+1 on credit: many legs",
        "write_many_legs",
        "credit_id, amount, false",
        "credit_id, amount + 1, false",
    ),
    Mutant("replay check removed: one leg", "post1", "IF v_is_known", "IF false"),
    Mutant(
        "replay check removed: many legs",
        "post",
        f"IF EXISTS ({REPLAY})",
        f"IF false AND EXISTS ({REPLAY})",
    ),
    Mutant("replay check removed: spend", "spend", "IF FOUND", "IF false"),
    Mutant("phase ignored: one leg", "post1", " AND phase = p_phase", ""),
    Mutant("phase ignored: many legs", "post", " AND phase = p_phase", ""),
    Mutant("phase ignored: mirror", "mirror", " AND phase = 0", ""),
    Mutant("part of a hold ends it", "post", "p_phase = 1 AND", "false AND"),
    Mutant("queue insert removed: one leg", "post1", "v_credit_mode = 'Q'", "false"),
    Mutant("queue insert removed: few legs", "write_leg", "v_credit_mode = 'Q'", "false"),
    Mutant("queue insert removed: many legs", "write_many_legs", "WHERE is_queued", "WHERE false"),
    Mutant("assets not compared", "post1", "USING (asset_id)", "ON true"),
    Mutant("pool pays and takes", "post", "IF v_is_queue_on_both_sides", "IF false"),
    Mutant(
        "buckets emptied out of order",
        "spend",
        "OVER (ORDER BY place)",
        "OVER (ORDER BY place DESC)",
    ),
]
# What only threads can find.
RACED: list[tuple[Mutant, Callable[[], None]]] = [
    (
        Mutant(
            "no locks before the look for a replay",
            "lock_accounts",
            "WHERE id",
            "WHERE false AND id",
        ),
        races.test_same_posting_at_once_is_made_once,
    ),
    (
        Mutant("no locks: one leg", "post1", "FOR NO KEY UPDATE", ""),
        races.test_single_transfers_at_once_never_count_the_same_coin,
    ),
    (
        Mutant("no locks before the split", "spend", "FOR NO KEY UPDATE", ""),
        races.test_two_fees_at_once_never_count_the_same_coin,
    ),
]
# What a suite says that noticed: an assertion, or an error where none was expected.
NOTICED = (AssertionError, DatabaseError, LedgerBusy)


def watch() -> None:
    run(examples=25, steps=30, seeks_smallest=False)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_model_finds_the_mutant(mutant):
    with owner_of_this_database() as cursor:
        mutant.plant(cursor)

    with pytest.raises(NOTICED):
        watch()


def lose(race: Callable[[], None]) -> None:
    """A race that can be lost is lost sooner or later."""
    for _ in range(50):
        race()


@pytest.mark.parametrize(("mutant", "race"), RACED, ids=lambda case: getattr(case, "name", ""))
def test_race_finds_the_mutant(mutant, race):
    with owner_of_this_database() as cursor:
        mutant.plant(cursor)

    with pytest.raises(NOTICED):
        lose(race)


def test_model_finds_the_missing_floor():
    with owner_of_this_database() as cursor:
        cursor.execute("ALTER TABLE ledger.account DROP CONSTRAINT account_never_overdrawn")
        cursor.execute("ALTER TABLE ledger.transfer DROP CONSTRAINT transfer_never_overdraws")

    with pytest.raises(NOTICED):
        watch()
