"""One run of all steps for one operator address.

Each step reads what is stored and leaves something stored, so a run may stop anywhere, be repeated,
or run beside another one.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from django.conf import settings

from wallet import transactions
from wallet.models import Operator
from wallet.settlement.batching import group_transactions
from wallet.settlement.broadcasting import broadcast
from wallet.settlement.chain import Chain, Web3Chain
from wallet.settlement.confirming import confirm
from wallet.settlement.repricing import reprice
from wallet.settlement.signing import (
    Custodian,
    EnvironmentCustodian,
    EnvironmentOperator,
    OperatorSigner,
)
from wallet.settlement.submitting import submit


class WrongChain(Exception):
    """The node, or the contract on it, is not the one that the settings name."""


@dataclass(frozen=True)
class Run:
    """What one run did."""

    closed: int
    repriced: int
    grouped: int
    submitted: int
    sent: int


def tick(*, chain: Chain, signer: OperatorSigner, custodian: Custodian, now: datetime) -> Run:
    """Take every payout of the lane as far as it can go now.

    Raises WrongChain, and ChainUnavailable when the node cannot be read.
    """
    operator_id = open_lane(chain=chain, signer=signer).pk
    closed = confirm(operator_id=operator_id, chain=chain, now=now)
    fees = chain.fees()
    repriced = reprice(operator_id=operator_id, fees=fees, signer=signer, now=now)
    grouped = group_transactions(now=now)
    submitted = 0
    # While the contract is paused every batch would be reverted, and use up a try of its payouts.
    if not chain.is_paused(settings.SETTLEMENT_ADDRESS):
        while submit(
            operator_id=operator_id, fees=fees, signer=signer, custodian=custodian, now=now
        ):
            submitted += 1
    sent = broadcast(operator_id=operator_id, chain=chain, now=now)
    return Run(
        closed=closed,
        repriced=int(repriced is not None),
        grouped=grouped,
        submitted=submitted,
        sent=sent,
    )


def tick_environment_lane(*, now: datetime) -> Run:
    """Run the lane whose node and keys the settings name. Raises as `tick`."""
    chain, signer, custodian = _environment_lane()
    return tick(chain=chain, signer=signer, custodian=custodian, now=now)


def open_lane(*, chain: Chain, signer: OperatorSigner) -> Operator:
    """The lane's row, which starts at the nonce that the chain has reached. Raises WrongChain."""
    if chain.chain_id() != settings.CHAIN_ID:
        raise WrongChain(f"The node is on chain {chain.chain_id()}, not {settings.CHAIN_ID}.")
    float_wallet = chain.float_wallet(settings.SETTLEMENT_ADDRESS)
    if float_wallet != transactions.float_address():
        raise WrongChain(f"The contract pays from {float_wallet}, not {settings.FLOAT_ADDRESS}.")
    lane = Operator.objects.filter(address=signer.address, chain_id=settings.CHAIN_ID).first()
    if lane is not None:
        return lane
    lane, _ = Operator.objects.get_or_create(
        address=signer.address,
        chain_id=settings.CHAIN_ID,
        defaults={"next_nonce": chain.nonce(signer.address, block="pending")},
    )
    return lane


@cache
def _environment_lane() -> tuple[Chain, OperatorSigner, Custodian]:
    return (
        Web3Chain(settings.CHAIN_RPC_URL, kcash_address=settings.KCASH_ADDRESS),
        EnvironmentOperator(),
        EnvironmentCustodian(),
    )
