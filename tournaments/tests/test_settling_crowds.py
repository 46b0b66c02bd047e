"""Ten thousand gamers settled in one transaction, and processes that die in the middle of it."""

import multiprocessing
import os
import signal
from datetime import timedelta
from typing import Any, NoReturn
from uuid import UUID

import pytest
from django.db import connections
from django.utils import timezone

from rewards.models import Reward
from tournaments import results, settling
from tournaments.models import Participation, Tournament
from tournaments.tests.crowds import crowd_of
from tournaments.tests.factories import TournamentFactory
from tournaments.tests.world import pool_balance, world

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("committed_database")]

ENTRANTS = 10_000
# After each of these a settlement has written something, and has not committed it.
STEPS = ["_write_results", "results.keep", "granting.record_prizes", "prize_pools.distribute"]


def settle_and_die(uid: UUID, step: str) -> None:
    *path, name = step.split(".")
    owner: Any = getattr(settling, path[0]) if path else settling
    does_it = getattr(owner, name)

    def does_it_and_dies(*arguments: Any, **named: Any) -> NoReturn:
        does_it(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit  # never reached

    setattr(owner, name, does_it_and_dies)
    settling.settle(uid=uid, now=timezone.now())


def test_settlement_of_ten_thousand_that_is_killed_leaves_nothing_and_runs_twice_as_once():
    now = timezone.now()
    tournament = TournamentFactory.create(now=now, over=True)
    crowd_of(ENTRANTS, tournament)
    before = world()

    for step in STEPS:
        # Its own connection is opened in the process that dies.
        connections.close_all()
        dying = multiprocessing.get_context("fork").Process(
            target=settle_and_die, args=(tournament.uid, step)
        )
        dying.start()
        dying.join(timeout=60)
        assert (step, dying.exitcode) == (step, -signal.SIGKILL)
        assert world() == before
    settling.settle(uid=tournament.uid, now=now)
    after = world()
    settling.settle(uid=tournament.uid, now=now + timedelta(minutes=1))

    assert world() == after
    assert Tournament.objects.get().phase == "COMPLETED"
    assert pool_balance(tournament) == 0
    # 40 % of them win; the winner is raised to six fees, as the whole of the first hundred.
    assert Reward.objects.count() == Participation.objects.filter(prize__gt=0).count() == 4_000
    # The crowd's stakes come from the mint, which the ledger does not take for entry fees.
    differences = results.verify(uid=tournament.uid)
    assert [difference.what for difference in differences] == ["the stakes in the ledger"]
