import time
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from wallet import drift, reconciliation
from wallet.models import LedgerAccount
from wallet.reconciliation import Finding
from wallet.settlement.chain import Chain, ChainUnavailable, connect

CHAIN_TITLES = (
    reconciliation.WALLETS_TITLE,
    reconciliation.FLOAT_TITLE,
    reconciliation.LANES_TITLE,
)


class Command(BaseCommand):
    help = "Prove that the ledger is right. Exit code 1 if anything is not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tournament", type=UUID, metavar="UID", help="its money alone")

    def handle(self, *args: Any, tournament: UUID | None, **options: Any) -> None:
        if tournament is not None:
            self._audit_tournament(tournament)
            return
        findings = sum(
            self._report(audit.title, audit.find()) for audit in reconciliation.all_audits()
        )
        findings += self._compare_with_chain()
        if findings:
            raise CommandError(f"The ledger is not right: {findings} findings.")
        self.stdout.write("The ledger is right.")

    def _audit_tournament(self, uid: UUID) -> None:
        try:
            books = reconciliation.tournament_books(uid)
        except LedgerAccount.DoesNotExist:
            raise CommandError(f"No tournament {uid} has a pool.") from None
        self.stdout.write(" ".join(f"{name}={amount}" for name, amount in asdict(books).items()))
        if not books.is_balanced:
            raise CommandError("What went into the pool did not come out of it.")

    def _compare_with_chain(self) -> int:
        if not settings.CHAIN_RPC_URL or not settings.KCASH_ADDRESS:
            self.stdout.write(f"{CHAIN_TITLES[0]:<44} not compared: no chain is configured")
            return 0
        chain = connect()
        try:
            found = self._wrong(chain)
            if found:
                time.sleep(drift.BETWEEN_LOOKS.total_seconds())
                suspected = {(title, finding.subject) for title, finding in found}
                found = [
                    (title, finding)
                    for title, finding in self._wrong(chain)
                    if (title, finding.subject) in suspected
                ]
        except ChainUnavailable as problem:
            raise CommandError(f"The chain could not be asked: {problem}") from problem
        return sum(
            self._report(title, [finding for asked, finding in found if asked == title])
            for title in CHAIN_TITLES
        )

    def _wrong(self, chain: Chain) -> list[tuple[str, Finding]]:
        look = reconciliation.look_at_chain(chain)
        return look.wrong + [(reconciliation.WALLETS_TITLE, one) for one in look.unbooked]

    def _report(self, title: str, findings: list[Finding]) -> int:
        self.stdout.write(f"{title:<44} {f'{len(findings)} findings' if findings else 'ok'}")
        for finding in findings:
            self.stdout.write(f"  {finding.subject}: {finding.problem}")
        return len(findings)
