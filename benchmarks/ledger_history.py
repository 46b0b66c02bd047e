"""Do balance, statement page and posting keep their time when the ledger has a long history?

Two databases of one server: one with next to no history, one with millions of transfers over eight
months. The same calls are timed on both in turns, so that a busy machine slows both alike.
"""

import random
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from benchmarks import databases
from benchmarks.crowd import open_wallets
from benchmarks.reports import Goal, Report, Times, milliseconds
from kgen.common.identifiers import uuid7
from wallet import claims, entry_fees, ledger, prize_pools, reconciliation, statements
from wallet.models import Wallet

SLOWEST = 1.3
WALLETS, MEASURED = 10_000, 500
# Transfers of one wallet in one cycle of the filler: see ledger_history.sql.
PER_CYCLE = 5
# What the measured wallets have behind them even in the short history, so that their pages are full.
CYCLES_BEFORE = 30
MONTHS = 8
PAGE = 20
# Calls before those that are timed: the session's plans, the wallets' pages.
WARM_UP = 300
FILL = (Path(__file__).parent / "ledger_history.sql").read_text()

Call = Callable[[], object]


def measure(options: Sequence[str]) -> Report:
    parser = ArgumentParser(prog="python -m benchmarks ledger_history", description=__doc__)
    parser.add_argument("--transfers", type=int, default=5_000_000)
    parser.add_argument("--calls", type=int, default=1000, help="of each kind that are timed")
    given = parser.parse_args(options)

    databases.migrate()
    wallets = random.sample(open_wallets(WALLETS), MEASURED)
    fund(wallets)
    short, long = databases.current(), f"{databases.current()}_long"
    fill(short, cycles=CYCLES_BEFORE, wallets=[wallet.pk for wallet in wallets])
    databases.clone(short, long)
    started = time.perf_counter()
    fill(long, cycles=-(-given.transfers // (WALLETS * PER_CYCLE)), wallets=None)
    filled_in = time.perf_counter() - started

    times = in_turns((short, long), wallets, calls=given.calls)
    report = Report(
        "Calls on a short and on a long history",
        (
            "call",
            "short p50 ms",
            "short p99 ms",
            "long p50 ms",
            "long p99 ms",
            "p50 ratio",
            "p99 ratio",
        ),
    )
    for name, (before, after) in times.items():
        ratio = after.p50 / before.p50
        report.rows.append(
            (
                name,
                *(milliseconds(t) for t in (before.p50, before.p99, after.p50, after.p99)),
                round(ratio, 2),
                round(after.p99 / before.p99, 2),
            )
        )
        report.goals.append(Goal(f"p50 of {name}", ratio, SLOWEST, is_ceiling=True))
    databases.use(long)
    report.notes += [*sizes(short, long), f"Filled in {filled_in:.0f} s.", *audited()]
    report.goals.append(
        Goal("audits that found something", unsound(report.notes), 0, is_ceiling=True, unit="")
    )
    return report


# --- The two histories ---------------------------------------------------------------------------


def fund(wallets: Sequence[Wallet]) -> None:
    now = timezone.now()
    for wallet in wallets:
        with transaction.atomic():
            claims.promise(wallet=wallet, amount=10**9, reference=uuid7())
            claims.credit(
                wallet=wallet, amount=10**9, reference=uuid7(), description="Reward", now=now
            )
    with transaction.atomic():
        prize_pools.open_pool(tournament_id=10**9, tournament_uid=uuid7(), game_id=1)


def fill(database: str, *, cycles: int, wallets: Sequence[int] | None) -> None:
    """Lay `cycles` of play over the months, for these wallets or for all."""
    with databases.owner_of(database) as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute("SET work_mem = '64MB'")
        cursor.execute(FILL)
        cursor.execute("CALL pg_temp.begin_history(%s)", [wallets])
        # Partitions reach from last month to a year ahead; which months they are makes no
        # difference to the calls, and these are there.
        first = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).replace(day=1)
        step = timedelta(days=30 * MONTHS) / cycles
        for cycle in range(1, cycles + 1):
            begins = int((first + step * (cycle - 1)).timestamp() * 1000)
            lasts = max(int(step.total_seconds() * 1000) - 10, 1)
            cursor.execute("CALL pg_temp.add_cycle(%s, %s, %s)", [cycle, begins, lasts])
        cursor.execute("CALL pg_temp.end_history(%s)", [cycles])
        # What autovacuum does in an hour or so.
        cursor.execute("VACUUM (ANALYZE)")


# --- The calls -----------------------------------------------------------------------------------


def in_turns(
    names: Sequence[str], wallets: Sequence[Wallet], *, calls: int
) -> dict[str, list[Times]]:
    """Time each kind of call, every one of them on each database in turn."""
    lines = databases.Lines(names)
    times = {}
    for kind, make in CALLS.items():
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(WARM_UP + calls):
            wallet = random.choice(wallets)
            for name in names if turn % 2 else reversed(names):
                lines.switch_to(name)
                call = make(wallet)
                started = time.perf_counter()
                call()
                took = time.perf_counter() - started
                if turn >= WARM_UP:
                    seconds[name].append(took)
        times[kind] = [Times.of(seconds[name]) for name in names]
    lines.close()
    return times


def balance(wallet: Wallet) -> Call:
    return partial(statements.balance_of, gamer=wallet.gamer)


def newest_page(wallet: Wallet) -> Call:
    return partial(
        statements.page_of, gamer=wallet.gamer, address=wallet.address, limit=PAGE, key=""
    )


def older_page(wallet: Wallet) -> Call:
    first = statements.page_of(gamer=wallet.gamer, address=wallet.address, limit=PAGE, key="")
    return partial(
        statements.page_of,
        gamer=wallet.gamer,
        address=wallet.address,
        limit=PAGE,
        key=first.next_key,
    )


def entry_fee(wallet: Wallet) -> Call:
    pool = prize_pools.pool_of(tournament_id=10**9, game_id=1)

    @transaction.atomic
    def pay() -> None:
        entry_fees.collect(
            wallet=wallet,
            pool=pool,
            amount=10,
            reference=uuid7(),
            description="Entry fee",
            now=timezone.now(),
        )

    return pay


def one_transfer(wallet: Wallet) -> Call:
    target = ledger.wallet_account(wallet.pk, ledger.Bucket.CLAIMABLE)
    leg = ledger.Leg(ledger.TREASURY, target, 10, ledger.Kind.GRANT)

    @transaction.atomic
    def post() -> None:
        ledger.post([leg], posting_id=uuid7())

    return post


CALLS: dict[str, Callable[[Wallet], Call]] = {
    "balance": balance,
    "newest page of transactions": newest_page,
    "older page of transactions": older_page,
    "entry fee": entry_fee,
    "posting of one transfer": one_transfer,
}


# --- What was measured on ------------------------------------------------------------------------


def sizes(*names: str) -> list[str]:
    told = []
    for name in names:
        databases.use(name)
        transfers = _one("SELECT count(*) FROM ledger.transfer")
        entries = _one("SELECT count(*) FROM wallet_wallettransaction")
        size = _one("SELECT pg_size_pretty(pg_database_size(current_database()))")
        told.append(f"{name}: {transfers:,} transfers, {entries:,} wallet transactions, {size}")
    return told


def audited() -> list[str]:
    """Every audit over the whole long history: the filler kept the books as the ledger would."""
    told = []
    for audit in reconciliation.AUDITS:
        started = time.perf_counter()
        findings = audit.find()
        took = time.perf_counter() - started
        told.append(f"Audit: {audit.title}: {len(findings)} found, {took:.1f} s")
    return told


def unsound(notes: Sequence[str]) -> int:
    return sum(note.startswith("Audit: ") and ": 0 found" not in note for note in notes)


def _one(question: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]
