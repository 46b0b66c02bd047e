"""Figures for Prometheus, read from the database each time that they are asked for.

Nothing is counted in a process: one small server tells of all of them, and a restart loses nothing.
Only the errors of nodes are in Valkey.
What is long over is not counted again and again: figures of slots and of how long payouts took are
those of the newest ones.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.db.models import Sum
from prometheus_client.core import GaugeMetricFamily

from kgen.common.metrics import gauge, rows, seconds
from wallet import solvency
from wallet.models import (
    ChainCursor,
    ChainEvent,
    PayoutSwitch,
    ReconciliationRun,
    Reorg,
)
from wallet.settlement import node_errors

NEWEST_SLOTS: Final = 200
NEWEST_PAYOUTS: Final = 1_000


def collect(*, now: datetime) -> Iterator[GaugeMetricFamily]:
    """Every figure as it is now. One that nobody knows yet is left out."""
    yield from _payouts(now)
    yield from _slots(now)
    yield from _lanes(now)
    yield from _chain()
    yield from _nodes()
    yield from _reconciliation(now)
    yield from _solvency(now)


def _payouts(now: datetime) -> Iterator[GaugeMetricFamily]:
    by_state = rows(
        "SELECT state, count(*), min(created_at) FROM wallet_payout"
        " WHERE state NOT IN ('COMPLETED', 'VOIDED') GROUP BY state ORDER BY state"
    )
    yield gauge(
        "payouts",
        "Payouts that are not over.",
        [((state,), count) for state, count, _ in by_state],
        label="state",
    )
    yield gauge(
        "payout_oldest_seconds",
        "Age of the oldest payout that is not over.",
        [((state,), seconds(now, oldest)) for state, _, oldest in by_state],
        label="state",
    )
    quantiles = ("0.5", "0.99")
    ((took,),) = rows(
        """
        SELECT percentile_cont(ARRAY[0.5, 0.99])
               WITHIN GROUP (ORDER BY extract(epoch FROM modified_at - created_at))
          FROM (SELECT created_at, modified_at FROM wallet_payout
                 WHERE state = 'COMPLETED' ORDER BY uid DESC LIMIT %(newest)s) AS payout
        """,
        newest=NEWEST_PAYOUTS,
    )
    yield gauge(
        "payout_seconds",
        f"What the newest {NEWEST_PAYOUTS} completed payouts took from being made to being final.",
        [((quantile,), value) for quantile, value in zip(quantiles, took or (), strict=False)],
        label="quantile",
    )
    ((unsettled,),) = rows(
        "SELECT coalesce(sum(amount), 0) FROM wallet_wallettransaction"
        " WHERE sync_status <> 'COMPLETED'"
    )
    yield gauge(
        "unsettled_kcash",
        "Sum of the wallet transactions that the chain has yet to follow.",
        [((), unsettled)],
    )
    paused = PayoutSwitch.objects.filter(is_paused=True).exists()
    yield gauge("payouts_paused", "1 while all payouts are paused.", [((), paused)])


def _slots(now: datetime) -> Iterator[GaugeMetricFamily]:
    ((slots, payouts, attempts, bumped, dead),) = rows(
        """
        WITH newest AS (
            SELECT id, state, action FROM wallet_slot ORDER BY id DESC LIMIT %(newest)s
        )
        SELECT count(*),
               (SELECT avg(number) FROM (
                   SELECT count(*) AS number
                     FROM wallet_slotitem JOIN newest ON newest.id = slot_id
                    WHERE action = 'SETTLE' GROUP BY slot_id) AS batch),
               (SELECT count(*) FROM wallet_attempt JOIN newest ON newest.id = slot_id),
               (SELECT count(*) FROM wallet_attempt JOIN newest ON newest.id = slot_id
                 WHERE seq > 0),
               count(*) FILTER (WHERE state = 'DEAD')
          FROM newest
        """,
        newest=NEWEST_SLOTS,
    )
    of_newest = f"of the newest {NEWEST_SLOTS} slots."
    yield gauge("slots_seen", f"How many there are {of_newest}", [((), slots)])
    if payouts is not None:
        yield gauge("slot_payouts", f"Payouts in a slot, the average {of_newest}", [((), payouts)])
    if slots:
        yield gauge(
            "slot_attempts",
            f"Attempts at a slot, the average {of_newest}",
            [((), attempts / slots)],
        )
    yield gauge("slot_bumps", f"Attempts at a higher price {of_newest}", [((), bumped)])
    yield gauge("slots_dead", f"Those whose nonce others took, {of_newest}", [((), dead)])


def _lanes(now: datetime) -> Iterator[GaugeMetricFamily]:
    lanes = rows(
        """
        SELECT address, is_paused, next_nonce, count(slot.id), min(slot.created_at)
          FROM wallet_operator AS lane
          LEFT JOIN wallet_slot AS slot ON operator_id = lane.id AND state = 'OPEN'
         GROUP BY lane.id ORDER BY lane.id
        """
    )
    yield gauge(
        "lane_paused",
        "1 while the lane submits nothing new.",
        [((address,), paused) for address, paused, *_ in lanes],
        label="lane",
    )
    yield gauge(
        "lane_next_nonce",
        "The nonce of the lane's next slot.",
        [((address,), nonce) for address, _, nonce, *_ in lanes],
        label="lane",
    )
    yield gauge(
        "lane_open_slots",
        "Slots of the lane that are not final.",
        [((address,), number) for address, _, _, number, _ in lanes],
        label="lane",
    )
    yield gauge(
        "lane_oldest_slot_seconds",
        "Age of the lane's oldest slot that is not final.",
        [((address,), seconds(now, oldest)) for address, *_, oldest in lanes if oldest],
        label="lane",
    )


def _chain() -> Iterator[GaugeMetricFamily]:
    rewinds = ChainCursor.objects.aggregate(total=Sum("rewinds", default=0))["total"]
    yield gauge("chain_rewinds", "How often final blocks were replaced.", [((), rewinds)])
    yield gauge(
        "reorgs", "Times that final payments were lost to a reorg.", [((), Reorg.objects.count())]
    )
    unconfirmed = Reorg.objects.filter(confirmed_at__isnull=True).count()
    yield gauge("reorgs_unconfirmed", "Those that wait for a person's word.", [((), unconfirmed)])
    unknown = ChainEvent.objects.filter(
        meaning=ChainEvent.Meaning.UNKNOWN, explained_at__isnull=True, dropped_at__isnull=True
    )
    yield gauge(
        "chain_events_unknown",
        "Events that nobody has ordered, nor explained.",
        [((), unknown.count())],
    )


def _nodes() -> Iterator[GaugeMetricFamily]:
    errors = node_errors.counts()
    if errors is None:
        return
    yield gauge(
        "node_errors",
        "Questions to a node that failed, by how.",
        [((kind,), number) for kind, number in errors.items()],
        label="kind",
    )


def _reconciliation(now: datetime) -> Iterator[GaugeMetricFamily]:
    run = ReconciliationRun.objects.filter(finished_at__isnull=False).order_by("-pk").first()
    if run is None:
        return
    yield gauge("drift_kcash", "By how much chain and books differ.", [((), run.drift)])
    yield gauge("drift_findings", "What two looks have found wrong.", [((), len(run.findings))])
    yield gauge(
        "reconciled_seconds",
        "Age of the newest finished run.",
        [((), seconds(now, run.started_at))],
    )


def _solvency(now: datetime) -> Iterator[GaugeMetricFamily]:
    sample = solvency.newest()
    if sample is None:
        return
    yield gauge("sample_seconds", "Age of what follows.", [((), seconds(now, sample.taken_at))])
    yield gauge(
        "final_block_seconds",
        "How old the newest final block was then.",
        [((), seconds(sample.taken_at, sample.block_made_at))],
    )
    yield gauge(
        "chain_stale",
        "1 while that is too old for its network, and settlement waits.",
        [((), solvency.is_chain_stale(sample))],
    )
    yield gauge("float_kcash", "What the float wallet holds.", [((), sample.float_balance)])
    yield gauge(
        "float_payable_kcash", "What of it the contract can pay out.", [((), sample.payable)]
    )
    yield gauge("float_to_cover_kcash", "What the float has to pay for.", [((), sample.to_cover)])
    yield gauge("float_shortfall_kcash", "What it lacks for that.", [((), sample.shortfall)])
    yield gauge("custodial_kcash", "Final in the custodial wallets.", [((), sample.custodial)])
    buckets = ("bonus", "bought", "earned", "claimable", "hold", "pools")
    yield gauge(
        "owed_kcash",
        "What gamers have, and can win.",
        [((bucket,), getattr(sample, bucket)) for bucket in buckets],
        label="bucket",
    )
    yield gauge(
        "gas_spent_wei",
        "Gas of the payouts that were made in the last 24 hours.",
        [((), sample.gas_spent)],
    )
    yield gauge(
        "lane_gas_wei",
        "What the lane has left for gas.",
        [((lane["address"],), lane["gas"]) for lane in sample.lanes],
        label="lane",
    )
