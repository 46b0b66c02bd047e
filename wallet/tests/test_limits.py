from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import transaction

from accounts.models import Gamer
from accounts.phones import Phone
from accounts.tests.factories import GamerFactory
from wallet import ledger, linking
from wallet.ledger import Balances
from wallet.models import ApprovalRequest, Payout, UnattendedDay
from wallet.tests.limiting import SETTLEMENT, linked_wallet, withdraw
from wallet.tests.parallel import in_parallel

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
State = Payout.State


@pytest.fixture(autouse=True)
def _limits(settings) -> None:
    settings.SETTLEMENT_ADDRESS = SETTLEMENT
    settings.AUTO_APPROVE_PER_GAMER_AND_DAY = 10_000
    settings.AUTO_APPROVE_TIMES_PER_GAMER_AND_DAY = 4
    settings.AUTO_APPROVE_PER_DAY = 1_000_000
    settings.SECOND_APPROVAL_ABOVE = 25_000


def asked(payout: Payout) -> tuple[int, str]:
    """How many are asked about it, and why."""
    request = ApprovalRequest.objects.get(payout=payout)
    return request.approvals_needed, request.reasons


# --- Amounts -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_withdrawal_within_all_limits_goes_by_itself():
    wallet = linked_wallet()

    payout = withdraw(wallet, 5000, now=NOON)

    assert (payout.state, payout.not_before) == (State.PENDING, None)
    assert not ApprovalRequest.objects.exists()
    assert UnattendedDay.objects.values_list().get() == (NOON.date(), 5000)


@pytest.mark.django_db
def test_withdrawal_above_the_limit_of_its_game_waits_with_its_kcash_set_aside():
    wallet = linked_wallet(name="Carrom")

    payout = withdraw(wallet, 5001, now=NOON)

    assert payout.state == State.AWAITING_APPROVAL
    assert asked(payout) == (
        1,
        "5,001 KCash is above the 5,000 of Carrom.",
    )
    assert payout.transactions.get().sync_status == "PENDING"
    assert ledger.balances(wallet.pk) == Balances(0, 0, 0, 0, 5001, 0)
    assert not UnattendedDay.objects.exists()


@pytest.mark.django_db
def test_limit_is_that_of_the_game_as_it_is_now():
    generous, strict = linked_wallet(auto_approve_limit=9000), linked_wallet(auto_approve_limit=0)

    assert withdraw(generous, 9000, now=NOON).state == State.PENDING
    assert withdraw(strict, 1, now=NOON).state == State.AWAITING_APPROVAL


@pytest.mark.django_db
@pytest.mark.parametrize(("amount", "needed"), [(25_000, 1), (25_001, 2)])
def test_large_withdrawal_needs_two(amount, needed):
    payout = withdraw(linked_wallet(), amount, now=NOON)

    assert asked(payout)[0] == needed


@pytest.mark.django_db
def test_gamer_has_a_day_worth_of_it():
    wallet = linked_wallet()

    payouts = [withdraw(wallet, 4000, now=NOON + timedelta(hours=hour)) for hour in range(3)]

    assert [one.state for one in payouts] == ["PENDING", "PENDING", "AWAITING_APPROVAL"]
    assert asked(payouts[2]) == (1, "12,000 KCash in 24 h is above the 10,000 of one gamer.")
    assert UnattendedDay.objects.get().amount == 8000


@pytest.mark.django_db
def test_day_of_a_gamer_is_the_last_24_hours():
    wallet = linked_wallet()
    withdraw(wallet, 5000, now=NOON)
    withdraw(wallet, 5000, now=NOON)

    just_before = withdraw(wallet, 1, now=NOON + timedelta(hours=24, microseconds=-1))
    after = withdraw(wallet, 4999, now=NOON + timedelta(hours=24))

    assert (just_before.state, after.state) == (State.AWAITING_APPROVAL, State.PENDING)


@pytest.mark.django_db
def test_what_was_voided_does_not_count():
    wallet = linked_wallet()
    first = withdraw(wallet, 8000, now=NOON)
    Payout.objects.filter(pk=first.pk).update(state="VOIDED")

    assert withdraw(wallet, 5000, now=NOON).state == State.PENDING


