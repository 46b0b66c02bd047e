"""Settings for tools that read the code and start nothing: mypy, `makemigrations --check`."""

import os

os.environ.update(
    DATABASE_URL="postgres://nobody:none@127.0.0.1:1/none",
    MIGRATE_DATABASE_URL="",
    REDIS_URL="redis://127.0.0.1:1/0",
    CHAIN_RPC_URL="",
)

from kgen.settings_test import *  # noqa: F403 - the environment above must be set first
