import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from accounts.models import Game
from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from wallet import ledger
from wallet.models import Approval, Payout
from wallet.tests.limiting import SETTLEMENT, linked_wallet, withdraw

pytestmark = pytest.mark.django_db

QUEUE = "/admin/wallet/approvalrequest/"


@pytest.fixture(autouse=True)
def _settlement(settings) -> None:
    settings.SETTLEMENT_ADDRESS = SETTLEMENT


@pytest.fixture
def finance():
    return staff_client(FINANCE)


def page(payout, act="change"):
    return reverse(f"admin:wallet_payout_{act}", args=[payout.pk])


def text(cell):
    return re.sub(r"<[^>]+>", "", str(cell))


def approve(client, payout, *, reason="known gamer"):
    return client.post(page(payout, "approve"), {"reason": reason}, follow=True)


def state(payout):
    return Payout.objects.get(pk=payout.pk).state


# --- The queue -----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [FINANCE, SUPPORT, OPERATORS])
def test_queue_has_what_waits_the_oldest_first(role):
    now = timezone.now()
    wallet = linked_wallet(name="Carrom", kgen_made_at=now - timedelta(days=3, hours=2))
    second = withdraw(wallet, 6000, now=now)
    first = withdraw(linked_wallet(), 26_000, now=now - timedelta(hours=5))
    withdraw(linked_wallet(), 5000, now=now)
    voided = withdraw(linked_wallet(), 7000, now=now)
    Payout.objects.filter(pk=voided.pk).update(state="VOIDED")

    response = staff_client(role).get(QUEUE)

    shown = response.context["cl"].result_list
    assert [one.payout for one in shown] == [first, second]
    content = text(response.content.decode())
    assert "6,000 KCash is above the 5,000 of Carrom." in content
    assert "known for 3 d 2 h" in content
    assert "0 of 2" in content


@pytest.mark.parametrize("rows", [1, 3])
def test_queue_costs_the_same_queries_whatever_its_length(finance, rows, django_assert_num_queries):
    for _ in range(rows):
        approve(finance, withdraw(linked_wallet(), 26_000))

    with django_assert_num_queries(10):
        finance.get(QUEUE)


# --- Approving -----------------------------------------------------------------------------------


def test_finance_sees_what_will_happen_and_approves_with_a_reason(finance):
    payout = withdraw(linked_wallet(), 6000)

    asked = text(finance.get(page(payout, "approve")).content.decode())
    without = approve(finance, payout, reason="")
    after_nothing = state(payout)
    approve(finance, payout)

    assert f"are paid to {payout.to_address}. It cannot be undone." in asked
    assert without.context["form"].errors == {"reason": ["This field is required."]}
    assert (after_nothing, state(payout)) == ("AWAITING_APPROVAL", "PENDING")
    assert Approval.objects.get().reason == "known gamer"
    assert StaffAct.objects.get().line() == "Approve: known gamer"


def test_a_large_one_takes_two_of_finance(finance):
    payout, other = withdraw(linked_wallet(), 26_000), staff_client(FINANCE)

    first = approve(finance, payout)
    asked_again = text(finance.get(page(payout, "approve")).content.decode())
    twice = approve(finance, payout)
    after_one = state(payout)
    second = approve(other, payout)

    assert "another of the staff has to approve it, too" in text(first.content.decode())
    assert "It cannot be undone" in asked_again
    assert twice.context["form"].non_field_errors() == [
        "You have approved it already; the second approval is somebody else's to give."
    ]
    assert (after_one, state(payout)) == ("AWAITING_APPROVAL", "PENDING")
    assert "approved and on its way" in text(second.content.decode())
    assert Approval.objects.count() == StaffAct.objects.count() == 2


@pytest.mark.parametrize("role", [SUPPORT, OPERATORS])
def test_others_may_not_approve(role):
    payout = withdraw(linked_wallet(), 6000)

    response = approve(staff_client(role), payout)

    assert response.status_code == 403
    assert (state(payout), Approval.objects.count()) == ("AWAITING_APPROVAL", 0)
    assert ledger.balances(payout.wallet_id).hold == 6000


