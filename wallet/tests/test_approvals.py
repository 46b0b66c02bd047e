from functools import partial

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.tests.factories import GamerFactory
from wallet import approvals, freezing, ledger
from wallet.approvals import ApprovedAlready, NotAwaitingApproval, OwnWithdrawal
from wallet.freezing import WalletFrozen
from wallet.models import Approval, ApprovalRequest, Payout
from wallet.settlement import voiding
from wallet.tests.factories import WalletFactory
from wallet.tests.limiting import SETTLEMENT, linked_wallet, staff, withdraw
from wallet.tests.parallel import in_parallel, kinds

State = Payout.State


@pytest.fixture(autouse=True)
def _settlement(settings) -> None:
    settings.SETTLEMENT_ADDRESS = SETTLEMENT


def approve(payout, by):
    return approvals.approve(
        payout_uid=payout.pk, by=by, reason="asked the gamer", now=timezone.now()
    )


def state(payout):
    """As the database has it, with who has approved."""
    names = Approval.objects.filter(payout=payout).values_list("staff__username", flat=True)
    return Payout.objects.get(pk=payout.pk).state, sorted(names)


def refused(payout, by, error):
    """The details of the refusal, which moved nothing."""
    wallet = payout.wallet_id
    before = (state(payout), ledger.balances(wallet))
    with pytest.raises(error) as refusal:
        approve(payout, by)
    assert (state(payout), ledger.balances(wallet)) == before
    return refusal.value.details


@pytest.mark.django_db
def test_one_lets_a_withdrawal_go():
    payout, (ann,) = withdraw(linked_wallet(), 6000), staff("ann")

    approve(payout, ann)

    assert state(payout) == (State.PENDING, ["ann"])
    approval = Approval.objects.get()
    assert (approval.payout, approval.staff, approval.reason) == (payout, ann, "asked the gamer")
    assert ledger.balances(payout.wallet_id).hold == 6000


@pytest.mark.django_db
def test_two_let_a_large_one_go():
    payout, (ann, bob) = withdraw(linked_wallet(), 25_001), staff("ann", "bob")

    approve(payout, ann)
    after_one = state(payout)
    approve(payout, bob)

    assert after_one == (State.AWAITING_APPROVAL, ["ann"])
    assert state(payout) == (State.PENDING, ["ann", "bob"])


@pytest.mark.django_db
def test_one_person_does_not_count_twice():
    payout, (ann,) = withdraw(linked_wallet(), 25_001), staff("ann")
    approve(payout, ann)

    refused(payout, ann, ApprovedAlready)

    assert state(payout) == (State.AWAITING_APPROVAL, ["ann"])


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["never asked for", "approved", "voided"])
def test_what_does_not_wait_is_not_approved(how):
    payout, (ann, bob) = (
        withdraw(linked_wallet(), 5000 if how == "never asked for" else 6000),
        staff("ann", "bob"),
    )
    if how == "approved":
        approve(payout, bob)
    if how == "voided":
        Payout.objects.filter(pk=payout.pk).update(state="VOIDED")

    details = refused(payout, ann, NotAwaitingApproval)

    assert details == {"state": "VOIDED" if how == "voided" else "PENDING"}


@pytest.mark.django_db
def test_withdrawal_of_a_frozen_wallet_is_not_approved():
    payout, (ann,) = withdraw(linked_wallet(), 6000), staff("ann")
    freezing.freeze(wallet=payout.wallet, reason="ticket 1", by="ann", now=timezone.now())

    refused(payout, ann, WalletFrozen)

    assert state(payout) == (State.AWAITING_APPROVAL, [])


@pytest.mark.django_db
@pytest.mark.parametrize("where", ["this game", "another game"])
def test_nobody_approves_a_withdrawal_of_their_own(where):
    payout, (ann,) = withdraw(linked_wallet(), 6000), staff("ann")
    ann.email = "ann@kgen.example"
    ann.save()
    gamer = payout.wallet.gamer
    if where == "another game":
        gamer = GamerFactory.create(kgen_account=gamer.kgen_account)
    gamer.email = "Ann@KGeN.example"
    gamer.save()

    refused(payout, ann, OwnWithdrawal)

    assert state(payout) == (State.AWAITING_APPROVAL, [])


@pytest.mark.django_db
def test_staff_and_gamers_without_an_email_are_not_taken_for_one_another():
    payout, (ann,) = withdraw(linked_wallet(), 6000), staff("ann")
    WalletFactory.create(gamer__email="ann@kgen.example")

    assert approve(payout, ann).state == State.PENDING


# --- At once -------------------------------------------------------------------------------------


def large_withdrawal() -> Payout:
    with transaction.atomic():
        return withdraw(linked_wallet(), 25_001)


def test_one_person_twice_at_once_counts_once(committed_database):
    payout, (ann,) = large_withdrawal(), staff("ann")

    outcomes = in_parallel([lambda: approve(payout, ann)] * 4)

    assert kinds(outcomes) == ["ApprovedAlready"] * 3 + ["Payout"]
    assert state(payout) == (State.AWAITING_APPROVAL, ["ann"])


def test_two_at_once_both_count(committed_database):
    payout, both = large_withdrawal(), staff("ann", "bob")

    outcomes = in_parallel([partial(approve, payout, one) for one in both])

    assert kinds(outcomes) == ["Payout", "Payout"]
    assert state(payout) == (State.PENDING, ["ann", "bob"])


def test_more_at_once_than_it_needs_are_not_counted(committed_database):
    payout, four = large_withdrawal(), staff("ann", "bob", "cleo", "dan")

    outcomes = in_parallel([partial(approve, payout, one) for one in four])

    assert kinds(outcomes) == ["NotAwaitingApproval"] * 2 + ["Payout"] * 2
    assert state(payout)[0] == State.PENDING
    assert Approval.objects.count() == ApprovalRequest.objects.get().approvals_needed == 2


def test_of_an_approval_and_a_void_at_once_one_wins(committed_database):
    with transaction.atomic():
        payout = withdraw(linked_wallet(), 6000)
    (ann,) = staff("ann")

    def void():
        return voiding.begin_void(
            payout_uid=payout.pk, by="bob", reason="stolen phone", now=timezone.now()
        )

    outcomes = in_parallel([partial(approve, payout, ann), void])

    # Approved first, it could still be voided: it was never submitted.
    assert kinds(outcomes) in (["NotAwaitingApproval", "Payout"], ["Payout", "Payout"])
    balances = ledger.balances(payout.wallet_id)
    assert Payout.objects.get().state == State.VOIDED
    assert (balances.earned, balances.hold) == (6000, 0)


def test_two_voids_at_once_give_back_once(committed_database):
    with transaction.atomic():
        payout = withdraw(linked_wallet(), 6000)

    outcomes = in_parallel(
        [partial(voiding.begin_void, payout_uid=payout.pk, by="bob", reason="", now=timezone.now())]
        * 4
    )

    assert kinds(outcomes) == ["NotVoidable"] * 3 + ["Payout"]
    balances = ledger.balances(payout.wallet_id)
    assert (balances.earned, balances.hold) == (6000, 0)
