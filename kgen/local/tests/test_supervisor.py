"""`make run` as a whole: a copy of the project, in a path with a space, on ports of its own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from kgen.local import dotenv
from kgen.local.devchain import find_anvil
from kgen.local.processes import PROJECT, free_port

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

SUMMARY_END = "Stop: Ctrl-C"
NAMES = ["postgres", "valkey", "anvil", "signer", "web", "worker", "beat", "metrics", "stream"]


class Platform:
    """One supervisor in its own folder, as a terminal would start it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local = folder / ".local"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> subprocess.Popen[bytes]:
        # A terminal's environment: nothing of the test run may reach it.
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with (self.folder / "output.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kgen.local.supervisor", "--port", str(self.port)],
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def start(self) -> None:
        """Return when the summary has been printed."""
        starts = self.output().count(SUMMARY_END)
        process = self.begin()
        self.wait(
            lambda: self.output().count(SUMMARY_END) > starts or process.poll() is not None,
            seconds=120,
        )
        assert process.poll() is None, self.output()

    def is_green(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def services(self) -> dict[str, int]:
        listed = json.loads((self.local / "services.json").read_text())
        return {service["name"]: service["pid"] for service in listed}

    def has_another(self, name: str, pid: int) -> bool:
        return self.services()[name] != pid

    def output(self) -> str:
        log = self.folder / "output.log"
        return log.read_text() if log.exists() else ""

    def processes(self) -> set[int]:
        """All that run in this folder or name it, whoever started them."""
        marks = {str(self.folder), str((self.local / "data").resolve())}
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                told = (process / "cmdline").read_text(), os.readlink(process / "cwd")
            except OSError:
                continue
            if any(mark in text for mark in marks for text in told):
                found.add(int(process.name))
        return found

    def wait(self, condition: Callable[[], bool], *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def stop(self, with_signal: signal.Signals) -> float:
        """Seconds until the supervisor has ended."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(with_signal)
        self.process.wait(30)
        return time.monotonic() - began


def environment_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(line.split("=", 1) for line in lines if line)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    folder = tmp_path / "a clone"
    shutil.copytree(
        PROJECT, folder, ignore=shutil.ignore_patterns(".*", "node_modules", "__pycache__")
    )
    binary = Path(find_anvil())
    (folder / ".local").mkdir()
    if (PROJECT / ".local" / "anvil") in binary.parents:
        (folder / ".local" / "anvil").symlink_to(PROJECT / ".local" / "anvil")
    platform = Platform(folder)
    try:
        yield platform
    finally:
        if platform.process is not None and platform.process.poll() is None:
            platform.stop(signal.SIGTERM)
        subprocess.run([sys.executable, "kgen/local/reset.py"], cwd=folder, check=True)


def test_whatever_is_killed_is_started_again(platform: Platform) -> None:
    platform.start()
    before = platform.services()
    assert list(before) == NAMES

    for name in NAMES:
        os.kill(before[name], signal.SIGKILL)
        platform.wait(partial(platform.has_another, name, before[name]), seconds=10)
    platform.wait(platform.is_green, seconds=30)

    said = [line for line in platform.output().splitlines() if line.startswith("! ")]
    assert len(said) == len(NAMES)
    for name, line in zip(NAMES, said, strict=True):
        assert line.startswith(f"! {name} died (killed by SIGKILL; its last line was: ")
        assert line.endswith(" and is started again at once.")


def test_the_seed_is_the_signers_alone(platform: Platform) -> None:
    platform.start()
    services = platform.services()

    told = {name: environment_of(services[name]) for name in ("web", "worker", "beat")}

    settings = dotenv.read(platform.folder / ".env")
    assert [name for name in settings if "SEED" in name] == []
    for environment in told.values():
        assert [name for name, value in environment.items() if "SEED" in name and value] == []
        assert not environment.get("SIGNER_PASSPHRASE_FILE")
    assert [name for name, environment in told.items() if environment.get("SIGNER_SOCKET")] == [
        "worker"
    ]
    signer = (platform.local / "logs" / "signer.log").read_text()
    assert f"Signing for {told['worker']['SETTLEMENT_ADDRESS']} on chain 31337" in signer


def test_a_stop_is_clean_and_the_next_start_finds_everything(platform: Platform) -> None:
    platform.start()
    first = dotenv.read(platform.local / "demo.env")

    stopping = platform.stop(signal.SIGINT)

    assert platform.process is not None
    assert platform.process.returncode == 0
    assert stopping < 10
    assert platform.processes() == set()

    platform.start()

    second = dotenv.read(platform.local / "demo.env")
    for name in ("CLIENT_ID", "CLIENT_SECRET", "SUPPORT_TOTP_SECRET", "SETTLEMENT_ADDRESS"):
        assert second[name] == first[name]


def test_after_a_kill_no_process_is_left_and_the_next_start_works(platform: Platform) -> None:
    platform.start()
    assert platform.process is not None

    for pid in [platform.process.pid, *platform.services().values()]:
        os.kill(pid, signal.SIGKILL)
    platform.process.wait(10)
    platform.wait(lambda: platform.processes() == set(), seconds=10)

    platform.start()
    platform.stop(signal.SIGKILL)
    platform.wait(lambda: platform.processes() == set(), seconds=10)


def test_a_child_that_cannot_live_ends_the_run_with_its_reason(platform: Platform) -> None:
    (platform.folder / "kgen" / "celery.py").write_text("raise SystemExit('no such luck')\n")
    apps = platform.folder / "kgen" / "apps.py"
    apps.write_text(apps.read_text().replace("from kgen.celery import app as celery_app", ""))

    process = platform.begin()
    process.wait(180)

    assert process.returncode == 1
    last_word = r"✗ (worker|beat) has died 10 times within a minute \(exit code 1; "
    assert re.search(last_word, platform.output())
    assert platform.processes() == set()


def test_a_port_in_use_is_named_and_nothing_is_started(platform: Platform) -> None:
    with socket.create_server(("127.0.0.1", platform.port)):
        process = platform.begin()
        process.wait(30)

    assert process.returncode == 1
    assert f"✗ Port {platform.port} on 127.0.0.1 is in use by another" in platform.output()
    assert not (platform.local / "data").exists()
