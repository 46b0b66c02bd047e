import os
import subprocess
import sys
import threading

import pytest
from django.db import connection
from django.db.transaction import atomic

from wallet import tasks
from wallet.models import Attempt, Operator, Payout, Slot
from wallet.settlement import lane
from wallet.settlement.verifying import WrongChain
from wallet.tests.chain import Bench
from wallet.tests.factories import WalletFactory
from wallet.tests.settling import Engine, give_bonus, payout_of


def test_a_lane_starts_where_the_chain_is_and_stays_the_same_lane(engine: Engine):
    first = engine.open_lane()

    assert first.next_nonce == engine.chain.nonce(engine.signer.address, block="latest")
    assert engine.open_lane() == first
    assert Operator.objects.count() == 1


@pytest.mark.parametrize(
    ("setting", "value"), [("CHAIN_ID", 1337), ("FLOAT_ADDRESS", "0x" + "f1" * 20)]
)
def test_a_lane_on_the_wrong_chain_or_contract_does_nothing(
    engine: Engine, settings, setting, value
):
    bonus = give_bonus(WalletFactory.create())
    setattr(settings, setting, value)

    with pytest.raises(WrongChain):
        engine.tick()

    assert (bonus.payout, Slot.objects.count()) == (None, 0)


def test_the_task_does_nothing_until_there_is_a_contract(db):
    give_bonus(WalletFactory.create())

    tasks.settle_tick()

    assert Payout.objects.count() == 0


def test_the_task_runs_the_lane_and_may_run_twice(engine: Engine):
    bonus = give_bonus(WalletFactory.create())

    tasks.settle_tick()
    tasks.settle_tick(added_by_a_later_version=1)

    assert payout_of(bonus).state == "SUBMITTED"
    assert (Slot.objects.count(), Attempt.objects.count()) == (1, 1)


def test_the_task_bears_a_node_that_does_not_answer(engine: Engine, settings):
    bonus = give_bonus(WalletFactory.create())
    lane._configured.cache_clear()
    settings.CHAIN_RPC_URL = "http://127.0.0.1:9"

    tasks.settle_tick()

    lane._configured.cache_clear()
    bonus.refresh_from_db()
    assert (bonus.sync_status, Slot.objects.count()) == ("PENDING", 0)


def test_processes_that_serve_requests_never_load_web3():
    program = "import django, sys; django.setup(); import kgen.urls; print('web3' in sys.modules)"

    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "kgen.settings_test"},
        capture_output=True,
        text=True,
    )

    assert (done.stdout, done.stderr) == ("False\n", "")


def test_workers_side_by_side_pay_each_wallet_once(committed_database, bench: Bench):
    with atomic():
        wallets = [WalletFactory.create() for _ in range(40)]
        for wallet in wallets:
            give_bonus(wallet)
    problems = []

    def work() -> None:
        engine = Engine(bench)
        try:
            for _ in range(12):
                engine.tick()
                bench.chain.mine(2)
        except Exception as problem:  # noqa: BLE001 - a thread's failure is the test's
            problems.append(problem)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert problems == []
    assert [bench.balance(wallet.address) for wallet in wallets] == [50] * 40
    assert set(Payout.objects.values_list("state", flat=True)) == {"COMPLETED"}
    nonces = list(Slot.objects.order_by("nonce").values_list("nonce", flat=True))
    assert nonces == list(range(nonces[0], nonces[0] + len(nonces)))
