"""The API under load, over loopback, on a durable PostgreSQL and a real Valkey.

Rates alone say little: they change with the machine, and with its hour. Beside each stands what the
same machine did in the same run without us, as `limit`: the two statements of a score in pgbench,
the sorted set in redis-benchmark, a route that does nothing.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import urlopen

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts import clients
from accounts.models import Game, Gamer
from accounts.tests.factories import KgenAccountFactory
from benchmarks import databases, debian
from benchmarks.reports import Goal, Report
from kgen.local.processes import LOOPBACK, children_of, free_port, start, stop, wait_until
from kgen.local.supervisor import THREADS
from rewards import granting
from rewards.models import Reward
from tournaments import joining, lifecycle
from tournaments.lifecycle import Schedule
from tournaments.models import Tournament
from wallet import ledger, onboarding
from wallet.tests.factories import KgenWalletFactory, fill

CALLS: Final = Path(__file__).parent / "load" / "calls.lua"
GAMERS: Final = 1000
TOURNAMENTS: Final = 20
FEE: Final = 1
WORKERS: Final = 2

_TABLES: Final = """
CREATE TABLE limit_event (
    gamer bigint, body_hash bytea, stamped timestamptz, payload jsonb, PRIMARY KEY (gamer, body_hash)
);
CREATE TABLE limit_score (gamer bigint PRIMARY KEY, score bigint) WITH (fillfactor = 70);
"""
# The least that a score is: the event kept, the standing moved, both durable.
_SCORE: Final = """
\\set gamer random(1, 1000)
\\set score random(1, 1000000)
BEGIN;
INSERT INTO limit_event VALUES (
    :gamer, sha256(random()::text::bytea), now(), '{"score": {"value": 1}}'
) ON CONFLICT DO NOTHING;
INSERT INTO limit_score VALUES (:gamer, :score)
    ON CONFLICT (gamer) DO UPDATE SET score = excluded.score;
COMMIT;
"""


@dataclass(frozen=True)
class Work:
    """One kind of call: so many clients at once, for the platform's own goal against a limit."""

    title: str
    call: str
    clients: int
    limit: str = ""
    goal: float | None = None
    per_second: float | None = None
    # What one call carries.
    weight: int = 1


WORKS: Final = (
    Work("score", "score", 32, limit="pgbench 32", goal=0.7),
    Work("score", "score", 128, limit="pgbench 128", goal=1.0),
    Work("batch of 100 events", "batch", 8, per_second=40_000, weight=100),
    Work("top 100", "top", 32, per_second=20_000),
    Work("top 100, fresh", "top_fresh", 32, per_second=3_000),
    Work("around me 20", "around", 32, per_second=8_000),
    Work("around me 20, fresh", "around_fresh", 32, per_second=3_500),
    Work("balance", "balance", 32, per_second=5_000),
    Work("session, returning", "session", 32, per_second=2_500),
    Work("session, new", "new_session", 32),
    Work("join, 20 tournaments", "join", 32, per_second=1_000),
    Work("join, one with seats", "join_seats", 32),
    Work("claim", "claim", 32),
    Work("withdraw", "withdraw", 32),
    Work("a game in play", "mix", 32),
)


