"""`make run`: start everything on this machine, keep it running, stop it all again.

One thread and one loop, on purpose: a child is killed by the kernel when the *thread* that started
it ends, and whatever happens here happens one after the other.
"""

import argparse
import errno
import fcntl
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from kgen.local import dotenv, processes
from kgen.local.chain_keeper import ChainKeeper, newest_state
from kgen.local.devchain import Anvil, DevChain, DevChainError, EthTester
from kgen.local.postgres import Postgres
from kgen.local.processes import PROJECT, ServiceError, free_port
from kgen.local.servers import DataFolder
from kgen.local.valkey import Valkey

LOCAL = PROJECT / ".local"
SEED, PASSPHRASE = PROJECT / dotenv.SEED_FILE, PROJECT / dotenv.PASSPHRASE_FILE
LOGS = LOCAL / "logs"
RUNNING = LOCAL / "services.json"
DEMO = LOCAL / "demo.env"

# What .local/runtime.env tells manage.py in another terminal.
SERVICES = (
    "DATABASE_URL",
    "MIGRATE_DATABASE_URL",
    "REDIS_URL",
    "CHAIN_RPC_URL",
    "KCASH_ADDRESS",
    "SETTLEMENT_ADDRESS",
    "SIGNER_SOCKET",
    "STREAM_URL",
)

DEMO_SECRETS = (
    "CLIENT_SECRET",
    "CLIENT2_SECRET",
    "OPERATOR_PASSWORD",
    "OPERATOR_TOTP_SECRET",
    "SUPPORT_PASSWORD",
    "SUPPORT_TOTP_SECRET",
    "FINANCE_PASSWORD",
    "FINANCE_TOTP_SECRET",
    "ADMIN_PASSWORD",
    "ADMIN_TOTP_SECRET",
)

# Where the web's processes keep what they count, for the metrics.
COUNTS = LOCAL / "counts"
CONTRACTS = LOCAL / "chain" / "contracts.env"
METRICS_PORT = 9464  # another one if it is taken
STREAM_PORT = 9465  # likewise
# Of each web worker; more than its requests at once and those that wait (REQUESTS_* of the settings).
THREADS = 128
WEB_OPTIONS = (
    "--interface=wsgi",
    "--workers=2",
    f"--blocking-threads={THREADS}",
    "--no-ws",
    "--no-access-log",
    "--log-config=kgen/granian_logs.json",
    "--respawn-failed-workers",
)
WORKER_OPTIONS = ("--without-gossip", "--without-mingle")

# What the tables and the contracts were made with is no business of who serves and settles. The
# seed is the signer's alone; the worker has the operators' keys, and where the signer listens.
OWNERS = ("MIGRATE_DATABASE_URL", "ADMIN_KEY", "FLOAT_KEY")
SEEDS = ("CUSTODY_SEED", "SIGNER_SEED_FILE", "SIGNER_PASSPHRASE_FILE")
OPERATORS = ("OPERATOR_KEY", "OPERATOR_KEYS", "OPERATOR_PASSWORD_FILE", "SIGNER_SOCKET")
SIGNERS = (*SEEDS, *OPERATORS)

# All that the signer is told besides the seed.
SIGNER_NEEDS = (
    "CHAIN_ID",
    "KCASH_ADDRESS",
    "SETTLEMENT_ADDRESS",
    "CUSTODY_XPUB",
    "SIGNER_CLIENT_UIDS",
    "SIGNER_SOCKET",
)
LONGEST_SOCKET_PATH = 100  # bytes; the kernels of Linux and macOS take 107 and 103

TIME_TO_START = 120  # seconds, for each
LONGEST_WAIT = 10.0  # seconds before a child that keeps dying is started again
TOO_MANY_DEATHS = 10  # of one child, within a minute
TIME_TO_LEAVE = 5.0  # seconds for web, worker and beat to end their work
TIME_TO_CLOSE = 1.5  # seconds for each server to write what it has
NEEDED_MEGABYTES = 200
LARGEST_LOG = 50_000_000


class StopRequested(Exception):
    """Ctrl-C, SIGTERM, or the terminal is gone."""