def test_nobody_approves_their_own(finance):
    wallet = linked_wallet()
    wallet.gamer.email = "me@kgen.example"
    wallet.gamer.save()
    User.objects.update(email="me@kgen.example")
    payout = withdraw(wallet, 6000)

    response = approve(finance, payout)

    assert response.context["form"].non_field_errors() == [
        "This is your own withdrawal; somebody else has to approve it."
    ]
    assert (state(payout), StaffAct.objects.count()) == ("AWAITING_APPROVAL", 0)


def test_what_does_not_wait_cannot_be_approved(finance):
    payout = withdraw(linked_wallet(), 5000)

    response = approve(finance, payout)

    assert "not possible any more" in text(response.content.decode())
    assert not Approval.objects.exists()


def test_payout_page_tells_why_it_waited_and_who_let_it_go(finance):
    payout = withdraw(linked_wallet(name="Carrom"), 6000)
    approve(finance, payout)

    panels = dict(finance.get(page(payout)).context["panels"])

    assert [[text(cell) for cell in row[1:]] for row in panels["Approval"].rows] == [
        [
            "the limits",
            "1 needed: 6,000 KCash is above the 5,000 of Carrom.",
        ],
        [User.objects.get().username, "Approved: known gamer"],
    ]


@pytest.mark.parametrize(
    ("chain_id", "link"),
    [(137, 'href="https://polygonscan.com/tx/0xab'), (31337, None), (999_999, None)],
)
def test_payout_page_links_to_the_explorer_of_its_network(finance, settings, chain_id, link):
    settings.CHAIN_ID = chain_id
    payout = withdraw(linked_wallet(), 10)
    Payout.objects.update(
        state="COMPLETED",
        settlement_address=SETTLEMENT,
        onchain_id="0x" + "cd" * 32,
        tx_hash="0x" + "ab" * 32,
        block_number=1,
        gas_fee=1,
    )

    content = finance.get(page(payout)).content.decode()

    assert "0x" + "ab" * 32 in content
    assert (link in content) if link else ("/tx/" not in content)


# --- A game's limit ------------------------------------------------------------------------------


def test_finance_sets_the_limit_of_a_game(finance):
    game = linked_wallet().gamer.game

    finance.post(
        reverse("admin:accounts_game_limit_withdrawals", args=[game.pk]),
        {"limit": "800", "reason": "new studio"},
    )

    game.refresh_from_db()
    assert game.auto_approve_limit == 800
    assert StaffAct.objects.get().line() == "Limit withdrawals (limit 800): new studio"


@pytest.mark.parametrize("limit", ["-1", "", "1.5", str(2**53)])
def test_limit_is_a_whole_amount(finance, limit):
    game = linked_wallet().gamer.game

    response = finance.post(
        reverse("admin:accounts_game_limit_withdrawals", args=[game.pk]),
        {"limit": limit, "reason": "new studio"},
    )

    assert set(response.context["form"].errors) == {"limit"}
    assert Game.objects.get().auto_approve_limit == 5000


@pytest.mark.parametrize("role", [SUPPORT, OPERATORS])
def test_others_may_not_lift_the_limit(role):
    game, client = linked_wallet().gamer.game, staff_client(role)

    refused = client.post(
        reverse("admin:accounts_game_limit_withdrawals", args=[game.pk]),
        {"limit": "1000000", "reason": "no"},
    )
    client.post(
        reverse("admin:accounts_game_change", args=[game.pk]),
        {
            "name": game.name,
            "is_active": "on",
            "min_withdrawal": "1",
            "rate_limit": "100",
            "gamer_event_rate": "10",
            "auto_approve_limit": "1000000",
            "is_sandbox": "on",
            "reason": "no",
        },
    )

    game.refresh_from_db()
    assert refused.status_code == 403
    assert (game.auto_approve_limit, game.is_sandbox) == (5000, False)
