import re

import pytest
from django.urls import reverse

from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from wallet import ledger
from wallet.ledger import Balances
from wallet.models import Approval, Payout, WalletTransaction
from wallet.tests.limiting import SETTLEMENT, linked_wallet, withdraw

pytestmark = pytest.mark.django_db


@pytest.fixture
def finance():
    return staff_client(FINANCE)


def page(payout, act):
    return reverse(f"admin:wallet_payout_{act}", args=[payout.pk])


def text(response):
    return re.sub(r"<[^>]+>", "", response.content.decode())


def do(client, act, payout, *, reason="the gamer asked"):
    return client.post(page(payout, act), {"reason": reason}, follow=True)


def now(payout):
    return Payout.objects.get(pk=payout.pk)


def failed():
    payout = withdraw(linked_wallet(), 700)
    Payout.objects.update(
        state="FAILED",
        tries=10,
        error="ERC20InsufficientBalance",
        settlement_address=SETTLEMENT,
        onchain_id="0x" + "cd" * 32,
    )
    WalletTransaction.objects.filter(payout=payout).update(sync_status="FAILED")
    return now(payout)


# --- Void ----------------------------------------------------------------------------------------


def test_withdrawal_that_waits_for_approval_is_refused_by_voiding_it(finance):
    payout = withdraw(linked_wallet(), 6000)

    asked = text(finance.get(page(payout, "void")))
    without = do(finance, "void", payout, reason="")
    after_nothing = (now(payout).state, ledger.balances(payout.wallet_id).hold)
    do(finance, "void", payout)
    too_late = do(finance, "approve", payout)

    assert "void at once, for ever" in asked
    assert "6,000 KCash come back to the earned balance" in asked
    assert without.context["form"].errors == {"reason": ["This field is required."]}
    assert after_nothing == ("AWAITING_APPROVAL", 6000)
    assert now(payout).state == "VOIDED"
    assert ledger.balances(payout.wallet_id) == Balances(0, 0, 6000, 0, 0, 0)
    assert "not possible any more" in text(too_late)
    assert not Approval.objects.exists()
    assert [entry.line() for entry in StaffAct.objects.all()] == ["Void: the gamer asked"]


def test_failed_withdrawal_is_void_when_the_chain_says_so(finance):
    payout = failed()

    asked = text(finance.get(page(payout, "void")))
    do(finance, "void", payout)

    assert "First its id is made void on the chain" in asked
    assert now(payout).state == "VOIDING"
    assert payout.transactions.get().sync_status == "PROCESSING"
    assert ledger.balances(payout.wallet_id) == Balances(0, 0, 0, 0, 700, 0)


@pytest.mark.parametrize("state", ["SUBMITTED", "CONFIRMING", "VOIDING", "VOIDED"])
def test_what_is_under_way_or_has_ended_is_not_voided(finance, state):
    payout = failed()
    Payout.objects.update(state=state)

    response = do(finance, "void", payout)

    assert "not possible any more" in text(response)
    assert now(payout).state == state
    assert ledger.balances(payout.wallet_id).hold == 700


# --- Try again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [SUPPORT, FINANCE])
def test_failed_payout_is_tried_again_under_its_id(role):
    client, payout = staff_client(role), failed()

    asked = text(client.get(page(payout, "retry")))
    do(client, "retry", payout)

    after = now(payout)
    assert "the last time because of: ERC20InsufficientBalance." in asked
    assert (after.state, after.tries, after.onchain_id) == ("PENDING", 0, payout.onchain_id)
    assert StaffAct.objects.get().line() == "Try again: the gamer asked"


def test_only_what_failed_is_tried_again(finance):
    payout = withdraw(linked_wallet(), 6000)

    response = do(finance, "retry", payout)

    assert "not possible any more" in text(response)
    assert now(payout).state == "AWAITING_APPROVAL"


# --- Who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "act"), [(SUPPORT, "void"), (OPERATORS, "void"), (OPERATORS, "retry")]
)
def test_others_may_not(role, act):
    payout = failed()

    response = do(staff_client(role), act, payout)

    assert response.status_code == 403
    assert now(payout).state == "FAILED"
    assert ledger.balances(payout.wallet_id).hold == 700


def test_nobody_has_a_button_that_sends(finance):
    payout = withdraw(linked_wallet(), 6000)

    offered = [act.label for act, _ in finance.get(page(payout, "change")).context["acts"]]

    assert sorted(offered) == ["Approve", "Void"]
