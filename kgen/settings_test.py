"""Settings of the test suite: the same code, a fast password hasher, tasks run in place."""

import os

# Secrets of no value, so that the suite needs no `.env`; the seed and the extended public keys
# belong together.
os.environ.update(
    SECRET_KEY="tests-only-" + "0" * 50,
    OTP_SECRET="tests-only-" + "1" * 50,
    PERSONAL_DATA_KEYS="t1:" + "A" * 43,
    PERSONAL_DATA_HASH_KEY="tests-only-" + "2" * 50,
    SERVED_OVER_TLS="off",
    CHAIN_ID="31337",
    KCASH_ADDRESS="",
    SETTLEMENT_ADDRESS="",
    CUSTODY_SEED=bytes(range(64)).hex(),
    CUSTODY_XPUB="xpub6Cd2ZDPnwVQcBXGVBTVCLRc3VG6FMUBTowdD4YRgVtAeitwH6iTYD17rDmNGUooLcWaNwAQVD42PAyEiexa9AsKFBE4VpBFE48y5njRsNFF",
    KGEN_XPUB="xpub6Cd2ZDPnwVQcEVJ5c3NVCJS3dWVHKpFQAsFCKt48DwobJT55XJcACnSeAydzQmf5dqHkNB6g6RSR1shWEHvRShw9kFSbRUjKh9qcH4raK7f",
    SIGNER_SOCKET="",
    OPERATOR_KEYS="",
    OPERATOR_KEY="01" * 32,
    FLOAT_KEY="02" * 32,
    FLOAT_ADDRESS="0x5050a4f4b3f9338c3472dcc01a87c76a144b3c9c",
    ADMIN_KEY="03" * 32,
    # Who has just scored looks at once.
    BOARD_SNAPSHOT_SECONDS="0",
    # Limits that no test meets by accident.
    AUTO_APPROVE_PER_GAMER_AND_DAY=str(10**15),
    AUTO_APPROVE_TIMES_PER_GAMER_AND_DAY=str(10**6),
    AUTO_APPROVE_PER_DAY=str(10**15),
)

from kgen.settings import *  # noqa: F403 - the environment above must be set first

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
