import logging
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from kgen.common import audit
from kgen.common.errors import Refusal
from wallet.settlement import rotating
from wallet.settlement.chain import ChainUnavailable, connect
from wallet.settlement.networks import UnknownNetwork
from wallet.settlement.verifying import WrongChain, verify

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "After SETTLEMENT_ADDRESS was changed: give the payouts that wait for the old contract to "
        "the new one, in the name of somebody who may resume payouts. The old contract has to be "
        "paused for good first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", required=True, dest="old_address", help="the old contract")
        parser.add_argument("--user", required=True, help="who does it, by name in the console")
        parser.add_argument("--reason", required=True, help="kept in each payout's history")

    def handle(self, *args: Any, old_address: str, user: str, reason: str, **options: Any) -> None:
        if not reason.strip():
            raise CommandError("Give a reason.")
        who = User.objects.filter(username=user, is_active=True).first()
        if who is None or not who.has_perm("wallet.resume_payoutswitch"):
            raise CommandError(f"{user} may not rehome payouts.")
        try:
            chain = connect()
            verify(
                chain,
                chain_id=settings.CHAIN_ID,
                kcash_address=settings.KCASH_ADDRESS,
                settlement_address=settings.SETTLEMENT_ADDRESS,
                float_address=settings.FLOAT_ADDRESS,
            )
            with transaction.atomic():
                rehomed = rotating.rehome(
                    chain=chain, old_address=old_address.lower(), now=timezone.now()
                )
                self._write_down(rehomed, who, old_address.lower(), reason)
        except (ChainUnavailable, Refusal, UnknownNetwork, WrongChain) as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(
            f"{len(rehomed.moved)} payouts now wait for {settings.SETTLEMENT_ADDRESS}, "
            f"{len(rehomed.known_there)} for a person."
        )

    def _write_down(
        self, rehomed: rotating.Rehomed, who: User, old_address: str, reason: str
    ) -> None:
        told = (
            (rehomed.moved, f"Rehomed from {old_address}"),
            (rehomed.known_there, f"Not rehomed, since {old_address} knows it"),
        )
        for payouts, label in told:
            for payout in payouts:
                audit.record(name="rehome", label=label, row=payout, by=who, reason=reason)
        logger.warning("%s rehomed %s payouts: %s", who.username, len(rehomed.moved), reason)
