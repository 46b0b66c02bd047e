"""Ways around the limits and the approvals, each tried: what is theft, the database refuses too."""

from datetime import timedelta
from functools import partial

import pytest
from django.db import IntegrityError, ProgrammingError, transaction
from django.utils import timezone

from accounts.models import Game
from wallet import approvals, withdrawals
from wallet.models import Approval, ApprovalRequest, KgenWallet, Payout, Wallet
from wallet.tests import settling
from wallet.tests.limiting import SETTLEMENT, linked_wallet, staff, withdraw
from wallet.tests.parallel import in_parallel

State = Payout.State


@pytest.fixture(autouse=True)
def _limits(settings) -> None:
    settings.AUTO_APPROVE_PER_GAMER_AND_DAY = 10_000


def approve(payout, by):
    return approvals.approve(payout_uid=payout.pk, by=by, reason="fine", now=timezone.now())


def refused_by_the_database(change, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match), transaction.atomic():
        change()


# --- Through the front door ----------------------------------------------------------------------


@pytest.mark.django_db
def test_pieces_of_a_large_withdrawal_need_as_many_approvals_as_the_whole():
    wallet = linked_wallet()

    pieces = [withdraw(wallet, 5000) for _ in range(6)]

    assert [one.state for one in pieces] == ["PENDING"] * 2 + ["AWAITING_APPROVAL"] * 4
    needed = ApprovalRequest.objects.order_by("created_at").values_list(
        "approvals_needed", flat=True
    )
    assert list(needed) == [1, 1, 1, 2]  # the last one makes it 30,000 in a day


def test_pieces_at_once_go_no_further(committed_database):
    with transaction.atomic():
        first = linked_wallet()
        wallets = [
            first,
            *(linked_wallet(account=first.gamer.kgen_account) for _ in range(5)),
        ]

    pieces = in_parallel([partial(withdraw, wallet, 5000) for wallet in wallets])

    went = [one for one in pieces if one.state == State.PENDING]
    assert sum(one.amount for one in went) == 10_000
    assert len(pieces) - len(went) == ApprovalRequest.objects.count() == 4


@pytest.mark.django_db
def test_sandbox_that_turns_real_would_turn_play_money_into_money():
    sandbox = linked_wallet(is_sandbox=True)

    refused_by_the_database(
        lambda: Game.objects.filter(pk=sandbox.gamer.game_id).update(is_sandbox=False),
        IntegrityError,
        "for ever",
    )


@pytest.mark.django_db
def test_game_that_turns_sandbox_would_not_wait_for_a_new_wallet(settings):
    settings.KGEN_WALLET_WAIT_HOURS = 24
    now = timezone.now()
    wallet = linked_wallet(kgen_made_at=now, linked_at=now)

    refused_by_the_database(
        lambda: Game.objects.filter(pk=wallet.gamer.game_id).update(is_sandbox=True),
        IntegrityError,
        "for ever",
    )

    assert withdraw(wallet, 1, now=now).not_before == now + timedelta(hours=24)


@pytest.mark.django_db
def test_limit_lifted_afterwards_lets_nothing_out_that_waits():
    payout, (ann,) = withdraw(linked_wallet(), 30_000), staff("ann")
    Game.objects.update(auto_approve_limit=10**9)

    approve(payout, ann)

    assert Payout.objects.get().state == State.AWAITING_APPROVAL  # two were asked, one has answered


@pytest.mark.django_db
def test_approval_does_not_shorten_the_wait_for_a_new_wallet(settings):
    settings.KGEN_WALLET_WAIT_HOURS = 24
    now = timezone.now()
    payout, (ann,) = withdraw(linked_wallet(kgen_made_at=now), 6000, now=now), staff("ann")

    approve(payout, ann)

    payout.refresh_from_db()
    assert (payout.state, payout.not_before) == (State.PENDING, now + timedelta(hours=24))


# --- Past the queue, by the lane -----------------------------------------------------------------


