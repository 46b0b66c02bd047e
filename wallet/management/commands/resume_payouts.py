import logging
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from kgen.common import audit
from wallet.models import PayoutSwitch
from wallet.settlement import pausing

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Submit payouts again, in the name of somebody who may: one of the group Finance, or a "
        "superuser. Reconciliation pauses them again within a minute if the drift is still there."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", required=True, help="who resumes, by name in the console")
        parser.add_argument("--reason", required=True, help="kept in the history")

    @transaction.atomic
    def handle(self, *args: Any, user: str, reason: str, **options: Any) -> None:
        if not reason.strip():
            raise CommandError("Give a reason.")
        who = User.objects.filter(username=user, is_active=True).first()
        if who is None or not who.has_perm("wallet.resume_payoutswitch"):
            raise CommandError(f"{user} may not resume payouts.")
        try:
            pausing.resume(reason=reason, by=who.username, now=timezone.now())
        except pausing.AlreadySo as refusal:
            raise CommandError(str(refusal)) from refusal
        audit.record(
            name="resume",
            label="Resume payouts",
            row=PayoutSwitch.objects.get(),
            by=who,
            reason=reason,
        )
        logger.warning("Payouts were resumed by %s from the command line: %s", user, reason)
        self.stdout.write("Payouts are on.")
