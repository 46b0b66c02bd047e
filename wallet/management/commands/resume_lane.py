import logging
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from kgen.common import audit
from wallet.models import Operator
from wallet.settlement import lanes

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Let one lane submit again, in the name of somebody who may resume payouts. What paused it "
        "pauses it again if it is not mended."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--address", required=True, help="the operator's address")
        parser.add_argument("--user", required=True, help="who resumes, by name in the console")
        parser.add_argument("--reason", required=True, help="kept in the history")

    @transaction.atomic
    def handle(self, *args: Any, address: str, user: str, reason: str, **options: Any) -> None:
        if not reason.strip():
            raise CommandError("Give a reason.")
        who = User.objects.filter(username=user, is_active=True).first()
        if who is None or not who.has_perm("wallet.resume_payoutswitch"):
            raise CommandError(f"{user} may not resume a lane.")
        lane = Operator.objects.filter(address=address.lower(), chain_id=settings.CHAIN_ID).first()
        if lane is None:
            raise CommandError(f"There is no lane {address} on chain {settings.CHAIN_ID}.")
        try:
            lanes.resume(operator_id=lane.pk, by=who.username, reason=reason)
        except lanes.LaneNotPaused as refusal:
            raise CommandError(str(refusal)) from refusal
        audit.record(name="resume", label="Resume the lane", row=lane, by=who, reason=reason)
        self.stdout.write(f"Lane {lane.address} is on.")
