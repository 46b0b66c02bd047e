"""What is owed and what is held, sampled; a float that does not cover it keeps tournaments back."""

import logging
from datetime import timedelta

import pytest
from django.utils import timezone

from kgen.common.identifiers import uuid7
from wallet import claims, prize_pools, solvency, tasks
from wallet.models import ChainEvent, Payout, Reorg, SolvencySample
from wallet.settlement import reopening
from wallet.solvency import FloatUncovered
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import START, Engine, give_bonus, join, status, win, withdraw

FLOAT = 10_000_000_000

WELL = {
    "taken_at": START,
    "block_number": 1,
    "block_made_at": START,
    "float_balance": 100,
    "float_allowance": 100,
    "custodial": 0,
    "bonus": 0,
    "bought": 0,
    "earned": 0,
    "claimable": 0,
    "hold": 0,
    "pools": 0,
    "queued": 0,
    "queued_in": 0,
    "queued_out": 0,
    "queued_withdrawals": 0,
    "sent_in": 0,
    "gas_spent": 0,
}


def sampled(engine: Engine) -> SolvencySample:
    sample = solvency.take_sample(chain=engine.chain, now=engine.now)
    sample.refresh_from_db()
    return sample


def owed(sample: SolvencySample) -> dict[str, int]:
    buckets = ("bonus", "bought", "earned", "claimable", "hold", "pools")
    return {name: getattr(sample, name) for name in buckets if getattr(sample, name)}


def keep(**changed) -> SolvencySample:
    return SolvencySample.objects.create(**{**WELL, **changed})


def test_sample_says_what_is_owed_by_bucket_and_what_is_held(engine):
    wallet = WalletFactory.create()
    give_bonus(wallet)
    engine.settle_all()
    join(wallet, 20)
    win(wallet, 7)
    claims.promise(wallet=wallet, amount=3, reference=uuid7())
    withdraw(WalletFactory.create(), 90)
    engine.finalize()

    sample = sampled(engine)

    assert owed(sample) == {"bonus": 30, "earned": 7, "claimable": 3, "hold": 90, "pools": 20}
    assert (sample.owed, sample.custodial, sample.to_cover) == (150, 50, 100)
    assert (sample.float_balance, sample.float_allowance) == (FLOAT - 50, FLOAT - 50)
    assert (sample.payable, sample.shortfall) == (FLOAT - 50, 0)
    assert sample.taken_at == engine.now
    assert sample.block_number == engine.chain.finalized_block()


def test_sample_says_what_waits_for_the_chain(engine):
    wallet = WalletFactory.create()
    give_bonus(wallet)
    engine.settle_all()
    join(wallet, 20)
    engine.now += timedelta(minutes=1)
    engine.tick()
    withdraw(WalletFactory.create(), 90)
    give_bonus(WalletFactory.create())
    engine.tick()

    sample = sampled(engine)

    assert (sample.queued, sample.queued_out, sample.queued_withdrawals) == (4, 20, 90)
    assert (sample.queued_in, sample.sent_in) == (140, 140)
    assert sample.oldest_queued_at is not None


def test_sample_knows_the_lanes_and_the_gas(engine):
    give_bonus(WalletFactory.create())
    engine.settle_all()

    sample = sampled(engine)

    (lane,) = sample.lanes
    assert (lane["address"], lane["nonce"]) == (engine.signer.address, 1)
    assert lane["gas"] == engine.chain.gas_balance(engine.signer.address)
    assert sample.queued == 0
    assert sample.oldest_queued_at is None


def test_what_has_left_the_float_and_is_not_booked_is_no_shortfall(db):
    sample = keep(float_balance=60, bonus=100, sent_in=40)

    assert (sample.to_cover, sample.shortfall) == (100, 0)


@pytest.mark.parametrize(
    "short",
    [{"float_balance": 99}, {"float_allowance": 99}, {"bonus": 1, "hold": 100}, {"pools": 101}],
)
def test_float_that_does_not_cover_what_is_owed_refuses(db, short):
    keep(**{"bonus": 100 if "float" in next(iter(short)) else 0, **short})

    with pytest.raises(FloatUncovered) as refused:
        solvency.refuse_uncovered()

    assert refused.value.details == {"shortfall": 1}


def test_what_the_custodial_wallets_hold_need_not_be_covered(db):
    keep(float_balance=0, bonus=100, custodial=100)

    solvency.refuse_uncovered()


def test_newest_sample_counts_alone(db):
    keep(bonus=101)
    keep(bonus=100, taken_at=START + timedelta(seconds=60))

    solvency.refuse_uncovered()


def test_without_a_sample_nobody_is_kept_back(db):
    solvency.refuse_uncovered()


def test_shortfall_is_told_to_staff(engine, caplog):
    pool = prize_pools.open_pool(tournament_id=1, tournament_uid=uuid7(), game_id=1)
    prize_pools.sponsor(pool=pool, amount=FLOAT + 5, reference=uuid7())
    engine.finalize()

    sample = sampled(engine)

    assert sample.shortfall == 5
    assert "The float does not cover what is owed: 5 KCash short" in [
        record.message for record in caplog.records if record.levelno == logging.ERROR
    ]


def test_task_samples_and_old_samples_are_forgotten(engine, monkeypatch):
    engine.finalize()
    keep(taken_at=START)

    tasks.sample_solvency()
    tasks.read_chain()
    tasks.reconcile_everything()

    assert SolvencySample.objects.exclude(taken_at=START).count() == 1
    assert not SolvencySample.objects.filter(taken_at=START).exists()


def test_node_out_of_reach_leaves_no_sample(engine, settings, caplog):
    settings.CHAIN_RPC_URL = "http://127.0.0.1:1"

    tasks.sample_solvency()
    tasks.read_chain()

    assert not SolvencySample.objects.exists()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_on_another_chain_nothing_is_lost_or_read(engine, settings, caplog):
    bonus = give_bonus(WalletFactory.create())
    engine.settle_all()
    settings.SETTLEMENT_ADDRESS = engine.bench.kcash.address.lower()

    tasks.sample_solvency()
    tasks.reconcile_everything()

    assert status(bonus) == "COMPLETED"
    assert not Reorg.objects.exists()
    assert not SolvencySample.objects.exists()
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "Nothing is sampled",
        "The chain's events are not read",
    ]


def test_replaced_blocks_are_looked_into_by_the_task(engine):
    engine.open_lane()
    engine.finalize()
    before = engine.bench.chain.snapshot()
    bonus = give_bonus(WalletFactory.create())
    engine.settle_all()
    Payout.objects.update(modified_at=timezone.now())
    tasks.read_chain()
    assert not Reorg.objects.exists()
    engine.bench.chain.revert(before)
    engine.bench.chain.mine(60)

    tasks.read_chain()
    reopening.confirm(reorg_id=Reorg.objects.get().pk, by="fay", reason="Seen", now=START)
    engine.tick()
    engine.finalize()
    engine.tick()
    tasks.read_chain()

    assert status(bonus) == "COMPLETED"
    assert engine.onchain(bonus.wallet) == 50
    assert ChainEvent.objects.filter(name="Settled", dropped_at__isnull=False).count() == 1
    assert ChainEvent.objects.filter(name="Settled", dropped_at__isnull=True).count() == 1


def test_without_a_chain_nothing_is_sampled(db, settings):
    settings.CHAIN_RPC_URL = ""

    tasks.sample_solvency()
    tasks.read_chain()

    assert not SolvencySample.objects.exists()
