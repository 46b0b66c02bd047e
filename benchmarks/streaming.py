"""Scores a second while nobody watches the board, and while hundreds do.

Rounds of both kinds take turns, so that whatever else the machine does meets both. The watchers
read on this machine too, which costs it more than a platform whose watchers are elsewhere.
"""

import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from django.db import connection
from django.utils import timezone

from accounts import sessions
from accounts.clients import hash_of
from accounts.models import Session, SessionToken
from benchmarks import databases
from benchmarks.leaderboard import Board
from benchmarks.reports import Goal, Report
from benchmarks.watchers import CONNECTED
from kgen.local.processes import LOOPBACK, PROJECT, free_port, start, stop, wait_until

ENTRANTS = 1000
WRITERS = 4
GOAL = 0.9


def measure(options: Sequence[str]) -> Report:
    parser = ArgumentParser(prog="python -m benchmarks streaming")
    parser.add_argument("--watchers", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=10, help="of a round (10)")
    parser.add_argument("--rounds", type=int, default=4, help="of each kind (4)")
    given = parser.parse_args(options)

    databases.migrate()
    board = Board(ENTRANTS)
    tokens = _tokens(board, given.watchers)
    alone, watched, fewest, lost = [], [], [], 0
    busy = []
    with _stream() as (port, stream):
        for _ in range(given.rounds):
            alone.append(_scores_a_second(board, given.seconds))
            with _watchers(port, str(board.tournament.uid), tokens) as reading:
                before = _cpu_seconds(stream)
                watched.append(_scores_a_second(board, given.seconds))
                busy.append((_cpu_seconds(stream) - before) / given.seconds)
            events, gone = reading[0]
            fewest.append(events)
            lost += gone

    report = Report(
        title=f"Scores a second, {WRITERS} writers, rounds of {given.seconds} s in turns",
        columns=["watchers", "median", "rounds"],
    )
    for watchers, rates in ((0, alone), (given.watchers, watched)):
        shown = " ".join(f"{rate:.0f}" for rate in rates)
        report.rows.append((watchers, f"{median(rates):.0f}", shown))
    ratio = median(watched) / median(alone)
    name = f"scores under {given.watchers} watchers, against none"
    report.goals.append(Goal(name, ratio, GOAL, is_ceiling=False))
    report.notes.append(
        f"Each watcher was sent at least {min(fewest)} boards a round; {lost} were disconnected."
    )
    report.notes.append(f"The stream's process took {median(busy):.1%} of one core.")
    return report


def _cpu_seconds(pid: int) -> float:
    """What a process has taken of a core so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _scores_a_second(board: Board, seconds: int) -> float:
    began = perf_counter()

    def write() -> int:
        done = 0
        try:
            while perf_counter() - began < seconds:
                board.score()
                done += 1
        finally:
            connection.close()
        return done

    with ThreadPoolExecutor(WRITERS) as pool:
        written = sum(one.result() for one in [pool.submit(write) for _ in range(WRITERS)])
    return written / (perf_counter() - began)


def _tokens(board: Board, count: int) -> list[str]:
    now, tokens = timezone.now(), [sessions.new_token() for _ in range(count)]
    opened = Session.objects.bulk_create(
        Session(
            gamer=board.gamers[number % len(board.gamers)],
            started_at=now,
            ends_at=now + timedelta(days=1),
        )
        for number in range(count)
    )
    SessionToken.objects.bulk_create(
        SessionToken(
            session=session,
            token_hash=hash_of(token),
            created_at=now,
            expires_at=now + timedelta(days=1),
        )
        for session, token in zip(opened, tokens, strict=True)
    )
    return tokens


@contextmanager
def _stream() -> Iterator[tuple[int, int]]:
    """Port and number of the process."""
    port, log = free_port(), Path(tempfile.mkdtemp()) / "stream.log"
    command: list[str | Path] = [
        sys.executable,
        PROJECT / "manage.py",
        "serve_stream",
        "--port",
        str(port),
    ]
    process = start(command, log=log, environment=os.environ)
    try:
        wait_until(lambda: _answers(port), process=process, name="stream", log=log)
        yield port, process.pid
    finally:
        stop(process, signal.SIGTERM, seconds=5)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/healthz", timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def _watchers(port: int, uid: str, tokens: list[str]) -> Iterator[list[tuple[int, int]]]:
    """Watch for as long as the block runs; then it finds the fewest boards of one, and how many
    were disconnected."""
    found: list[tuple[int, int]] = []
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.watchers", str(port), uid],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(f"{token}\n" for token in tokens) + "\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != CONNECTED:
            raise RuntimeError("The watchers were not let in.")
        yield found
        process.stdin.close()
        fewest, lost = process.stdout.readline().split()
        found.append((int(fewest), int(lost)))
