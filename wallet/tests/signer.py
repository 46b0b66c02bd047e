"""The signer as a process of its own, as it is run, on the test settings' seed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from django.conf import settings

from kgen.local.processes import PROJECT, wait_until
from wallet.settlement.signer.serving import is_served


class Signer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A Unix socket's path is short; a test's folder need not be.
        self._sockets = tempfile.TemporaryDirectory(prefix="signer-")
        self.socket = Path(self._sockets.name) / "signer.sock"
        self.log = folder / "signer.log"
        self.process: subprocess.Popen[bytes] | None = None

    def environment(self, **changed: str) -> dict[str, str]:
        """All that the signer is told; nothing of the test run reaches it."""
        return {
            "PATH": os.environ["PATH"],
            "CHAIN_ID": str(settings.CHAIN_ID),
            "KCASH_ADDRESS": settings.KCASH_ADDRESS,
            "SETTLEMENT_ADDRESS": settings.SETTLEMENT_ADDRESS,
            "CUSTODY_XPUB": settings.CUSTODY_XPUB,
            "CUSTODY_SEED": settings.CUSTODY_SEED,
            "SIGNER_SOCKET": str(self.socket),
        } | changed

    def begin(self, **changed: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wallet.settlement.signer", "serve"],
                cwd=PROJECT,
                env=self.environment(**changed),
                stdout=log,
                stderr=log,
            )
        return self.process

    def start(self, **changed: str) -> None:
        """Return once it serves."""
        process = self.begin(**changed)
        wait_until(lambda: is_served(self.socket), process=process, name="signer", log=self.log)

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(with_signal)
        return self.process.wait(10)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGKILL)
        self._sockets.cleanup()