@pytest.mark.django_db
def test_gamer_who_withdraws_very_often_waits():
    wallet = linked_wallet()

    payouts = [withdraw(wallet, 1, now=NOON) for _ in range(5)]

    assert [one.state for one in payouts] == ["PENDING"] * 4 + ["AWAITING_APPROVAL"]
    assert asked(payouts[4]) == (1, "Withdrawal no. 5 in 24 h is above the 4 of one gamer.")


@pytest.mark.django_db
def test_day_of_all_gamers_ends_where_nobody_was_asked(settings):
    settings.AUTO_APPROVE_PER_DAY = 9000
    payouts = [withdraw(linked_wallet(), amount, now=NOON) for amount in (5000, 4001, 4000, 1)]

    states = [one.state for one in payouts]
    next_day = withdraw(linked_wallet(), 5000, now=NOON + timedelta(hours=12))

    assert states == ["PENDING", "AWAITING_APPROVAL", "PENDING", "AWAITING_APPROVAL"]
    assert asked(payouts[1]) == (
        1,
        "The 9,000 KCash a day of all gamers together are used up.",
    )
    assert next_day.state == State.PENDING


# --- A person is one person ----------------------------------------------------------------------


@pytest.mark.django_db
def test_withdrawals_out_of_several_games_to_one_kgen_wallet_are_counted_together():
    wallet = linked_wallet()
    account = wallet.gamer.kgen_account
    withdraw(wallet, 5000, now=NOON)
    withdraw(linked_wallet(account=account), 5000, now=NOON)

    assert withdraw(linked_wallet(account=account), 1, now=NOON).state == State.AWAITING_APPROVAL


# --- New KGeN wallets ----------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("made", "linked", "waits_until"),
    [
        (NOON, None, NOON + timedelta(hours=24)),
        (NOON - timedelta(hours=10), None, NOON + timedelta(hours=14)),
        (NOON - timedelta(hours=24), None, None),
        # A wallet of long ago that this gamer has only now linked.
        (NOON - timedelta(days=90), NOON - timedelta(hours=1), NOON + timedelta(hours=23)),
        (NOON - timedelta(days=90), NOON - timedelta(days=2), None),
    ],
)
def test_new_kgen_wallet_waits(settings, made, linked, waits_until):
    settings.KGEN_WALLET_WAIT_HOURS = 24
    wallet = linked_wallet(kgen_made_at=made, linked_at=linked)

    payout = withdraw(wallet, 1000, now=NOON)

    assert (payout.state, payout.not_before) == (State.PENDING, waits_until)


@pytest.mark.django_db
def test_sandbox_does_not_wait(settings):
    settings.KGEN_WALLET_WAIT_HOURS = 24
    wallet = linked_wallet(is_sandbox=True, kgen_made_at=NOON, linked_at=NOON)

    assert withdraw(wallet, 1000, now=NOON).not_before is None


@pytest.mark.django_db
def test_linking_says_when_and_doing_it_again_does_not():
    gamer = GamerFactory.create()
    phone = Phone(e164="+12025550143", prefix="+12025550", country="US")

    with transaction.atomic():
        linking.link(gamer=gamer, phone=phone, now=NOON)
        linking.link(gamer=gamer, phone=phone, now=NOON + timedelta(days=1))

    assert Gamer.objects.get(pk=gamer.pk).linked_at == NOON


# --- At once -------------------------------------------------------------------------------------


def test_gamers_at_once_never_exceed_the_day_of_all(committed_database, settings):
    settings.AUTO_APPROVE_PER_DAY = 9000
    with transaction.atomic():
        wallets = [linked_wallet() for _ in range(6)]

    payouts = in_parallel([partial(withdraw, wallet, 3000) for wallet in wallets])

    assert sorted(one.state for one in payouts) == ["AWAITING_APPROVAL"] * 3 + ["PENDING"] * 3
    assert UnattendedDay.objects.get().amount == 9000


def test_games_at_once_never_exceed_the_day_of_one_person(committed_database):
    with transaction.atomic():
        first = linked_wallet()
        account = first.gamer.kgen_account
        wallets = [first, *(linked_wallet(account=account) for _ in range(4))]

    payouts = in_parallel([partial(withdraw, wallet, 4000) for wallet in wallets])

    assert sorted(one.state for one in payouts) == ["AWAITING_APPROVAL"] * 3 + ["PENDING"] * 2
