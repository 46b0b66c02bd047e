"""The Celery app and the whole timetable. The rows are the queue; Celery is only the clock."""

import logging.config
import os
from collections.abc import MutableMapping
from typing import Any

from celery import Celery, signals
from celery.schedules import crontab
from django.conf import settings

from kgen.common import logs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kgen.settings")

app = Celery("kgen")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.celeryd_init.connect  # before the worker warns of anything
@signals.setup_logging.connect  # in place of Celery's own
def write_our_lines(**_later: object) -> None:
    logging.config.dictConfig(settings.LOGGING)
    logs.take_over()


@signals.before_task_publish.connect
def send_request_id(headers: MutableMapping[str, Any], **_later: object) -> None:
    """What a task logs belongs to the request that has asked for it."""
    request_id = logs.request_id()
    if request_id is not None:
        headers["request_id"] = request_id


@signals.task_prerun.connect
def know_request_id(task_id: str, task: Any, **_later: object) -> None:
    if not task.request.is_eager:
        logs.begin(request_id=task.request.get("request_id") or task_id)
        logs.bind(task=task.name)


@signals.task_postrun.connect
def forget_request_id(task: Any, **_later: object) -> None:
    if not task.request.is_eager:
        logs.end()


# Each task looks for rows that are due, so a missed or doubled run changes nothing. `expires` keeps
# a worker that was away from finding hundreds of stale ticks in the queue.
app.conf.beat_schedule = {
    "settle onto the chain": {
        "task": "wallet.tasks.settle_tick",
        "schedule": 2.0,
        "options": {"expires": 10},
    },
    "read the chain's events": {
        "task": "wallet.tasks.read_chain",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    "note what is owed and held": {
        "task": "wallet.tasks.sample_solvency",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "close due tournaments": {
        "task": "tournaments.tasks.close_due_tournaments",
        "schedule": 1.0,
        "options": {"expires": 10},
    },
    "grant files of rewards": {
        "task": "rewards.tasks.carry_out_bulk_grants",
        "schedule": 5.0,
        "options": {"expires": 10},
    },
    "expire rewards": {
        "task": "rewards.tasks.expire_rewards",
        "schedule": 5.0,
        "options": {"expires": 10},
    },
    "rank the big boards": {
        "task": "tournaments.tasks.build_wanted_rankings",
        "schedule": 2.0,
        "options": {"expires": 10},
    },
    "make the dates of series ahead": {
        "task": "tournaments.tasks.carry_series_on",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "make the ledger's months ahead": {
        "task": "wallet.tasks.make_ledger_partitions",
        "schedule": 6 * 3600.0,
        "options": {"expires": 600},
    },
    # Finds something once a day, an hour after midnight; each hour, so that a restart misses none.
    "close the ledger's day": {
        "task": "wallet.tasks.close_ledger_days",
        "schedule": crontab(minute=5),
        "options": {"expires": 3000},
    },
    # Both looks, 10 s apart, fit into the minute within which drift is to be found.
    "reconcile what changed": {
        "task": "wallet.tasks.reconcile_changes",
        "schedule": 45.0,
        "options": {"expires": 40},
    },
    "reconcile everything": {
        "task": "wallet.tasks.reconcile_everything",
        "schedule": crontab(hour=2, minute=0),
        "options": {"expires": 6 * 3600},
    },
    "watch over one-time passwords": {
        "task": "accounts.tasks.watch_otps",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "tell gateways which codes were used": {
        "task": "accounts.tasks.tell_gateways",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "forget expired tokens": {
        "task": "accounts.tasks.forget_expired_tokens",
        "schedule": 3600.0,
        "options": {"expires": 600},
    },
    "forget expired idempotency keys": {
        "task": "kgen.common.tasks.forget_expired_keys",
        "schedule": 3600.0,
        "options": {"expires": 600},
    },
}
