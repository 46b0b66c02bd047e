"""One run of all steps for one operator address.

Each step reads what is stored and leaves something stored, so a run may stop anywhere, be repeated,
or run beside another one.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from weakref import WeakKeyDictionary

from django.conf import settings

from wallet import transactions
from wallet.models import Operator
from wallet.settlement import chain as chains
from wallet.settlement import lanes, signing, verifying
from wallet.settlement.batching import group_transactions
from wallet.settlement.broadcasting import broadcast
from wallet.settlement.chain import Chain, Fees
from wallet.settlement.confirming import confirm
from wallet.settlement.repricing import reprice, sign_slots
from wallet.settlement.signing import Custodian, OperatorSigner, SignerUnavailable
from wallet.settlement.submitting import submit
from wallet.settlement.verifying import WrongChain

logger = logging.getLogger(__name__)


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

    Raises WrongChain, ChainUnavailable when the node cannot be read, and SignerUnavailable when the
    operator's address is not known yet. A signer that is away later holds up only what it signs.
    """
    try:
        operator_id = open_lane(chain=chain, signer=signer).pk
    except WrongChain as wrong:
        lanes.pause_address(signer.address, reason=str(wrong), now=now)
        raise
    verifying.refuse_stale(chain, now=now)
    closed = _confirm(operator_id, chain=chain, now=now)
    fees = chain.fees()
    grouped = group_transactions(now=now)
    submitted = _submit(operator_id, chain=chain, fees=fees, custodian=custodian, now=now)
    repriced = _sign(operator_id, fees=fees, signer=signer, now=now)
    sent = broadcast(operator_id=operator_id, chain=chain, now=now)
    return Run(
        closed=closed, repriced=int(repriced), grouped=grouped, submitted=submitted, sent=sent
    )


# By lane, the newest block that it has looked at.
_seen: WeakKeyDictionary[Chain, dict[int, str]] = WeakKeyDictionary()


def _confirm(operator_id: int, *, chain: Chain, now: datetime) -> int:
    """Look at the open slots, unless no block has come since all of them were followed."""
    seen, head = _seen.setdefault(chain, {}), chain.head()
    if seen.get(operator_id) == head:
        return 0
    look = confirm(operator_id=operator_id, chain=chain, now=now)
    # Only now: where it was interrupted, it is done again.
    if not look.is_behind:
        seen[operator_id] = head
    return look.closed


def _submit(
    operator_id: int, *, chain: Chain, fees: Fees, custodian: Custodian, now: datetime
) -> int:
    submitted = 0
    try:
        while submit(operator_id=operator_id, chain=chain, fees=fees, custodian=custodian, now=now):
            submitted += 1
    except SignerUnavailable as problem:
        logger.warning("The custodian does not sign: %s", problem)
    return submitted


def _sign(operator_id: int, *, fees: Fees, signer: OperatorSigner, now: datetime) -> bool:
    """Whether a price was raised."""
    try:
        sign_slots(operator_id=operator_id, fees=fees, signer=signer, now=now)
        return reprice(operator_id=operator_id, fees=fees, signer=signer, now=now)
    except SignerUnavailable as problem:
        logger.warning("Operator %s does not sign: %s", operator_id, problem)
        return False


def tick_configured_lane(number: int, *, now: datetime) -> Run:
    """Run one of the lanes whose node and keys the settings name. Raises as `tick`."""
    chain, signers, custodian = _configured()
    return tick(chain=chain, signer=signers[number], custodian=custodian, now=now)


def open_lane(*, chain: Chain, signer: OperatorSigner) -> Operator:
    """The lane's row, which starts at the nonce that the chain has reached.

    Raises WrongChain, ChainUnavailable, SignerUnavailable.
    """
    _verify(chain)
    address = signer.address
    lane = Operator.objects.filter(address=address, chain_id=settings.CHAIN_ID).first()
    if lane is None:
        lane, _ = Operator.objects.get_or_create(
            address=address,
            chain_id=settings.CHAIN_ID,
            defaults={"next_nonce": chain.nonce(address, block="pending")},
        )
    return lane


_verified: WeakKeyDictionary[Chain, tuple[str, ...]] = WeakKeyDictionary()


def _verify(chain: Chain) -> None:
    """The contracts once for each connection, since they cannot change; the chain each time."""
    named = (settings.KCASH_ADDRESS, settings.SETTLEMENT_ADDRESS, transactions.float_address())
    if _verified.get(chain) == named and chain.chain_id() == settings.CHAIN_ID:
        return
    kcash_address, settlement_address, float_address = named
    verifying.verify(
        chain,
        chain_id=settings.CHAIN_ID,
        kcash_address=kcash_address,
        settlement_address=settlement_address,
        float_address=float_address,
    )
    _verified[chain] = named


@cache
def _configured() -> tuple[Chain, tuple[OperatorSigner, ...], Custodian]:
    return chains.connect(), signing.operators(), signing.custodian()