class Service(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int | None: ...
    @property
    def stop_signal(self) -> signal.Signals: ...

    def prepare(self, log: Path) -> None: ...
    def start(self, log: Path) -> subprocess.Popen[bytes]: ...
    def is_ready(self) -> bool: ...


class Program:
    """A program of ours: web, worker, beat, metrics or stream."""

    stop_signal = signal.SIGTERM

    def __init__(
        self,
        name: str,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        ready: Callable[[], bool],
        port: int | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.is_ready = ready
        # By module: a script's first line cannot name an interpreter in a path with a space.
        self._command = [sys.executable, "-m", module, *arguments]
        self._environment = environment

    def prepare(self, log: Path) -> None:
        log.write_bytes(b"")

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        return processes.start(self._command, log=log, environment=self._environment)


class PersistentAnvil(Anvil):
    """anvil that goes on where it stopped, in good order or not."""

    def __init__(self, *, port: int, folder: Path) -> None:
        super().__init__(port=port, folder=folder / "temporary")
        self._state, self._at_exit = folder / "state.json", folder / "at-exit.json"
        self.keeper = ChainKeeper(self.chain, self._state)

    def start(self, log: Path, *options: str) -> subprocess.Popen[bytes]:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        loaded = newest_state(self._state, self._at_exit)
        options = (*options, "--dump-state", str(self._at_exit))
        if loaded:
            options += ("--load-state", str(loaded))
        self.keeper.has_loaded()
        return super().start(log, *options)


class Child:
    """A service, its process of the moment, and how often it has died."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.log = LOGS / f"{service.name}.log"
        self.deaths: deque[float] = deque(maxlen=TOO_MANY_DEATHS)
        self.wait = 0.0
        self.start_at = 0.0
        self.began_at = time.monotonic()
        service.prepare(self.log)
        self.start()

    def start(self) -> None:
        self.process = self.service.start(self.log)
        self.started_at = time.monotonic()
        self.buried = False

    def stop(self, seconds: float) -> None:
        processes.stop(self.process, self.service.stop_signal, seconds)
        self.buried = True

    def has_died(self) -> bool:
        return not self.buried and self.process.poll() is not None

    def bury(self) -> None:
        """Say why it died and when it will start again: at once, then after waits that double."""
        now = time.monotonic()
        self.buried = True
        processes.end_group(self.process)
        how = processes.how_it_ended(self.process)
        why = f"{how}; its last line was: {processes.last_line(self.log)}"
        self.deaths.append(now)
        if len(self.deaths) == TOO_MANY_DEATHS and now - self.deaths[0] < 60:
            raise ServiceError(
                f"{self.service.name} has died {TOO_MANY_DEATHS} times within a minute ({why}). "
                f"All that it said is in {self.log}."
            )
        if now - self.started_at > 30:
            self.wait = 0.0
        self.start_at = now + self.wait
        again = f"in {self.wait:.1f} s" if self.wait else "at once"
        say(f"! {self.service.name} died ({why}) and is started again {again}.")
        self.wait = min(self.wait * 2 or 0.1, LONGEST_WAIT)

    def is_due(self) -> bool:
        return self.buried and time.monotonic() >= self.start_at


class Supervisor:
    def __init__(self, *, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.reachable = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared, not bound
        self.base_url = f"http://{self.reachable}:{port}"
        self.children: list[Child] = []
        self.given: dict[str, str] = {}
        self.runtime: dict[str, str] = {}
        self._stopping = False
        self._anvil: Child | None = None
        self._keeper: ChainKeeper | None = None
        self._sockets: tempfile.TemporaryDirectory[str] | None = None
        self._command: subprocess.Popen[bytes] | None = None
        self._last_second = 0.0

    # --- Starting -----------------------------------------------------------------------------

    def start(self) -> None:
        self._catch_signals()
        self.given = {**dotenv.read(PROJECT / ".env"), **os.environ}  # as the settings read them
        if not processes.port_is_free(self.port, self.host):
            raise ServiceError(
                f"Port {self.port} on {self.host} is in use by another program. Stop that one, or "
                f"take another port: make run PORT={self.port + 1}"
            )
        self._start_databases()
        self._start_chain()
        stream_port = self._choose_stream_port()
        # From the second start on nothing is missing but seconds: the web loads while the schema
        # is checked, stays red until it is as it should be, and has the machine to itself.
        is_first = not (self._known_contracts() and DEMO.exists())
        if is_first:
            self._migrate()
            if not self._known_contracts():
                self._deploy_contracts()
            signer = self._begin_signer()
            demo = self._seed()
            web = self._begin_web()
        else:
            signer = self._begin_signer()
            self._tell(dotenv.read(DEMO))
            web = self._begin_web()
            self._migrate()
            self._finish(web)
        if signer:
            self._finish(signer)
        worker = self._begin_celery("worker", "ready.", "--concurrency=2", *WORKER_OPTIONS)
        schedule = f"--schedule={LOCAL / 'beat-schedule'}"
        beat = self._begin_celery("beat", "Starting", "--pidfile=", schedule)
        if is_first:
            self._finish(web)
        else:
            demo = self._seed()
        metrics = self._begin_metrics()
        stream = self._begin_stream(stream_port) if stream_port else None
        self._finish(worker)
        self._finish(beat)
        self._finish(metrics)
        if stream:
            self._finish(stream)
        print_summary(demo, metrics_port=metrics.service.port)

    def _start_databases(self) -> None:
        wants_postgres = not self.given.get("DATABASE_URL")
        wants_valkey = not self.given.get("REDIS_URL")
        if not (wants_postgres or wants_valkey):
            return
        data = DataFolder(LOCAL / "data")
        if wants_postgres:
            secret = LOCAL / "postgres.json"
            postgres = Postgres(data, port=free_port(), secret=secret, throwaway=False)
            self._finish(self._begin(postgres))
            postgres.create_roles()
            self.runtime |= postgres.urls()
        if wants_valkey:
            secret = LOCAL / "valkey.password"
            valkey = Valkey(data, port=free_port(), secret=secret, throwaway=False)
            self._finish(self._begin(valkey))
            self.runtime |= valkey.urls()
        if data.moved:
            say(f"  Data and binaries are in {data.path}: the servers' user cannot reach {LOCAL}.")

    def _start_chain(self) -> None:
        if self.given.get("CHAIN_RPC_URL"):
            return
        try:
            anvil = PersistentAnvil(port=free_port(), folder=LOCAL / "chain")
        except ServiceError as problem:
            self._start_last_resort(problem)
            return
        self._anvil, self._keeper = self._begin(anvil), anvil.keeper
        self._finish(self._anvil)
        self._keeper.tick()
        self.runtime |= anvil.urls()

    def _start_last_resort(self, problem: ServiceError) -> None:
        say(
            f"! {problem}\n! Until then eth-tester takes its place. It is slow, and it forgets the "
            "chain when it stops: run `make reset` before the next start."
        )
        tester = EthTester(port=free_port(), folder=LOCAL / "eth-tester")
        self._finish(self._begin(tester))
        self.runtime |= tester.urls()

    def _begin(self, service: Service) -> Child:
        child = Child(service)
        self.children.append(child)
        self._write_services()
        return child

    def _finish(self, child: Child) -> None:
        """Wait until the child serves."""
        name, port, began = child.service.name, child.service.port, child.began_at
        while not child.service.is_ready():
            self.pause()
            if time.monotonic() - began > TIME_TO_START:
                reason = processes.last_line(child.log)
                raise ServiceError(f"{name} is not ready after {TIME_TO_START} s: {reason}")
        at = f" on port {port}" if port else ""
        say(f"✓ {name} is ready{at} ({time.monotonic() - began:.1f} s)")

    def _manage(self, command: str, done: str, *options: str, **environment: str) -> str:
        """Run a management command to its end; the last line of its output is its result."""
        began = time.monotonic()
        log, errors = LOGS / f"{command}.log", LOGS / f"{command}.errors.log"
        for file in (log, errors):
            file.write_bytes(b"")
        self._command = processes.start(
            [sys.executable, PROJECT / "manage.py", command, *options],
            log=log,
            errors=errors,
            environment={**self._environment(), **environment},
        )
        try:
            while self._command.poll() is None:
                self.pause()
        finally:
            processes.stop(self._command, signal.SIGTERM, TIME_TO_CLOSE)
        if self._command.returncode != 0:
            said = (log.read_text(errors="replace") + errors.read_text(errors="replace")).strip()
            raise ServiceError(
                f"manage.py {command} failed ({processes.how_it_ended(self._command)}):\n"
                + "\n".join(processes.in_words(line) for line in said.splitlines()[-20:])
            )
        say(f"✓ {done} ({time.monotonic() - began:.1f} s)")
        return processes.last_line(log)

    def _known_contracts(self) -> bool:
        """Are there addresses, ours or given ones, of contracts that need no deployment?"""
        if self.given.get("SETTLEMENT_ADDRESS"):
            return True
        known = dotenv.read(CONTRACTS)
        if not known:
            return False
        chain = DevChain(self.runtime.get("CHAIN_RPC_URL") or self.given["CHAIN_RPC_URL"])
        for name, address in known.items():
            if chain.rpc("eth_getCode", address, "latest") == "0x":
                raise ServiceError(
                    f"{chain.url} has no contract at {name} {address}, though the database counts "
                    "on it. `make reset` starts over, with an empty database and a new chain."
                )
        self.runtime |= known
        return True

    def _migrate(self) -> None:
        # The checks, which load every view, have their own target: `make check`.
        self._manage("migrate", "The schema is up to date", "--skip-checks")

    def _deploy_contracts(self) -> None:
        result = json.loads(self._manage("deploy_contracts", "The contracts are deployed"))
        if self._keeper:
            self._keeper.store()  # addresses are worth nothing without their contracts
        contracts = {"KCASH_ADDRESS": result["kcash"], "SETTLEMENT_ADDRESS": result["settlement"]}
        CONTRACTS.parent.mkdir(exist_ok=True)
        dotenv.write(CONTRACTS, contracts)
        self.runtime |= contracts

    def _seed(self) -> dict[str, str]:
        # Secrets are stored as hashes alone, so those made earlier are handed back to be kept; one
        # that is named and empty is made anew.
        kept = dict.fromkeys(DEMO_SECRETS, "") | {
            name: value for name, value in dotenv.read(DEMO).items() if name not in SERVICES
        }
        seeded = self._manage("seed_demo", "The demo data are there", **kept)
        return self._tell(json.loads(seeded))

    def _tell(self, demo: Mapping[str, str]) -> dict[str, str]:
        """Write down where everything is, for manage.py and for scripts in other terminals."""
        services = {name: self.runtime.get(name) or self.given.get(name, "") for name in SERVICES}
        dotenv.write(LOCAL / "runtime.env", services)
        demo = {**demo, "BASE_URL": self.base_url, **services}
        dotenv.write(DEMO, demo)
        return demo

    def _begin_signer(self) -> Child | None:
        """The one process that opens the seed; none where another signer, or no seed, is named."""
        if self.given.get("SIGNER_SOCKET"):
            return None
        seed = {name: self.given[name] for name in SEEDS if self.given.get(name)}
        if not seed and SEED.exists():
            seed = {"SIGNER_SEED_FILE": str(SEED), "SIGNER_PASSPHRASE_FILE": str(PASSPHRASE)}
        if not seed:
            say("! There is no seed here: payments out of gamers' wallets wait for their signer.")
            return None
        path = self._socket_path()
        self.runtime["SIGNER_SOCKET"] = str(path)
        told = {"CHAIN_ID": "31337", **self.given, **self.runtime, **seed}
        needed = {name: told[name] for name in (*SIGNER_NEEDS, *SEEDS) if told.get(name)}
        return self._begin(
            Program(
                "signer",
                "wallet.settlement.signer",
                "serve",
                environment={**os.environ, **needed},
                ready=lambda: _listens(path),
            )
        )

    def _socket_path(self) -> Path:
        path = LOCAL / "signer.sock"
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            self._sockets = tempfile.TemporaryDirectory(prefix="kgen-")
            path = Path(self._sockets.name) / "signer.sock"
        return path

    def _begin_web(self) -> Child:
        shutil.rmtree(COUNTS, ignore_errors=True)  # of processes that are no more
        COUNTS.mkdir()
        counts = {"PROMETHEUS_MULTIPROC_DIR": str(COUNTS)}
        return self._begin(
            Program(
                "web",
                "granian",
                "kgen.local.wsgi:application",
                *WEB_OPTIONS,
                f"--host={self.host}",
                f"--port={self.port}",
                environment=self._environment(without=(*OWNERS, *SIGNERS)) | counts,
                ready=self._is_green,
                port=self.port,
            )
        )

    def _begin_celery(self, name: str, ready_text: str, *options: str) -> Child:
        log = LOGS / f"{name}.log"
        return self._begin(
            Program(
                name,
                "celery",
                "--app=kgen",
                "--quiet",  # no banner: all it says are lines of JSON
                name,
                "--loglevel=INFO",
                *options,
                # Beat only says what is due.
                environment=self._environment(
                    without=(*OWNERS, *(SEEDS if name == "worker" else SIGNERS))
                ),
                ready=lambda: ready_text in log.read_text(errors="replace"),
            )
        )

    def _begin_metrics(self) -> Child:
        wanted = int(self.given.get("METRICS_PORT") or METRICS_PORT)
        port = wanted if processes.port_is_free(wanted) else free_port()
        settings = {
            "DJANGO_SETTINGS_MODULE": "kgen.settings",
            "PROMETHEUS_MULTIPROC_DIR": str(COUNTS),
        }
        return self._begin(
            Program(
                "metrics",
                "django",
                "serve_metrics",
                f"--port={port}",
                environment=self._environment(without=(*OWNERS, *SIGNERS)) | settings,
                ready=lambda: _answers(f"http://127.0.0.1:{port}/metrics"),
                port=port,
            )
        )

    def _choose_stream_port(self) -> int | None:
        """Known before anything is started that sends watchers there; none where others stream."""
        if self.given.get("STREAM_URL"):
            return None
        port = STREAM_PORT if processes.port_is_free(STREAM_PORT, self.host) else free_port()
        self.runtime["STREAM_URL"] = f"http://{self.reachable}:{port}"
        return port

    def _begin_stream(self, port: int) -> Child:
        settings = {"DJANGO_SETTINGS_MODULE": "kgen.settings"}
        return self._begin(
            Program(
                "stream",
                "django",
                "serve_stream",
                f"--host={self.host}",
                f"--port={port}",
                environment=self._environment(without=(*OWNERS, *SIGNERS)) | settings,
                ready=lambda: _answers(f"{self.runtime['STREAM_URL']}/healthz"),
                port=port,
            )
        )

    def _is_green(self) -> bool:
        return _answers(f"{self.base_url}/readyz")

    def _environment(self, *, without: Iterable[str] = ()) -> dict[str, str]:
        """What a child is told; what it is to do without is emptied, or it would read the files."""
        outbox = self.given.get("SMS_OUTBOX") or str(LOCAL / "sms.jsonl")
        told = {**os.environ, **self.runtime, "SMS_OUTBOX": outbox, "PYTHONUNBUFFERED": "1"}
        return told | dict.fromkeys(without, "")

    # --- Running ------------------------------------------------------------------------------

    def run(self) -> None:
        while True:
            self.pause()

    def pause(self) -> None:
        """One turn of the loop: look after everything, then sleep for a moment."""
        if self._stopping:
            raise StopRequested
        for child in self.children:
            if child.has_died():
                child.bury()
                processes.end_orphans(self._known())
            if child.is_due():
                child.start()
                self._write_services()
        if time.monotonic() - self._last_second >= 1:
            self._once_a_second()
            self._last_second = time.monotonic()
        time.sleep(0.05)

    def _once_a_second(self) -> None:
        for child in self.children:
            if child.log.exists() and child.log.stat().st_size > LARGEST_LOG:
                shutil.copy(child.log, child.log.with_suffix(".old.log"))
                os.truncate(child.log, 0)
        if self._anvil is None or self._keeper is None:
            return
        try:
            self._keeper.tick()
        except (OSError, ValueError, DevChainError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            return  # anvil has died, or has only begun to listen
        if self._keeper.is_long():
            say("  anvil starts again without its oldest blocks.")
            self._anvil.stop(TIME_TO_CLOSE)

    def _known(self) -> set[int]:
        known = {child.process.pid for child in self.children}
        return known | ({self._command.pid} if self._command else set())

    def _write_services(self) -> None:
        running = [
            {"name": child.service.name, "pid": child.process.pid, "port": child.service.port}
            for child in self.children
        ]
        unfinished = RUNNING.with_suffix(".new")
        unfinished.write_text(json.dumps(running, indent=2) + "\n")
        unfinished.replace(RUNNING)

    # --- Stopping -----------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        # Both are set even if they come ignored, as SIGINT does for a job in the background.
        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # `nohup make run` goes on
            signals.append(signal.SIGHUP)
        for number in signals:
            signal.signal(number, self._request_stop)

    def _request_stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def stop(self) -> None:
        """Everything in reverse order: first who uses, then who is used."""
        began = time.monotonic()
        users = [child for child in self.children if isinstance(child.service, Program)]
        servers = [child for child in self.children if child not in users]
        for child in reversed(users):
            if child.process.poll() is None:
                child.process.send_signal(child.service.stop_signal)
        for child in reversed(users):
            processes.wait_for_end(child.process, began + TIME_TO_LEAVE - time.monotonic())
            processes.end_group(child.process)
        for child in reversed(servers):
            child.stop(TIME_TO_CLOSE)
        processes.end_orphans(set())
        RUNNING.unlink(missing_ok=True)
        if self.children:
            say(f"Stopped in {time.monotonic() - began:.1f} s.")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:  # nobody listens yet, or it answers 503
        return False


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def end_leftovers() -> None:
    """Wait for what an earlier run left behind when it was killed; it has been told to end."""
    try:
        left = [service["pid"] for service in json.loads(RUNNING.read_text())]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for patience in (5.0, 0.0):
        deadline = time.monotonic() + patience
        while (alive := [pid for pid in left if _is_ours(pid)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in alive:
            os.killpg(pid, signal.SIGKILL)


def _is_ours(pid: int) -> bool:
    """By its command line, because the number may have gone to another program since."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return str(PROJECT) in command or str((LOCAL / "data").resolve()) in command


def lock() -> int:
    """Keep a second supervisor out of this folder, for as long as this process lives."""
    descriptor = os.open(LOCAL / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 20).decode() or "?"
        raise ServiceError(
            f"KGeN runs in {PROJECT} already (process {holder}). Stop it with Ctrl-C there, or "
            f"with: kill {holder}"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def print_summary(demo: Mapping[str, str], *, metrics_port: int | None) -> None:
    url = demo["BASE_URL"]
    staff = "\n".join(
        f"    {role:10} {demo[f'{prefix}_USER']}  password {demo[f'{prefix}_PASSWORD']}  "
        f"authenticator {demo[f'{prefix}_TOTP_SECRET']}"
        for role, prefix in (
            ("operator", "OPERATOR"),
            ("support", "SUPPORT"),
            ("finance", "FINANCE"),
            ("admin", "ADMIN"),
        )
    )
    games = "\n".join(
        f"    {demo[f'{prefix}_ID']}  secret {demo[f'{prefix}_SECRET']}"
        for prefix in ("CLIENT", "CLIENT2")
    )
    say(
        f"""
  KGeN runs at {url}

  API docs   {url}/api/docs/
  Console    {url}/admin/   (`make codes` prints the one-time codes)
{staff}
  Metrics    http://127.0.0.1:{metrics_port}/metrics
  Sandbox games, as x-clientID and x-clientSecret
{games}

  Texts to phones, logs, and these names for your scripts: .local/sms.jsonl, logs/, demo.env
  A whole tournament in a minute: `make demo` in another terminal. Stop: Ctrl-C.
"""
    )


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make run")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no tick
    if "MAKELEVEL" in os.environ:
        processes.die_with_parent(signal.SIGTERM)  # a killed make does not leave us behind
    processes.adopt_orphans()
    LOGS.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = lock()
    except ServiceError as error:
        return fail(str(error))
    supervisor = Supervisor(host=arguments.host, port=arguments.port)
    try:
        free = shutil.disk_usage(LOCAL).free // 1_000_000
        if free < NEEDED_MEGABYTES:
            raise OSError(errno.ENOSPC, f"{free} MB are free")
        end_leftovers()
        if dotenv.complete(PROJECT / ".env"):
            say("✓ .env holds the secrets of this installation")
        supervisor.start()
        supervisor.run()
    except StopRequested:
        return 0
    except ServiceError as error:
        return fail(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return fail(f"The disk of {LOCAL} is full: KGeN needs {NEEDED_MEGABYTES} MB there.")
    finally:
        supervisor.stop()
        os.close(descriptor)
    return 0


def fail(problem: str) -> int:
    print(f"\n✗ {problem}\n", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
