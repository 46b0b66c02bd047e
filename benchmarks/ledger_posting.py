"""How fast the ledger posts: against plain ORM rows, with and without queued credits, and in bulk.

Sixteen clients at once. Of each pair the rounds alternate, so that a busy machine slows both alike;
what counts is the ratio.
"""

import multiprocessing
import os
import random
import re
import subprocess
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from statistics import median
from tempfile import NamedTemporaryFile
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from benchmarks import databases, plain_rows
from benchmarks.crowd import open_wallets
from benchmarks.reports import Goal, Report, milliseconds
from kgen.common.identifiers import uuid7
from tournaments import settling
from tournaments.tests.crowds import crowd_of
from tournaments.tests.factories import TournamentFactory
from wallet import ledger, prize_pools
from wallet.ledger import Bucket, Kind, Leg

CLIENTS, WALLETS, ENTRANTS = 16, 10_000, 10_000
GRANT = Kind.GRANT.value

Post = Callable[[], object]


def measure(options: Sequence[str]) -> Report:
    parser = ArgumentParser(prog="python -m benchmarks ledger_posting", description=__doc__)
    # A new connection is slow until it has read the catalog: in a short turn that shows.
    parser.add_argument("--seconds", type=float, default=10, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(options)

    databases.migrate()
    accounts = Accounts()
    with databases.owner_of(databases.current()) as cursor:
        application = connection.settings_dict["USER"]
        cursor.execute(
            plain_rows.TABLES.format(application=application, accounts=len(accounts.earned) + 1)
        )
        cursor.execute("VACUUM (ANALYZE)")

    rates: dict[str, list[float]] = {}
    for _ in range(given.rounds):
        for name, post in django_posts(accounts).items():
            rates.setdefault(name, []).append(together(post, seconds=given.seconds))
        for name, script in bare_scripts(accounts).items():
            rates.setdefault(name, []).append(pgbench(script, seconds=given.seconds))

    report = Report("Postings a second, 16 clients", ("posting", "median", "turns"))
    for name, turns in rates.items():
        report.rows.append((name, round(median(turns)), " ".join(f"{rate:.0f}" for rate in turns)))
    report.goals += [
        Goal(f"{fast} : {slow}", _ratio(rates, fast, slow), limit, is_ceiling=False)
        for fast, slow, limit in RATIOS
    ]
    report.notes += [
        f"{fast} : {slow}: {_ratio(rates, fast, slow):.2f} x" for fast, slow in COMPARED
    ]
    report.goals += [
        Goal("a posting of 1000 legs", milliseconds(thousand_legs(accounts)), 500, True, "ms"),
        Goal("settling 10,000 entrants", settle_a_crowd(), 2, True, "s"),
    ]
    return report


# Faster, slower, and how many times at least. A call is one statement and so a transaction of its
# own; a flow begins and commits one, as every caller in the product does, and pays for two more trips
# to the server.
RATIOS = [
    ("call, anybody to anybody", "ORM, anybody to anybody", 6),
    ("call, all into one pool", "ORM, all into one account", 10),
    ("flow, anybody to anybody", "pgbench, anybody to anybody", 0.4),
    ("pgbench, all into one pool", "pgbench, all into one strict account", 3),
]
# Told beside them.
COMPARED = [
    ("flow, anybody to anybody", "ORM, anybody to anybody"),
    ("flow, all into one pool", "ORM, all into one account"),
]


def _ratio(rates: dict[str, list[float]], fast: str, slow: str) -> float:
    """The median over the rounds, in each of which the two ran side by side."""
    return median(a / b for a, b in zip(rates[fast], rates[slow], strict=True))


class Accounts:
    """Ten thousand funded wallets, a pool, and one account that everybody pays into."""

    def __init__(self) -> None:
        ids = [wallet.pk for wallet in open_wallets(WALLETS + 1)]
        by_wallet = ledger.accounts_of_each(ids, Bucket.EARNED)
        self.earned = [by_wallet[pk] for pk in ids[:-1]]
        self.strict = by_wallet[ids[-1]]
        self.claimable = list(ledger.accounts_of_each(ids[:1000], Bucket.CLAIMABLE).values())
        with transaction.atomic():
            pool = prize_pools.open_pool(tournament_id=10**9, tournament_uid=uuid7(), game_id=1)
            self.pool = pool.account_id
            for start in range(0, WALLETS, 1000):
                legs = [
                    Leg(ledger.MINT, account, 10**9, Kind.GRANT)
                    for account in self.earned[start : start + 1000]
                ]
                ledger.post(legs, posting_id=uuid7())


# --- Through Django ------------------------------------------------------------------------------


def django_posts(accounts: Accounts) -> dict[str, Post]:
    everybody = len(accounts.earned)

    def call_to_anybody() -> None:
        debit, credit = random.sample(accounts.earned, 2)
        _call(debit, credit, GRANT)

    def call_into_the_pool() -> None:
        _call(random.choice(accounts.earned), accounts.pool, Kind.ENTRY_FEE.value)

    @transaction.atomic
    def to_anybody() -> None:
        debit, credit = random.sample(accounts.earned, 2)
        ledger.post([Leg(debit, credit, 1, Kind.GRANT)], posting_id=uuid7())

    @transaction.atomic
    def into_the_pool() -> None:
        leg = Leg(random.choice(accounts.earned), accounts.pool, 1, Kind.ENTRY_FEE)
        ledger.post([leg], posting_id=uuid7())

    def plain_to_anybody() -> None:
        debit, credit = random.sample(range(1, everybody + 1), 2)
        plain_rows.post(posting_id=uuid7(), debit=debit, credit=credit, amount=1)

    def plain_into_one() -> None:
        debit = random.randint(1, everybody)
        plain_rows.post(posting_id=uuid7(), debit=debit, credit=everybody + 1, amount=1)

    return {
        "call, anybody to anybody": call_to_anybody,
        "flow, anybody to anybody": to_anybody,
        "ORM, anybody to anybody": plain_to_anybody,
        "call, all into one pool": call_into_the_pool,
        "flow, all into one pool": into_the_pool,
        "ORM, all into one account": plain_into_one,
    }


def _call(debit: int, credit: int, kind: str) -> None:
    ledger.POST1.value(uuid7(), 0, kind, debit, credit, 1)


def together(post: Post, *, seconds: float) -> float:
    """Postings a second of all clients, each in a process of its own."""
    connection.close()
    processes = multiprocessing.get_context("fork")
    start, counts = processes.Barrier(CLIENTS), processes.Queue()
    clients = [
        processes.Process(target=_client, args=(post, seconds, start, counts))
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    total = sum(counts.get(timeout=seconds + 60) for _ in clients)
    for client in clients:
        client.join()
    return float(total / seconds)


def _client(post: Post, seconds: float, start: Any, counts: Any) -> None:
    random.seed()
    for _ in range(5):
        post()
    start.wait()
    made, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        post()
        made += 1
    counts.put(made)
    connection.close()


# --- The bare functions --------------------------------------------------------------------------


def bare_scripts(accounts: Accounts) -> dict[str, str]:
    # The wallets' earned accounts have numbers at equal distances.
    first, step = accounts.earned[0], accounts.earned[1] - accounts.earned[0]
    debit = f"\\set debit {first} + {step} * random(0, {len(accounts.earned) - 1})\n"
    credit = f"\\set credit {first} + {step} * random(0, {len(accounts.earned) - 1})\n"
    apart = f"\\set credit :credit + {step} * (CASE WHEN :credit = :debit THEN 1 ELSE 0 END)\n"
    call = "SELECT ledger.post1(uuidv7(), 0::smallint, '{}', :debit, {}, 1);\n"
    return {
        "pgbench, anybody to anybody": debit + credit + apart + call.format(GRANT, ":credit"),
        "pgbench, all into one pool": debit + call.format(GRANT, accounts.pool),
        "pgbench, all into one strict account": debit + call.format(GRANT, accounts.strict),
    }


def pgbench(script: str, *, seconds: float) -> float:
    """Postings a second of PostgreSQL's own load generator, which does nothing else."""
    login = connection.settings_dict
    with NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(
            [
                os.environ["PGBENCH"],
                *("--no-vacuum", "--protocol=prepared", "--jobs=2", f"--client={CLIENTS}"),
                *(f"--time={max(1, round(seconds))}", f"--file={file.name}"),
                *(f"--host={login['HOST']}", f"--port={login['PORT']}"),
                *(f"--username={login['USER']}", login["NAME"]),
            ],
            env={**os.environ, "PGPASSWORD": login["PASSWORD"]},
            capture_output=True,
            text=True,
            check=True,
        )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


# --- In bulk -------------------------------------------------------------------------------------


def thousand_legs(accounts: Accounts) -> float:
    """Seconds for a thousand prizes out of one pool."""
    took = []
    for _ in range(15):
        legs = [Leg(accounts.pool, winner, 1, Kind.PRIZE) for winner in accounts.claimable]
        with transaction.atomic():
            ledger.post([Leg(ledger.MINT, accounts.pool, 1000, Kind.SPONSOR)], posting_id=uuid7())
        started = time.perf_counter()
        with transaction.atomic():
            ledger.post(legs, posting_id=uuid7())
        took.append(time.perf_counter() - started)
    return median(took)


def settle_a_crowd() -> float:
    """Seconds from the standings of 10,000 entrants to their rewards, in one transaction."""
    took = []
    for _ in range(3):
        now = timezone.now()
        tournament = TournamentFactory.create(over=True, now=now)
        crowd_of(ENTRANTS, tournament)
        started = time.perf_counter()
        settled = settling.settle(uid=tournament.uid, now=now)
        took.append(time.perf_counter() - started)
        assert settled.phase == tournament.Phase.COMPLETED, settled.phase
    return median(took)
