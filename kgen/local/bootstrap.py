"""From a fresh clone to a virtual environment with everything installed.

Run by make with whatever `python3` there is, so it uses the standard library alone, and syntax that
an old Python reads: it has to tell its owner what is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "installed.json")
NEEDED_MEGABYTES = 1000


def main(locks: list[str]) -> None:
    """Install the lock files into .venv, if one of them has changed since the last time."""
    if sys.version_info < OLDEST:
        use_a_newer_python()
    if not venv_works():
        make_venv()
    wanted = {lock: digest(lock) for lock in locks}
    installed = read_stamp()
    if any(installed.get(lock) != wanted[lock] for lock in locks):
        install(locks)
        installed.update(wanted)
        with open(STAMP, "w") as file:
            json.dump(installed, file)


def use_a_newer_python() -> None:
    """Go on with another interpreter of this machine that is new enough, or say what to install."""
    for minor in range(20, OLDEST[1] - 1, -1):
        other = shutil.which(f"python3.{minor}")
        if other:
            os.execv(other, [other, *sys.argv])
    stop(
        f"KGeN needs Python 3.11 or newer, and {sys.executable} is {version()}. Install one (Debian "
        "and Ubuntu: sudo apt install python3.11 python3.11-venv) and run make again, or name one "
        "that you have: make run PYTHON=/path/to/python3.11"
    )


def version() -> str:
    return ".".join(map(str, sys.version_info[:2]))


def venv_works() -> bool:
    """A half-made one, or one whose Python has been removed or upgraded, does not."""
    probe = "" if read_stamp() else "import pip"
    try:
        return subprocess.call([VENV_PYTHON, "-c", probe], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def make_venv() -> None:
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian leaves it out of its python3 package
    except ImportError:
        package = f"python{version()}-venv"
        stop(
            f"This Python cannot make virtual environments: the package {package} is missing. "
            f"Install it (sudo apt install {package}) and run make again."
        )
    free = shutil.disk_usage(ROOT).free // 1_000_000
    if free < NEEDED_MEGABYTES:
        stop(
            f"The disk is nearly full: {free} MB are free in {ROOT}, and the installation needs "
            f"{NEEDED_MEGABYTES} MB."
        )
    say(f"Making .venv with Python {version()}")
    if subprocess.call([sys.executable, "-m", "venv", "--clear", VENV]) != 0:
        stop("The virtual environment could not be made: see above.")


def install(locks: list[str]) -> None:
    say(f"Installing {' and '.join(locks)} (the first time takes about a minute)")
    command = [VENV_PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    # Python compiles what is imported; most modules of most packages never are.
    command += ["--progress-bar", "off", "--no-compile"]
    for lock in locks:
        command += ["-r", os.path.join(ROOT, lock)]
    total = sum(line[:1].isalpha() for line in lines_of(locks))
    pip = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    output = []
    seen = 0
    for line in pip.stdout or []:
        output.append(line)
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            seen += 1
            progress(f"  {min(seen, total)} of {total}", seen)
        elif line.startswith("Installing collected packages"):
            progress("  unpacking", 0)
    progress("", 0)
    if pip.wait() != 0:
        reason = "".join(output[-15:])
        if "No space left on device" in reason:
            stop(f"The disk is full: .venv in {ROOT} needs {NEEDED_MEGABYTES} MB.")
        stop(f"pip could not install the requirements:\n\n{reason}")


def lines_of(locks: list[str]) -> Iterator[str]:
    for lock in locks:
        with open(os.path.join(ROOT, lock)) as file:
            yield from file


def progress(text: str, count: int) -> None:
    """One line that is written over on a terminal; elsewhere a line now and then."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{text:30}" if text else f"\r{'':30}\r")
        sys.stdout.flush()
    elif text and count % 20 == 0:
        say(text)


def digest(lock: str) -> str:
    with open(os.path.join(ROOT, lock), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def read_stamp() -> dict[str, str]:
    try:
        with open(STAMP) as file:
            installed: dict[str, str] = json.load(file)
            return installed
    except (OSError, ValueError):
        return {}


def say(text: str) -> None:
    print(text, flush=True)


def stop(text: str) -> None:
    sys.exit(f"\n{text}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:] or ["requirements.txt"])
    except KeyboardInterrupt:
        stop("Stopped.")
    except OSError as error:
        stop(str(error))
