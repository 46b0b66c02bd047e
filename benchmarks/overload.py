"""What the web server does when five times as many requests come as it can carry.

The generator and the databases share the machine with it, so the peak is measured beside them too.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import databases, debian
from benchmarks.api import World
from benchmarks.reports import Goal, Report
from kgen.local.processes import LOOPBACK, free_port, start, stop, wait_until
from kgen.local.supervisor import WEB_OPTIONS

SCRIPT: Final = Path(__file__).parent / "load" / "overload.lua"
TIMES: Final = 5
PROBES: Final = 4
# So many clients at once keep the server busy, and it turns hardly any of them away.
FULL: Final = 64
BALANCE: Final = "/api/v1/wallet/lazyChain/balance"


def measure(options: Sequence[str]) -> Report:
    parser = ArgumentParser(prog="python -m benchmarks overload")
    parser.add_argument("--seconds", type=int, default=10, help="of each round (10)")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind (3)")
    parser.add_argument("--connections", type=int, default=800, help="of the overload (800)")
    parser.add_argument("--at-once", default="8", help="requests worked on, to compare (8)")
    given = parser.parse_args(options)

    wrk = debian.program("wrk")
    databases.migrate()
    world = World()
    report = Report(
        title=f"{TIMES} times the load that can be carried, {given.seconds} s each",
        columns=["at once", "load", "connections", "come/s", "2xx/s", "503/s", "p50 ms", "p99 ms"],
    )
    for at_once in given.at_once.split(","):
        with tempfile.TemporaryDirectory() as folder:
            _measure(report, wrk, world, given, at_once, Path(folder))
    return report


def _measure(
    report: Report, wrk: debian.Program, world: World, given: Any, at_once: str, folder: Path
) -> None:
    tokens = folder / "tokens"
    tokens.write_text("".join(f"{token}\n" for _, token, _ in world.joined))

    def load(name: str, connections: int, wait_ms: float) -> dict[str, Any]:
        with _probing(port, world) as probes:
            found = _load(wrk, port, world, tokens, connections, wait_ms, given.seconds)
        seconds, answers = found["seconds"], found["answers"]
        came = sum(answers.values())
        took = sorted(1000 * one for one in probes)
        found |= {
            "come": came / seconds,
            "good": answers.get("200", 0) / seconds,
            "p50": median(took),
            "p99": took[int(len(took) * 0.99)],
            "other": came - sum(answers.get(name, 0) for name in ("200", "503", "429")),
        }
        report.rows.append(
            (
                at_once, name, connections, round(found["come"]), round(found["good"]),
                round(answers.get("503", 0) / seconds), round(found["p50"]), round(found["p99"]),
            )
        )  # fmt: skip
        return found

    # Rounds of both kinds take turns, so that whatever else the machine does meets both.
    peaks, loads = [], []
    with _web(folder, REQUESTS_AT_ONCE=at_once) as port:
        load("warming up", FULL, 0)
        for _ in range(given.rounds):
            peaks.append(load("peak", FULL, 0)["good"])
            # Those that are accepted wait longer between two requests, by what their answer takes.
            wait_ms = 1000 * given.connections / (TIMES * peaks[-1]) * 0.6
            loads.append(load(f"{TIMES} x", given.connections, wait_ms))
        recovered = _recovery(port, world)

    def against_peak(name: str) -> float:
        return float(median(one[name] / peak for one, peak in zip(loads, peaks, strict=True)))

    ours = f", {at_once} at once"
    report.goals += [
        Goal("load that came, against the peak" + ours, against_peak("come"), TIMES, False),
        Goal("goodput, against the peak" + ours, against_peak("good"), 0.8, False),
        Goal("answers that are no 2xx, 429 or 503" + ours,
             sum(one["other"] for one in loads), 0, True, ""),
        Goal("connections broken off, or unanswered" + ours,
             sum(one["broken"] + one["late"] for one in loads), 0, True, ""),
        Goal("p99 of what is accepted" + ours, max(one["p99"] for one in loads) / 1000, 2, True, "s"),
        Goal("recovery" + ours, recovered, 10, True, "s"),
    ]  # fmt: skip


def _load(
    wrk: debian.Program,
    port: int,
    world: World,
    tokens: Path,
    connections: int,
    wait_ms: float,
    seconds: int,
) -> dict[str, Any]:
    command = [
        wrk.path, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT),
        f"http://{LOOPBACK}:{port}", "--", str(wait_ms), str(tokens), world.game.client_id,
        world.secret,
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
def _probing(port: int, world: World) -> Iterator[list[float]]:
    """Seconds that accepted requests take meanwhile, of callers who wait for each answer."""
    took: list[float] = []
    is_over = threading.Event()

    def probe() -> None:
        while not is_over.wait(0.05):
            began = time.perf_counter()
            if _ask(port, world) == 200:
                took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=probe) for _ in range(PROBES)]
    for thread in threads:
        thread.start()
    try:
        yield took
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _recovery(port: int, world: World) -> float:
    """Seconds until ten requests in a row are answered well, each within a tenth of a second."""
    began, row = time.monotonic(), 0
    while row < 10:
        asked = time.monotonic()
        is_well = _ask(port, world) == 200 and time.monotonic() - asked < 0.1
        row = row + 1 if is_well else 0
        if time.monotonic() - began > 60:
            break
    return time.monotonic() - began


def _ask(port: int, world: World) -> int:
    _, token, _ = world.joined[0]
    line = HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        headers = {"x-clientID": world.game.client_id, "x-clientSecret": world.secret}
        line.request("GET", f"{BALANCE}?token={token}", headers=headers)
        answer = line.getresponse()
        answer.read()
        return answer.status
    except (OSError, HTTPException):
        return 0
    finally:
        line.close()


@contextmanager
def _web(folder: Path, **environment: str) -> Iterator[int]:
    """The web server as `make run` starts it, by its port."""
    port, log = free_port(), folder / "web.log"
    words = [sys.executable, "-m", "granian", "kgen.local.wsgi:application", *WEB_OPTIONS]
    process = start(
        [*words, f"--host={LOOPBACK}", f"--port={port}"],
        log=log,
        environment={**os.environ, "DJANGO_SETTINGS_MODULE": "kgen.settings", **environment},
    )

    def answers() -> bool:
        line = HTTPConnection(LOOPBACK, port, timeout=5)
        try:
            line.request("GET", "/healthz")
            return line.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            line.close()

    try:
        wait_until(answers, process=process, name="web", log=log)
        yield port
    finally:
        stop(process, signal.SIGTERM, seconds=10)