def measure(options: Sequence[str]) -> Report:
    parser = ArgumentParser(prog="python -m benchmarks api")
    parser.add_argument("--seconds", type=int, default=6, help="of each work (6)")
    parser.add_argument("--threads", type=int, default=THREADS, help=f"of a web worker ({THREADS})")
    parser.add_argument("--only", default="", help="works, by commas")
    given = parser.parse_args(options)
    wanted = set(given.only.split(",")) if given.only else {work.call for work in WORKS}

    wrk = debian.program("wrk")
    databases.migrate()
    world = World()
    report = Report(
        title=f"The API under load: {WORKERS} workers of {given.threads} threads, "
        f"{given.seconds} s each",
        columns=[
            "work", "clients", "per s", "p50 ms", "p99 ms",
            "web cpu %", "postgres %", "valkey %", "web MB", "of limit",
        ],
    )  # fmt: skip
    limits = _limits(given.seconds)
    for name, rate in limits.items():
        report.rows.append((f"limit: {name}", "", round(rate), "", "", "", "", "", "", ""))
    with _web(given.threads) as (port, web), tempfile.TemporaryDirectory() as folder:
        watched = {"web": web, **_servers()}
        nothing = _load(wrk, port, Work("health", "health", 32), world, Path(folder), 3)
        limits["no-op route"] = nothing["requests"] / nothing["seconds"]
        report.rows.append(
            ("limit: no-op route", 32, round(limits["no-op route"]), nothing["p50"], nothing["p99"])
            + ("",) * 5
        )
        for work in WORKS:
            if work.call not in wanted:
                continue
            before = {name: _cpu_seconds(pid) for name, pid in watched.items()}
            found = _load(wrk, port, work, world, Path(folder), given.seconds)
            seconds = found["seconds"]
            busy = {
                name: round(100 * (_cpu_seconds(pid) - before[name]) / seconds)
                for name, pid in watched.items()
            }
            rate = found["requests"] * work.weight / seconds
            limit = limits.get(work.limit)
            report.rows.append(
                (
                    work.title, work.clients, round(rate), found["p50"], found["p99"],
                    busy["web"], busy["postgres"], busy["valkey"], round(_megabytes(web)),
                    f"{rate / limit:.2f}" if limit else "",
                )
            )  # fmt: skip
            title = f"{work.title}, {work.clients} clients"
            if limit and work.goal:
                report.goals.append(Goal(title, rate / limit, work.goal, is_ceiling=False))
            if work.per_second:
                report.goals.append(Goal(title, rate, work.per_second, False, unit="/s"))
            if found["refused"] or found["broken"]:
                report.notes.append(
                    f"{title}: {found['refused']} answers were no 2xx, {found['broken']} broke off."
                )
        report.goals.append(Goal("memory of the web workers", _megabytes(web), 300, True, "MB"))
    return report


class World:
    """A game with gamers in sessions, seats, rewards and money to take out."""

    def __init__(self) -> None:
        self.now = timezone.now()
        new = clients.create_game(
            name="Load",
            now=self.now,
            min_withdrawal=1,
            rate_limit=1_000_000,
            gamer_event_rate=1_000_000,
        )
        self.game, self.secret = new.game, new.secret
        Game.objects.filter(pk=self.game.pk).update(auto_approve_limit=10**15)
        self.tournament = self.open_tournament()
        self.joined: list[tuple[str, str, str]] = []
        for number in range(GAMERS):
            gamer, token = self.gamer(number)
            joining.join(
                gamer=gamer, tournament_uid=self.tournament.uid, stake=FEE, now=timezone.now()
            )
            self.joined.append((gamer.gamer_id, token, str(self.tournament.uid)))

    def gamer(self, number: int) -> tuple[Gamer, str]:
        opened = onboarding.open_session(
            game=self.game,
            gamer_id=f"gamer-{number}",
            profile={"username": f"Name of {number}", "device_id": "phone"},
            now=timezone.now(),
        ).opened
        return opened.gamer, opened.token

    def open_tournament(self, *, size: int | None = None) -> Tournament:
        starts_at, ends_at = self.now - timedelta(minutes=10), self.now + timedelta(days=1)
        schedule = Schedule(
            schedules_at=starts_at,
            lobby_at=starts_at,
            starts_at=starts_at,
            locks_at=ends_at,
            ends_at=ends_at,
        )
        made = lifecycle.create(
            game=self.game,
            title="Load",
            entry_fee=FEE,
            schedule=schedule,
            now=starts_at,
            tournament_size=size,
        )
        return lifecycle.publish(uid=made.uid, now=starts_at)

    def callers(self, call: str) -> list[tuple[str, ...]]:
        """Who makes these calls: gamer_id, token, tournament."""
        match call:
            case "join":
                uids = [str(self.open_tournament().uid) for _ in range(TOURNAMENTS)]
                return [(name, token, uid) for uid in uids for name, token, _ in self.joined]
            case "join_seats":
                uid = str(self.open_tournament(size=10 * GAMERS).uid)
                return [(name, token, uid) for name, token, _ in self.joined]
            case "claim":
                for gamer in self._gamers():
                    granting.grant(
                        gamer=gamer,
                        amount=10,
                        source=Reward.Source.PROMOTION,
                        reference=f"load-{gamer.pk}",
                        now=self.now,
                    )
            case "withdraw":
                self._link_all()
        return list(self.joined)

    def _gamers(self) -> list[Gamer]:
        names = [name for name, _, _ in self.joined]
        return list(
            Gamer.objects.select_related("wallet", "game").filter(
                game=self.game, gamer_id__in=names
            )
        )

    def _link_all(self) -> None:
        for number, gamer in enumerate(self._gamers()):
            with transaction.atomic():
                account = KgenAccountFactory.create(phone=f"+1202555{number:04d}")
                KgenWalletFactory.create(account=account, now=self.now - timedelta(days=2))
                Gamer.objects.filter(pk=gamer.pk).update(kgen_account=account)
                fill(gamer.wallet, ledger.Bucket.EARNED, 10)


