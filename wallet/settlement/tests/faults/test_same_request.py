"""T10: one request sent fifty times at once is one withdrawal, and one payment."""

from collections import Counter

import pytest
from django.db.transaction import atomic

from accounts.tests.api import GameClient
from accounts.tests.threads import all_at_once
from wallet.models import Payout
from wallet.settlement.tests.faults.rig import Rig
from wallet.tests.factories import KgenWalletFactory
from wallet.tests.settling import win

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("bodies", [[{}], [{}, {"amount": 1}]], ids=["same body", "two bodies"])
def test_one_key_fifty_times_at_once_is_one_withdrawal(rig: Rig, bodies):
    [wallet] = rig.crowd(1)
    with atomic():
        win(wallet, 30)
        gamer = wallet.gamer
        gamer.kgen_account = KgenWalletFactory.create(now=rig.now()).account
        gamer.save()
        gamer.game.min_withdrawal = 1
        gamer.game.save()
        client = GameClient(gamer.game).as_gamer(gamer)

    calls = [
        lambda body=body: client.post("/wallet/_withdraw", body, key="one")
        for body in bodies * (50 // len(bodies))
    ]
    answers = all_at_once(calls)
    rig.work()
    rig.settle()

    told = Counter(answer.status_code for answer in answers)
    assert set(told) <= {200, 409}
    assert told[200] >= 1
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    assert Payout.objects.filter(kind="WITHDRAW").count() == 1
    rig.assert_books_equal_chain()
