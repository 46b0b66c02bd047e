"""All settings, read from the environment.

A value is looked up in the process environment, then in `.env` (the secrets of this installation),
then in `.local/runtime.env` (what `make run` has started on this machine). Secrets have no default:
a missing one stops the process with its name.
"""

from datetime import timedelta
from pathlib import Path

import environ

from kgen.common import logs

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")
environ.Env.read_env(BASE_DIR / ".local" / "runtime.env")

# --- Django ------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "kgen.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_otp",
    "axes",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "kgen.common",
    "accounts",
    "wallet",
    "rewards",
    "tournaments",
]

MIDDLEWARE = [
    "kgen.common.api.middleware.RequestIdMiddleware",
    "kgen.common.api.middleware.ApiErrorMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "kgen.common.api.middleware.PermissionsPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "kgen.urls"
WSGI_APPLICATION = "kgen.wsgi.application"
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "kgen" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

STATIC_URL = "/static/"
# Served straight from the packages that hold them: nothing to collect before the first start.
WHITENOISE_USE_FINDERS = True

# --- Data stores ---------------------------------------------------------------------------------

# The application's login; `migrate` alone connects as the owner named in MIGRATE_DATABASE_URL.
DATABASES = {"default": env.db("DATABASE_URL")}
DATABASES["default"]["CONN_MAX_AGE"] = None
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"].setdefault("OPTIONS", {})["options"] = (
    "-c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"
)
MIGRATE_DATABASE_URL = env.str("MIGRATE_DATABASE_URL", default="")

# What the application's login may do with each table beyond the usual reading and writing; `*` of
# a list is granted in place of it. Rows of money and of the audit trail are never its to rewrite.
APPLICATION_GRANTS = {
    "wallet_wallettransaction": (
        "SELECT, INSERT, UPDATE (sync_status, sync_error, payout_id, modified_at)"
    ),
    "wallet_deposit": "SELECT, INSERT",
    "wallet_approvalrequest": "SELECT, INSERT",
    "wallet_approval": "SELECT, INSERT",
    "wallet_kgenwallet": "SELECT, INSERT",
    "wallet_correction": (
        "SELECT, INSERT, UPDATE (state, decided_by_id, decided_at, decision_reason, transaction_id)"
    ),
    "wallet_walletfreeze": "SELECT, INSERT, UPDATE (lifted_by, lifted_at, lift_reason)",
    "wallet_payoutswitch": "SELECT, UPDATE",
    "accounts_otpswitch": "SELECT, UPDATE",
    "wallet_chainevent": (
        "SELECT, INSERT, UPDATE (meaning, dropped_at, explanation, explained_by, explained_at)"
    ),
    "rewards_bulkgrant": (
        "SELECT, INSERT, UPDATE (state, skips_refused, confirmed_by_id, confirmed_at, position,"
        " granted, already_granted, refused, done_at)"
    ),
    "tournaments_resultrecord": "SELECT, INSERT",
    "common_staffact": "SELECT, INSERT",
    "django_admin_log": "SELECT",
    "django_migrations": "SELECT",
}

# What reconciliation asks, in this order. The wallet knows nothing of the apps above it.
LEDGER_AUDITS = (
    "wallet.reconciliation.AUDITS",
    "rewards.audits.AUDITS",
    "tournaments.audits.AUDITS",
)

REDIS_URL = env.str("REDIS_URL")

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = 300
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TIMEZONE = "UTC"

# --- API -----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["kgen.common.api.renderers.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["kgen.common.api.parsers.StrictJsonParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "EXCEPTION_HANDLER": "kgen.common.api.exceptions.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "KGeN ESports Protocol",
    "DESCRIPTION": "Tournaments with real prizes inside your game.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",  # the segment behind it groups the endpoints
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",  # its own
        "kgen.common.api.schema.with_headers",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    # Without this the page sends the schema's address to a validator on the internet.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

API_MAX_BODY_BYTES = 64 * 1024
# Of one process: so many requests are worked on, each on a database connection of its own; so many
# more wait for at most so long, and all others are answered 503. The server needs more threads than
# both together, so that one is left to say so. At five times the load that a machine of two cores can
# carry, 8 keep 94 % of its goodput and 16 keep 74 % (`make bench-overload`).
REQUESTS_AT_ONCE = env.int("REQUESTS_AT_ONCE", default=8)
REQUESTS_WAITING = env.int("REQUESTS_WAITING", default=64)
REQUESTS_PATIENCE = timedelta(seconds=env.float("REQUESTS_PATIENCE_SECONDS", default=1))
IDEMPOTENCY_KEY_LIFE = timedelta(hours=24)

# --- Staff ---------------------------------------------------------------------------------------

