"""T16: the harness can see a double payment, because it sees those of a loop that makes them."""

import time

import pytest

from wallet.settlement.tests.faults.books import wrong_balances
from wallet.settlement.tests.faults.rig import Rig, is_settled

pytestmark = pytest.mark.chaos

PAYEES, BONUS = 30, 50


def test_sending_first_and_recording_later_pays_twice_and_is_caught(rig: Rig):
    rig.crowd(PAYEES)
    deaths = 0

    while not is_settled():
        [worker] = rig.work(naive=True, rate=0.15, seed=deaths)
        while worker.is_alive and not is_settled():
            time.sleep(0.01)
        deaths += not worker.is_alive
    rig.stop()
    rig.wait(rig.pool_is_empty, "the last transfer to be mined")

    overpaid = wrong_balances(rig.bench)
    assert deaths > 0
    assert {(owed, held % BONUS) for _, owed, held in overpaid} == {(BONUS, 0)}
    assert sum(held - owed for _, owed, held in overpaid) == deaths * BONUS
    with pytest.raises(AssertionError):
        rig.assert_books_equal_chain()
