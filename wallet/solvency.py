"""Can we pay? What we owe to gamers against what the float and the custodial wallets hold."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from django.conf import settings
from django.db import connection

from kgen.common.errors import Conflict
from wallet import float_alarm, transactions
from wallet.models import Operator, SolvencySample
from wallet.settlement import networks

if TYPE_CHECKING:
    # Loads web3, which processes that serve requests, and import this module, can do without.
    from wallet.settlement.chain import Block

logger = logging.getLogger(__name__)

KEPT_FOR: Final = timedelta(days=90)
GAS_OVER: Final = timedelta(hours=24)


class ChainReader(Protocol):
    """The part of `wallet.settlement.chain.Chain` that is asked here."""

    def finalized(self) -> "Block": ...

    def balances(self, addresses: Sequence[str], *, block: int) -> list[int]: ...

    def allowance(self, owner: str, *, settlement_address: str) -> int: ...

    def nonce(self, address: str, *, block: int | str) -> int: ...

    def gas_balance(self, address: str) -> int: ...


class FloatUncovered(Conflict):
    """Only new tournaments wait: nobody is kept from playing, claiming or withdrawing."""

    code = "FLOAT_DOES_NOT_COVER"
    message = "The float wallet does not cover what is owed to gamers: fill it up first."


def refuse_uncovered() -> None:
    """Raises FloatUncovered while the newest sample says so; without any sample nobody knows."""
    sample = newest()
    if sample is not None and sample.shortfall:
        raise FloatUncovered(details={"shortfall": sample.shortfall})


def newest() -> SolvencySample | None:
    return SolvencySample.objects.order_by("-taken_at", "-pk").first()


def take_sample(*, chain: ChainReader, now: datetime) -> SolvencySample:
    """Look at the books and at the chain, and keep what they say. Raises ChainUnavailable."""
    # The books before the chain: what leaves the float meanwhile is among what was sent.
    books = {**_owed(), **_queued()}
    block = chain.finalized()
    float_address = transactions.float_address()
    (held,) = chain.balances([float_address], block=block.number)
    sample = SolvencySample.objects.create(
        taken_at=now,
        block_number=block.number,
        block_made_at=block.made_at,
        float_balance=held,
        float_allowance=chain.allowance(
            float_address, settlement_address=settings.SETTLEMENT_ADDRESS
        ),
        lanes=[
            {
                "address": lane.address,
                "nonce": chain.nonce(lane.address, block="latest"),
                "gas": chain.gas_balance(lane.address),
            }
            for lane in Operator.objects.filter(chain_id=settings.CHAIN_ID).order_by("pk")
        ],
        **books,
        gas_spent=_gas_spent(since=now - GAS_OVER),
    )
    float_alarm.sound(sample)
    if is_chain_stale(sample):
        logger.error(
            "The newest final block, %s, is of %s: settlement waits", block.number, block.made_at
        )
    if sample.shortfall:
        logger.error("The float does not cover what is owed: %s KCash short", sample.shortfall)
    return sample


def is_chain_stale(sample: SolvencySample) -> bool:
    """Whether the node, or finality, had stopped by then, as its network counts."""
    network = networks.NETWORKS.get(settings.CHAIN_ID)
    return network is not None and networks.is_stale(
        network, final_at=sample.block_made_at, now=sample.taken_at
    )


def history(*, since: datetime, until: datetime, points: int) -> list[SolvencySample]:
    """Samples of a time, evenly thinned out to about so many, the oldest first."""
    step = max(1.0, (until - since).total_seconds() / points)
    kept = _rows(
        """
        SELECT max(id) AS id FROM wallet_solvencysample
         WHERE taken_at BETWEEN %(since)s AND %(until)s
         GROUP BY floor(extract(epoch FROM taken_at) / %(step)s)
        """,
        since=since,
        until=until,
        step=step,
    )
    samples = SolvencySample.objects.filter(pk__in=[row["id"] for row in kept])
    return list(samples.order_by("taken_at", "pk"))


def forget_old_samples(*, now: datetime) -> None:
    """Drop the samples that are older than a quarter of a year."""
    SolvencySample.objects.filter(taken_at__lt=now - KEPT_FOR).delete()


def _owed() -> Mapping[str, int]:
    (row,) = _rows(
        """
        WITH waiting AS (
            SELECT account_id, sum(amount) AS amount FROM ledger.pending_credit GROUP BY account_id
        )
        SELECT coalesce(sum(held) FILTER (WHERE bucket = 'onchain'), 0) AS custodial,
               coalesce(sum(held) FILTER (WHERE bucket = 'bonus'), 0) AS bonus,
               coalesce(sum(held) FILTER (WHERE bucket = 'bought'), 0) AS bought,
               coalesce(sum(held) FILTER (WHERE bucket = 'earned'), 0) AS earned,
               coalesce(sum(held) FILTER (WHERE bucket = 'claimable'), 0) AS claimable,
               coalesce(sum(held) FILTER (WHERE bucket = 'hold'), 0) AS hold,
               coalesce(sum(held) FILTER (WHERE bucket = 'pool'), 0) AS pools
          FROM (SELECT bucket, balance + coalesce(waiting.amount, 0) AS held
                  FROM ledger.account LEFT JOIN waiting ON account_id = id
                 WHERE owner_kind IN ('WALLET', 'TOURNAMENT')) AS account
        """
    )
    return {name: int(amount) for name, amount in row.items()}


def _queued() -> Mapping[str, Any]:
    (row,) = _rows(
        """
        SELECT count(*) AS queued, min(created_at) AS oldest_queued_at,
               coalesce(sum(amount) FILTER (WHERE kind = 'IN'), 0) AS queued_in,
               coalesce(sum(amount) FILTER (WHERE kind = 'OUT'), 0) AS queued_out,
               coalesce(sum(amount) FILTER (WHERE kind = 'WITHDRAW'), 0) AS queued_withdrawals,
               coalesce(sum(amount) FILTER (
                   WHERE kind = 'IN' AND state IN ('SUBMITTED', 'CONFIRMING')), 0) AS sent_in
          FROM wallet_payout
         WHERE state NOT IN ('COMPLETED', 'VOIDED')
        """
    )
    return row


def _gas_spent(*, since: datetime) -> int:
    ((spent,),) = (
        row.values()
        for row in _rows(
            """
            SELECT coalesce(sum(gas_fee), 0) FROM wallet_payout
             WHERE uid >= ledger.first_id_at(%(since)s) AND state = 'COMPLETED'
            """,
            since=since,
        )
    )
    return int(spent)


def _rows(question: str, **parameters: Any) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(question, parameters)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
