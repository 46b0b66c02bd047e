"""Programs from Debian packages, unpacked into `.local/`: nothing is installed, nobody is root."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kgen.local.processes import PROJECT, ServiceError

# What each program needs beyond what every Debian has.
_PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "wrk": ("wrk", "libluajit-5.1-2"),
    "redis-benchmark": ("redis-tools", "liblzf1", "libjemalloc2"),
}
_FOLDER: Final = PROJECT / ".local" / "debian"


@dataclass(frozen=True)
class Program:
    path: str
    environment: Mapping[str, str]


def program(name: str) -> Program:
    """The program of this name, the machine's own if it has one. Raises `ServiceError`."""
    if own := shutil.which(name):
        return Program(own, dict(os.environ))
    path = _FOLDER / "usr" / "bin" / name
    if not path.exists():
        _unpack(_PACKAGES[name])
    libraries = [str(folder) for folder in (_FOLDER / "usr" / "lib").glob("*-linux-gnu")]
    return Program(str(path), {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)})


def _unpack(packages: tuple[str, ...]) -> None:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        _run("apt-get", "download", "-qq", *packages)
        for package in _FOLDER.glob("*.deb"):
            _run("dpkg-deb", "-x", str(package), ".")
            package.unlink()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServiceError(
            f"{packages[0]} could not be fetched: install it, or try again on Debian. {error}"
        ) from error


def _run(*command: str) -> None:
    subprocess.run(command, cwd=_FOLDER, check=True, capture_output=True)
