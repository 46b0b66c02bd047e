"""`make reset`: forget what `make run` has stored; the secrets in .env and the chain's programs stay."""

import fcntl
import os
import shutil
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOCAL = os.path.join(ROOT, ".local")
KEPT = {"anvil", "eth-tester", "lock"}


def main() -> None:
    if not os.path.isdir(LOCAL):
        return
    with open(os.path.join(LOCAL, "lock"), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("KGeN is running here: stop it first (Ctrl-C in its terminal).")
        data = os.path.join(LOCAL, "data")
        if os.path.islink(data):
            shutil.rmtree(os.path.realpath(data), ignore_errors=True)
        for name in set(os.listdir(LOCAL)) - KEPT:
            path = os.path.join(LOCAL, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)


if __name__ == "__main__":
    main()