def _load(
    wrk: debian.Program, port: int, work: Work, world: World, folder: Path, seconds: int
) -> dict[str, Any]:
    callers = folder / work.call
    callers.write_text("".join(" ".join(line) + "\n" for line in world.callers(work.call)))
    command = [
        wrk.path, "-t1", f"-c{work.clients}", f"-d{seconds}s", "--timeout", "10s", "-s", str(CALLS),
        f"http://{LOOPBACK}:{port}", "--", work.call.removesuffix("_seats"), str(callers),
        world.game.client_id, world.secret, str(time.time_ns() // 10**6),
    ]  # fmt: skip
    done = subprocess.run(
        command, env=dict(wrk.environment), capture_output=True, text=True, check=True
    )
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(done.stdout + done.stderr)
    result: dict[str, Any] = json.loads(found[1])
    return result


@contextmanager
def _web(threads: int) -> Iterator[tuple[int, int]]:
    """The web server as in production, by its port and process."""
    port, log = free_port(), Path(tempfile.mkdtemp()) / "web.log"
    command = [
        sys.executable, "-m", "granian", "kgen.wsgi:application", "--interface=wsgi", "--no-ws",
        f"--workers={WORKERS}", f"--blocking-threads={threads}", f"--host={LOOPBACK}",
        f"--port={port}",
    ]  # fmt: skip
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "kgen.settings"}
    process = start(command, log=log, environment=environment)
    try:
        wait_until(lambda: _answers(port), process=process, name="web", log=log)
        yield port, process.pid
    finally:
        stop(process, signal.SIGTERM, seconds=10)


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://{LOOPBACK}:{port}/healthz", timeout=5):
            return True
    except OSError:
        return False


def _limits(seconds: int) -> dict[str, float]:
    """What the machine does a second without us, by the name of the limit."""
    found = {}
    with databases.owner_of(databases.current()) as cursor:
        cursor.execute(_TABLES)
        login = cursor.connection.get_dsn_parameters()
        password = cursor.connection.info.password
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_SCORE)
        script.flush()
        for count in (32, 128):
            done = subprocess.run(
                [
                    os.environ["PGBENCH"], "-n", "-M", "prepared", f"-c{count}", "-j1",
                    f"-T{seconds}", "-f", script.name, "-h", login["host"], "-p", login["port"],
                    "-U", login["user"], login["dbname"],
                ],
                env={**os.environ, "PGPASSWORD": password},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            tps = re.search(r"tps = ([0-9.]+)", done.stdout)
            assert tps is not None, done.stdout
            found[f"pgbench {count}"] = float(tps[1])
    return found | _sorted_set()


def _sorted_set() -> dict[str, float]:
    program, valkey = debian.program("redis-benchmark"), urlsplit(settings.REDIS_URL)
    found = {}
    common = ["-h", str(valkey.hostname), "-p", str(valkey.port), "--csv", "-c", "50"]
    common += ["-a", valkey.password or ""]
    for name, calls, command in (
        ("ZADD", "200000", ["-r", "1000", "ZADD", "limit", "__rand_int__", "__rand_int__"]),
        ("ZREVRANGE of 100", "50000", ["ZREVRANGE", "limit", "0", "99", "WITHSCORES"]),
    ):
        done = subprocess.run(
            [program.path, *common, "-n", calls, *command],
            env=dict(program.environment),
            capture_output=True,
            text=True,
            check=True,
        )
        # A line a command: its name, calls a second and more, each in quotes.
        rate = done.stdout.strip().splitlines()[-1].split('","')[1]
        found[name] = float(rate.strip('"'))
    return found


def _servers() -> dict[str, int]:
    """The processes of our PostgreSQL and Valkey."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    postgres = _parent(backend)
    valkey = next(
        pid
        for pid in children_of(os.getpid())
        if b"valkey-server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    return {"postgres": postgres, "valkey": valkey}


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _family(pid: int) -> set[int]:
    found = {pid}
    for child in children_of(pid):
        found |= _family(child)
    return found


def _cpu_seconds(pid: int) -> float:
    """What a process and its children, those too that have ended, have taken of the cores."""
    ticks = 0
    for one in _family(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def _megabytes(pid: int) -> float:
    """Memory of a process and its children; what they share is shared out among them."""
    total = 0
    for one in _family(pid):
        rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        total += int(found[1]) if found else 0
    return total / 1000