LOGIN_URL = "admin:login"
OTP_TOTP_ISSUER = "KGeN"
STAFF_IDLE = timedelta(minutes=30)
STAFF_SESSION_LIFE = timedelta(hours=8)
SESSION_COOKIE_AGE = int(STAFF_SESSION_LIFE.total_seconds())
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # asks first whether the caller is locked out
    "django.contrib.auth.backends.ModelBackend",
]
# Five wrong passwords or codes lock out this name from this address: a stranger locks out nobody
# else, and nobody behind the same proxy. No try made meanwhile prolongs it.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=5)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "kgen.console.address_of"
AXES_LOCKOUT_CALLABLE = "kgen.console.locked_out"
# What the history keeps anyway is not kept a second time.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = [
    "username", "ip_address", "password", "otp_token", "csrfmiddlewaretoken", "next",
]  # fmt: skip
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Behind TLS everything is secure; `make run` serves plain HTTP on this machine alone.
SERVED_OVER_TLS = env.bool("SERVED_OVER_TLS", default=True)
SESSION_COOKIE_SECURE = SERVED_OVER_TLS
CSRF_COOKIE_SECURE = SERVED_OVER_TLS
CSRF_COOKIE_HTTPONLY = True
# A browser takes a cookie of such a name from this very host alone, and over TLS.
SESSION_COOKIE_NAME = "__Host-sessionid" if SERVED_OVER_TLS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if SERVED_OVER_TLS else "csrftoken"
SECURE_SSL_REDIRECT = SERVED_OVER_TLS
# A POST of the API is never redirected, and who asks for health stands behind the proxy.
SECURE_REDIRECT_EXEMPT = [r"^api/", r"^healthz$", r"^readyz$"]
# How many proxies of ours stand in front, each adding to X-Forwarded-For whom it speaks with and
# setting X-Forwarded-Proto itself (deploy/nginx does). At 0 neither header is read at all.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 31_536_000 if SERVED_OVER_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SERVED_OVER_TLS
SECURE_HSTS_PRELOAD = SERVED_OVER_TLS
SECURE_REFERRER_POLICY = "no-referrer"
X_FRAME_OPTIONS = "DENY"

# --- Rules of the platform (API contract, section 0) ---------------------------------------------

WELCOME_BONUS = env.int("WELCOME_BONUS", default=50)
TOKEN_LIFE = timedelta(hours=24)
SESSION_LIFE = timedelta(days=30)
END_GRACE = timedelta(seconds=60)
FUTURE_CLOCK_TOLERANCE = timedelta(seconds=120)
# From so many seats on a board is also kept in Valkey, where a rank is found without counting.
RANKED_FROM_SEATS = env.int("RANKED_FROM_SEATS", default=5_000)

# A board in play is shown as it was at most so long ago (contract 3.6); 0 shows the truth to all.
BOARD_SNAPSHOT_AGE = timedelta(seconds=env.float("BOARD_SNAPSHOT_SECONDS", default=0.2))
# Of all boards that a process keeps for that, some 300 bytes each.
BOARD_SNAPSHOT_SEATS = env.int("BOARD_SNAPSHOT_SEATS", default=200_000)

# Where gamers and the console reach `manage.py serve_stream`; without it no board is streamed.
STREAM_URL = env.str("STREAM_URL", default="").rstrip("/")
# Pages load nothing but our own files and hold no script and no style of their own; a live board's
# stream is the only other address that they speak with.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'", *([STREAM_URL] if STREAM_URL else [])],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
}
STREAM_INTERVAL = timedelta(seconds=env.float("STREAM_INTERVAL_SECONDS", default=1))
STREAM_HEARTBEAT = timedelta(seconds=env.float("STREAM_HEARTBEAT_SECONDS", default=15))
STREAM_CHECK_INTERVAL = timedelta(seconds=env.float("STREAM_CHECK_SECONDS", default=15))
# For so long a watcher may leave unread what was sent.
STREAM_PATIENCE = timedelta(seconds=env.float("STREAM_PATIENCE_SECONDS", default=10))
STREAM_TICKET_LIFE = timedelta(seconds=60)
# Of one process; who comes later is sent away for a while.
STREAM_MOST_WATCHERS = env.int("STREAM_MOST_WATCHERS", default=2_000)

