"""Debian's nginx with the configuration of `deploy/`, on ports and with a certificate of the test's.

Where there is none, its package is unpacked into `.local/`: nothing is installed, and root is not
needed.
"""

import os
import shutil
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kgen.local.processes import (
    LOOPBACK,
    PROJECT,
    end_group,
    free_port,
    port_is_free,
    start,
    stop,
    wait_until,
)

_UNPACKED = PROJECT / ".local" / "nginx"


class NoNginx(Exception):
    """There is none here, and none could be fetched; says why."""


def binary() -> Path:
    """Raises `NoNginx`."""
    installed = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    unpacked = _UNPACKED / "usr" / "sbin" / "nginx"
    found = Path(installed) if installed else unpacked
    if not found.exists():
        _unpack()
    try:
        subprocess.run([str(found), "-v"], check=True, capture_output=True)  # noqa: S603 - fixed
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoNginx(f"nginx does not run here: {error}") from error
    return found


def _unpack() -> None:
    folder = _UNPACKED.with_suffix(f".{os.getpid()}")
    folder.mkdir(parents=True)
    try:
        _run(["apt-get", "download", "nginx"], folder)
        (package,) = folder.glob("nginx_*.deb")
        _run(["dpkg-deb", "-x", str(package), str(folder)], folder)
        package.unlink()
        if not _UNPACKED.exists():
            folder.rename(_UNPACKED)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(  # noqa: S603 - the two above
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or "").strip()
        raise NoNginx(f"nginx is not installed, and {command[0]} failed: {error} {said}") from error


class Nginx:
    def __init__(self, folder: Path, *, web_port: int, stream_port: int) -> None:
        self.folder = folder
        self.port, self.plain_port = free_port(), free_port()
        self._web_port, self._stream_port = web_port, stream_port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = binary()
        _write_certificate(self.folder)
        site = (PROJECT / "deploy" / "nginx" / "kgen.conf").read_text()
        for placeholder, value in {
            "127.0.0.1:8000": f"{LOOPBACK}:{self._web_port}",
            "127.0.0.1:9465": f"{LOOPBACK}:{self._stream_port}",
            "listen 80;": f"listen {LOOPBACK}:{self.plain_port};",
            "listen 443 ": f"listen {LOOPBACK}:{self.port} ",
            "kgen.example": "localhost",
            "/etc/ssl/kgen/": f"{self.folder}/",
            "/var/log/nginx/": f"{self.folder}/",
        }.items():
            assert placeholder in site, placeholder
            site = site.replace(placeholder, value)
        (self.folder / "kgen.conf").write_text(site)
        temporary = "\n".join(
            f"  {kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"{user}\ndaemon off;\nworker_processes 1;\npid {self.folder}/nginx.pid;\n"
            f"events {{ worker_connections 256; }}\n"
            f"http {{\n{temporary}\n  include {self.folder}/kgen.conf;\n}}\n"
        )
        log = self.folder / "nginx.log"
        self.process = start(
            [str(program), "-e", str(log), "-p", str(self.folder), "-c", "nginx.conf"],
            log=log,
        )
        ready = lambda: not port_is_free(self.port)  # noqa: E731 - a name for what is waited for
        wait_until(ready, process=self.process, name="nginx", log=log)

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process, signal.SIGTERM, seconds=3)
            end_group(self.process)


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "privkey.pem").write_bytes(private)
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
