"""The application as `make run` serves it: a worker does not outlive the server that made it."""

import signal

from kgen.local.processes import die_with_parent
from kgen.wsgi import application

__all__ = ["application"]

die_with_parent(signal.SIGKILL)
