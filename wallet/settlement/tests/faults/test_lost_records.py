"""T3: the database forgets what was sent: a backup is put back after payouts went out."""

import pytest
from django.utils import timezone

from wallet.models import Operator, Payout, Slot
from wallet.settlement import pausing
from wallet.settlement.tests.faults.backups import back_up, restore
from wallet.settlement.tests.faults.rig import Rig

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("is_nonce_known", [True, False])
def test_payouts_sent_before_a_restore_are_completed_by_what_paid_them(
    rig: Rig, is_nonce_known: bool
):
    pausing.pause(reason="a backup is made", by="operations", now=timezone.now())
    rig.crowd(20)
    rig.work()
    rig.wait(lambda: Payout.objects.count() == 20, "payouts")
    rig.stop()
    backup = back_up()
    pausing.resume(reason="it is made", by="operations", now=timezone.now())
    rig.work()
    rig.settle()
    nonce = Operator.objects.get().next_nonce
    paid = dict(Payout.objects.values_list("pk", "tx_hash"))

    restore(backup)
    # Somebody new is in the batch, so that it is not by chance the same transaction again.
    rig.crowd(1)
    pausing.resume(reason="it is restored", by="operations", now=timezone.now())
    if is_nonce_known:
        Operator.objects.update(next_nonce=nonce)
    rig.work()
    rig.settle()

    rig.assert_books_equal_chain()
    assert dict(Payout.objects.filter(pk__in=paid).values_list("pk", "tx_hash")) == paid
    dead = 0 if is_nonce_known else 1
    assert Slot.objects.filter(state="DEAD").count() == dead


def test_payouts_made_after_the_backup_are_not_paid_again_under_other_names(rig: Rig):
    """The wallets' transactions were saved, the payouts for them not: they are made once more."""
    rig.crowd(5)
    backup = back_up()
    rig.work()
    rig.settle()

    restore(backup)
    rig.work()
    rig.settle()

    rig.assert_books_equal_chain()