def test_lane_pays_what_was_approved_and_nothing_sooner(engine, settings):
    settings.KGEN_WALLET_WAIT_HOURS = 24
    wallet, new = linked_wallet(), linked_wallet(kgen_made_at=settling.START)
    waits = [won_and_withdrawn(wallet, 6000), won_and_withdrawn(new, 1000)]
    (ann,) = staff("ann")

    engine.settle_all()
    before = [engine.bench.balance(one.to_address) for one in waits]
    approve(waits[0], ann)
    engine.settle_all()
    approved = [engine.bench.balance(one.to_address) for one in waits]
    engine.now += timedelta(hours=24)
    engine.settle_all()

    assert (before, approved) == ([0, 0], [6000, 0])
    assert [engine.bench.balance(one.to_address) for one in waits] == [6000, 1000]
    assert set(Payout.objects.values_list("state", flat=True)) == {"COMPLETED"}


def won_and_withdrawn(wallet: Wallet, amount: int) -> Payout:
    settling.win(wallet, amount)
    done = withdrawals.withdraw(gamer=wallet.gamer, now=settling.START)
    return Payout.objects.get(pk=done.transaction_uid)


# --- Past the code, with the application's login -------------------------------------------------


@pytest.mark.django_db
def test_withdrawal_above_the_limit_cannot_be_written_as_one_that_goes_by_itself():
    payout = withdraw(linked_wallet(), 5000)
    values = {
        field.attname: getattr(payout, field.attname)
        for field in Payout._meta.concrete_fields
        if field.attname != "uid"
    }
    again = {**values, "seq": 7, "last_seq": 7}

    refused_by_the_database(
        lambda: Payout.objects.create(**{**again, "amount": 5001}), IntegrityError, "needs approval"
    )

    assert Payout.objects.create(**again).amount == 5000


@pytest.mark.django_db
@pytest.mark.parametrize("to", ["PENDING", "SUBMITTED", "CONFIRMING", "FAILED", "COMPLETED"])
@pytest.mark.parametrize("approved_by", [(), ("ann",)])
def test_withdrawal_that_lacks_an_approval_goes_nowhere(to, approved_by):
    payout = withdraw(linked_wallet(), 25_001)
    for one in staff(*approved_by):
        approve(payout, one)

    refused_by_the_database(
        lambda: Payout.objects.update(
            state=to, settlement_address=SETTLEMENT, onchain_id="0x" + 64 * "1"
        ),
        IntegrityError,
        "not approved",
    )

    assert Payout.objects.get().state == State.AWAITING_APPROVAL


@pytest.mark.django_db
def test_rejected_withdrawal_does_not_come_back():
    payout = withdraw(linked_wallet(), 6000)
    Payout.objects.filter(pk=payout.pk).update(state="VOIDED")

    refused_by_the_database(
        lambda: Payout.objects.update(state="PENDING"), IntegrityError, "not approved"
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    "other",
    [
        {"amount": 1},
        {"to_address": "0x" + 40 * "1"},
        {"from_address": "0x" + 40 * "2"},
        {"kind": "OUT"},
        {"created_at": timezone.now() - timedelta(days=2)},
    ],
)
def test_what_was_approved_is_what_is_paid(other):
    payout, (ann,) = withdraw(linked_wallet(), 6000), staff("ann")
    approve(payout, ann)

    refused_by_the_database(lambda: Payout.objects.update(**other), IntegrityError, "written once")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        lambda: ApprovalRequest.objects.update(approvals_needed=1),
        lambda: ApprovalRequest.objects.all()._raw_delete("default"),
        lambda: Approval.objects.update(created_at=timezone.now()),
        lambda: Approval.objects.all()._raw_delete("default"),
        lambda: KgenWallet.objects.update(address="0x" + 40 * "1"),
        lambda: KgenWallet.objects.update(created_at=timezone.now() - timedelta(days=90)),
    ],
)
def test_answers_and_addresses_are_never_rewritten(change):
    payout, (ann,) = withdraw(linked_wallet(), 25_001), staff("ann")
    approve(payout, ann)

    refused_by_the_database(change, ProgrammingError, "permission denied")


@pytest.mark.django_db
def test_approval_counts_once_for_each_of_the_staff_in_the_database_too():
    payout, (ann,) = withdraw(linked_wallet(), 25_001), staff("ann")
    approve(payout, ann)

    refused_by_the_database(
        lambda: Approval.objects.create(
            payout=payout, staff=ann, reason="again", created_at=timezone.now()
        ),
        IntegrityError,
        "approval_once_by_each_of_the_staff",
    )
