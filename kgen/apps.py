from django.contrib.admin.apps import AdminConfig

# Tasks are sent through this app, by whichever process sends them.
from kgen.celery import app as celery_app

__all__ = ["ConsoleConfig", "celery_app"]


class ConsoleConfig(AdminConfig):
    default_site = "kgen.console.ConsoleSite"