OTP_SECRET = env.str("OTP_SECRET")
# Phones and e-mails are encrypted: <id>:<32 bytes in URL-safe base64>, separated by commas. The first
# key encrypts, all decrypt; `manage.py rotate_personal_data` brings everything under the first.
PERSONAL_DATA_KEYS = env.str("PERSONAL_DATA_KEYS")
# What they are looked up by is hashed with this one; it can never be changed.
PERSONAL_DATA_HASH_KEY = env.str("PERSONAL_DATA_HASH_KEY")
OTP_LIFE = timedelta(seconds=300)
OTP_RESEND_WAIT = timedelta(seconds=60)
OTP_TRIES = 5
# A gateway takes no longer to take an SMS or to refuse it; what nobody has told of by then, nobody will.
OTP_DELIVERY_PATIENCE = timedelta(seconds=20)
OTP_SENDS_PER_PHONE_AND_HOUR = 5
OTP_SENDS_PER_GAMER_AND_DAY = 10
OTP_SENDS_PER_PREFIX_AND_10_MINUTES = 20
OTP_DAILY_BUDGET_PER_GAME = env.int("OTP_DAILY_BUDGET_PER_GAME", default=2_000)
OTP_DAILY_BUDGET = env.int("OTP_DAILY_BUDGET", default=20_000)
# Somebody is told when so much of a limit of sends is used up, or when of an hour's OTPs, at least as
# many as the sample, fewer than these are ever shown to us: so it looks when SMS are pumped.
OTP_ALARM_PERCENT = env.int("OTP_ALARM_PERCENT", default=80)
OTP_LEAST_VERIFIED_PERCENT = env.int("OTP_LEAST_VERIFIED_PERCENT", default=30)
OTP_VERIFIED_SAMPLE = env.int("OTP_VERIFIED_SAMPLE", default=20)
# Numbers that belong to nobody, as a regular expression: sandboxes send them nothing, and their code
# is 000000. North America keeps 555-0100 to 555-0199 of every area for such uses.
OTP_SANDBOX_NUMBERS = env.str("OTP_SANDBOX_NUMBERS", default=r"\+1[2-9][0-9]{2}55501[0-9]{2}")
OTP_COUNTRIES = env.list("OTP_COUNTRIES", default=["IN", "US"])

# accounts.sms.twilio.Twilio, accounts.sms.sns.Sns or accounts.sms.msg91.Msg91; the file outbox sends
# nothing and is for development.
SMS_BACKEND = env.str("SMS_BACKEND", default="accounts.sms.outbox.FileOutbox")
# Countries with a gateway of their own, as IN=accounts.sms.msg91.Msg91.
SMS_BACKEND_OF_COUNTRY = env.dict("SMS_BACKEND_OF_COUNTRY", default={})
SMS_OUTBOX = Path(env.str("SMS_OUTBOX", default=str(BASE_DIR / ".local" / "sms.jsonl")))
# The account, an API key of it (or the account again, with its token), and what texts come from: a
# number, a name, or the id MG... of a Messaging Service.
SMS_TWILIO_ACCOUNT = env.str("SMS_TWILIO_ACCOUNT", default="")
SMS_TWILIO_KEY = env.str("SMS_TWILIO_KEY", default="")
SMS_TWILIO_SECRET = env.str("SMS_TWILIO_SECRET", default="")
SMS_TWILIO_SENDER = env.str("SMS_TWILIO_SENDER", default="")
# Of the Verify API, in place of account and sender: a service that allows custom codes (VA...).
SMS_TWILIO_VERIFY_SERVICE = env.str("SMS_TWILIO_VERIFY_SERVICE", default="")
SMS_TWILIO_VERIFY_URL = env.str("SMS_TWILIO_VERIFY_URL", default="https://verify.twilio.com")
SMS_TWILIO_URL = env.str("SMS_TWILIO_URL", default="https://api.twilio.com")
# An access key that may do sns:Publish and nothing else.
SMS_SNS_REGION = env.str("SMS_SNS_REGION", default="")
SMS_SNS_KEY_ID = env.str("SMS_SNS_KEY_ID", default="")
SMS_SNS_SECRET = env.str("SMS_SNS_SECRET", default="")
SMS_SNS_URL = env.str("SMS_SNS_URL", default="")
SMS_MSG91_KEY = env.str("SMS_MSG91_KEY", default="")
# Registered with the variables otp and minutes.
SMS_MSG91_TEMPLATE = env.str("SMS_MSG91_TEMPLATE", default="")
SMS_MSG91_URL = env.str("SMS_MSG91_URL", default="https://control.msg91.com")

# --- Chain ---------------------------------------------------------------------------------------

