"""Child processes that do not outlive us, the user they run as, and free ports."""

import contextlib
import ctypes
import ctypes.util
import json
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
# Below the range from which the kernel takes ports for outgoing connections, so that a server that
# is started again finds its own port still free.
PORTS = range(20_000, 30_000)

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# Loaded once, here: a child between fork and exec must not load libraries.
_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


class ServiceError(Exception):
    """Something that the person at the terminal can understand and mend."""


def free_port() -> int:
    for port in random.sample(PORTS, k=200):
        if port_is_free(port):
            return port
    raise ServiceError(f"No free port on {LOOPBACK} between {PORTS.start} and {PORTS.stop}.")


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket() as probe:
        # As servers do: a port that only has connections in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def server_user() -> pwd.struct_passwd | None:
    """The user that database servers run as: PostgreSQL refuses root, so root lends them nobody."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def run_as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments of `subprocess` that drop to `user`."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def die_with_parent(death_signal: signal.Signals) -> None:
    """Ask the kernel for `death_signal` when the parent's thread ends, however it ends (Linux)."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose own parent dies (Linux)."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(parent: int) -> set[int]:
    """Process ids whose parent is `parent`; empty where there is no /proc."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (command, which may hold anything) state ppid ...
            ppid = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # ended while we looked
        if ppid == parent:
            found.add(int(stat.parent.name))
    return found


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    errors: Path | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    user: pwd.struct_passwd | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path = PROJECT,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, out of reach of the terminal's Ctrl-C.

    It writes to `log`, and where `errors` is given its standard error goes there instead. When we
    die it gets `death_signal`, so that it can leave in good order.
    """
    parent = os.getpid()

    def between_fork_and_exec() -> None:
        die_with_parent(death_signal)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the kernel had been asked

    with log.open("ab") as output, (errors or log).open("ab") as error_output:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error_output,
            env=dict(environment) if environment is not None else None,
            cwd=folder,
            start_new_session=True,
            preexec_fn=between_fork_and_exec,
            **run_as(user),
        )


def wait_until(
    ready: Callable[[], bool],
    *,
    process: subprocess.Popen[bytes],
    name: str,
    log: Path,
    seconds: float = 30,
) -> None:
    """Return once `ready()`; raise `ServiceError` if the process ends or time runs out first."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise ServiceError(f"{name} did not start ({how_it_ended(process)}): {last_line(log)}")
        if time.monotonic() > deadline:
            raise ServiceError(f"{name} is not ready after {seconds:.0f} s: {last_line(log)}")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], with_signal: signal.Signals, seconds: float) -> None:
    """Ask the process to end, and end its whole group if it has not within `seconds`."""
    if process.poll() is None:
        process.send_signal(with_signal)
        wait_for_end(process, seconds)
    end_group(process)


def wait_for_end(process: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(seconds, 0))


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the child's group; its number cannot be reused while members live."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_orphans(known: set[int]) -> None:
    """Kill the processes that became our children because their own parent, our child, has died."""
    for pid in children_of(os.getpid()) - known:
        with contextlib.suppress(ProcessLookupError, ChildProcessError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def how_it_ended(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def last_line(log: Path) -> str:
    """The last line that says anything, as the reason for an unexpected end."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    last = next((line.strip() for line in reversed(lines) if line.strip()), "(nothing in the log)")
    return in_words(last).splitlines()[-1]


def in_words(line: str) -> str:
    """What a line of a log of ours says, to a person; other lines as they are."""
    try:
        said = json.loads(line)
    except ValueError:
        return line
    if not isinstance(said, dict) or "event" not in said:
        return line
    return "\n".join(str(said[part]) for part in ("event", "exception") if said.get(part))
