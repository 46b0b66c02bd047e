"""`manage.py deploy_contracts`: KCash and Settlement on the development chain."""

import json
from dataclasses import asdict

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from wallet.settlement import signing
from wallet.settlement.chain import ChainUnavailable, connect
from wallet.settlement.deploying import Contracts, chain_id, deploy
from wallet.settlement.networks import UnknownNetwork
from wallet.settlement.verifying import WrongChain, verify

DEVELOPMENT_CHAIN = 31337


class Command(BaseCommand):
    help = (
        "Deploys the contracts on the development chain, once. Prints their addresses as JSON in "
        "the last line; with addresses in the settings it checks that our contracts are there."
    )
    requires_system_checks = []
    requires_migrations_checks = False

    def handle(self, *args: object, **options: object) -> None:
        given = Contracts(kcash=settings.KCASH_ADDRESS, settlement=settings.SETTLEMENT_ADDRESS)
        contracts = self._checked(given) if given.settlement else self._deployed()
        self.stdout.write(json.dumps(asdict(contracts)))

    def _checked(self, contracts: Contracts) -> Contracts:
        if not contracts.kcash:
            raise CommandError("SETTLEMENT_ADDRESS is set, KCASH_ADDRESS is not.")
        try:
            verify(
                connect(),
                chain_id=settings.CHAIN_ID,
                kcash_address=contracts.kcash,
                settlement_address=contracts.settlement,
                float_address=settings.FLOAT_ADDRESS,
            )
        except (ChainUnavailable, UnknownNetwork, WrongChain) as problem:
            hint = "; `make reset` begins anew" if settings.CHAIN_ID == DEVELOPMENT_CHAIN else ""
            raise CommandError(
                f"KCASH_ADDRESS and SETTLEMENT_ADDRESS do not fit. {problem}{hint}"
            ) from problem
        return contracts

    def _deployed(self) -> Contracts:
        found = chain_id(settings.CHAIN_RPC_URL)
        if not found == settings.CHAIN_ID == DEVELOPMENT_CHAIN:
            raise CommandError(
                f"Contracts are deployed by this command on chain {DEVELOPMENT_CHAIN} only; the "
                f"node is on chain {found}, CHAIN_ID is {settings.CHAIN_ID}. "
                "Set SETTLEMENT_ADDRESS and KCASH_ADDRESS to where they are."
            )
        first, *others = (operator.address for operator in signing.operators())
        return deploy(
            settings.CHAIN_RPC_URL,
            admin_key=settings.ADMIN_KEY,
            float_key=settings.FLOAT_KEY,
            operator_address=first,
            other_operators=others,
        )