CHAIN_RPC_URL = env.str("CHAIN_RPC_URL", default="")
# A second node: asked while the first is out of reach, and before a transaction is given up as lost.
CHAIN_RPC_URL_2 = env.str("CHAIN_RPC_URL_2", default="")
CHAIN_ID = env.int("CHAIN_ID", default=31337)
# No later than the block of the contracts: from here on the chain's events are read.
CHAIN_START_BLOCK = env.int("CHAIN_START_BLOCK", default=0)
# Addresses are lower case everywhere inside, whatever case they are given in.
KCASH_ADDRESS = env.str("KCASH_ADDRESS", default="").lower()
SETTLEMENT_ADDRESS = env.str("SETTLEMENT_ADDRESS", default="").lower()
FLOAT_ADDRESS = env.str("FLOAT_ADDRESS", default="").lower()
# Every gamer's address is derived from these extended public keys. The seed behind them is opened
# by the signer alone (`python -m wallet.settlement.signer serve`), which listens on this socket.
CUSTODY_XPUB = env.str("CUSTODY_XPUB")
KGEN_XPUB = env.str("KGEN_XPUB")
SIGNER_SOCKET = env.str("SIGNER_SOCKET", default="")
# The bare seed, on test chains: of the signer where it has no sealed one, and without a
# SIGNER_SOCKET of the settlement worker.
CUSTODY_SEED = env.str("CUSTODY_SEED", default="")
# The settlement worker's: keys that send transactions, one a lane, separated by commas. Each is
# keystore:<file>, aws-kms:<ARN>, gcp-kms:<name of a key's version>, or on test chains the bare key.
# Without any, OPERATOR_KEY is the only one.
OPERATOR_KEYS = env.list("OPERATOR_KEYS", default=[])
OPERATOR_KEY = env.str("OPERATOR_KEY", default="")
# Opens the keystores.
OPERATOR_PASSWORD_FILE = env.str("OPERATOR_PASSWORD_FILE", default="")
# What a wallet does is settled as one payout of its net: after this many seconds, if it comes to the
# threshold in KCash; after this many hours whatever it comes to; at once before a withdrawal. In
# production an hour and a hundred KCash make one payout of a day's play.
NET_WINDOW_SECONDS = env.int("NET_WINDOW_SECONDS", default=2)
NET_THRESHOLD = env.int("NET_THRESHOLD", default=1)
NET_MAX_HOURS = env.int("NET_MAX_HOURS", default=24)
# A withdrawal waits for staff if it is above what its game lets out by itself, if the gamer's last
# 24 hours come to more than this or were more often than this, or if the day's total of all gamers
# that goes out unseen is used up. Half of the contract's cap of a day is a good value for that one:
# beyond the contract's cap nobody can approve anything.
AUTO_APPROVE_PER_GAMER_AND_DAY = env.int("AUTO_APPROVE_PER_GAMER_AND_DAY", default=10_000)
AUTO_APPROVE_TIMES_PER_GAMER_AND_DAY = env.int("AUTO_APPROVE_TIMES_PER_GAMER_AND_DAY", default=20)
AUTO_APPROVE_PER_DAY = env.int("AUTO_APPROVE_PER_DAY", default=1_000_000)
# Above this, two different members of staff have to approve.
SECOND_APPROVAL_ABOVE = env.int("SECOND_APPROVAL_ABOVE", default=25_000)
# Nothing goes to a KGeN wallet that is younger, or was linked later. The development chain's KCash is
# worth nothing to a thief, and there nobody wants to wait.
KGEN_WALLET_WAIT_HOURS = env.int("KGEN_WALLET_WAIT_HOURS", default=0 if CHAIN_ID == 31337 else 24)
# What the float wallet is filled up to, about a day of claims; below 30 % of it somebody is told.
FLOAT_TARGET = env.int("FLOAT_TARGET", default=1_000_000)
# Used once, by `deploy_contracts` on the development chain.
ADMIN_KEY = env.str("ADMIN_KEY", default="")
FLOAT_KEY = env.str("FLOAT_KEY", default="")

# --- Metrics ---------------------------------------------------------------------------------------

# Whose figures `manage.py serve_metrics` tells. Web processes write theirs into the folder named by
# PROMETHEUS_MULTIPROC_DIR in the environment, where it reads them: one for all of them, emptied
# before they start.
METRICS = (
    "kgen.common.metrics.collect",
    "accounts.metrics.collect",
    "wallet.metrics.collect",
    "rewards.metrics.collect",
    "tournaments.metrics.collect",
)

# --- Personal data -------------------------------------------------------------------------------

# What each app keeps of a gamer, and where it refuses to have one erased.
PERSONAL_DATA_EXPORTS = (
    "accounts.personal_data.held",
    "wallet.personal_data.held",
    "rewards.personal_data.held",
    "tournaments.personal_data.held",
)
PERSONAL_DATA_REFUSALS = (
    "wallet.personal_data.refuse_erasing",
    "tournaments.personal_data.refuse_erasing",
)

# --- Logs ----------------------------------------------------------------------------------------

# A line of JSON each, without secrets and personal data; LOG_FORMAT=text is for people's eyes.
LOGGING = logs.config(level=env.str("LOG_LEVEL", default="INFO"))
