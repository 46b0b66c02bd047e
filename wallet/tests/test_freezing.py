"""A frozen wallet claims and withdraws nothing until its freeze ends or is lifted."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg2
import pytest
import time_machine
from django.db import DatabaseError, IntegrityError, transaction
from django.urls import reverse

from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GamerFactory
from accounts.tests.staff import staff_client
from accounts.tests.threads import wait_until_blocked
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.identifiers import uuid7
from kgen.common.models import StaffAct
from wallet import claims, freezing, ledger, withdrawals
from wallet.freezing import AlreadyFrozen, ExpiryNotAhead, NotFrozen, WalletFrozen
from wallet.models import Wallet, WalletFreeze, WalletTransaction
from wallet.reasons import NoReason
from wallet.tests.factories import KgenWalletFactory, WalletFactory
from wallet.tests.parallel import in_parallel, kinds
from wallet.tests.settling import START
from wallet.tests.test_admin import page, panels, text, texts
from wallet.tests.test_flows import Refused
from wallet.tests.test_ledger_guards import refused

HOUR = timedelta(hours=1)
LATER = START + HOUR


def new_wallet(**filled: int) -> Wallet:
    """A wallet that may withdraw."""
    gamer = GamerFactory.create(linked=True, game__min_withdrawal=1)
    KgenWalletFactory.create(account=gamer.kgen_account)
    wallet: Wallet = WalletFactory.create(gamer=gamer, **filled)
    return wallet


def freeze(wallet: Wallet, **changed: Any) -> WalletFreeze:
    wanted = {"reason": "stolen phone", "by": "sam", "now": START, "until": None, **changed}
    return freezing.freeze(wallet=wallet, **wanted)


def unfreeze(wallet: Wallet, **changed: Any) -> WalletFreeze:
    return freezing.unfreeze(
        wallet=wallet, **{"reason": "phone is back", "by": "ada", "now": LATER, **changed}
    )


def claim(wallet: Wallet, amount: int = 1, *, now: datetime = START) -> WalletTransaction:
    with transaction.atomic():
        return claims.credit(
            wallet=wallet, amount=amount, reference=uuid7(), description="", now=now
        )


def withdraw(wallet: Wallet, *, now: datetime = START) -> withdrawals.Withdrawal:
    return withdrawals.withdraw(gamer=wallet.gamer, now=now)


def is_frozen(wallet: Wallet, *, now: datetime) -> bool:
    return freezing.freeze_in_force(Wallet.objects.get(pk=wallet.pk), now=now) is not None


def history(wallet: Wallet) -> list[Any]:
    return list(wallet.freezes.order_by("pk").values())


# --- Freeze, expiry, unfreeze --------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("until", [None, LATER])
def test_freeze_stops_claims_and_withdrawals(until):
    wallet = new_wallet(earned=1000, claimable=60)

    made = freeze(wallet, until=until, reason="  stolen phone ")

    with Refused(WalletFrozen) as refusal:
        claim(wallet, 60)
    assert (refusal.raised.code, refusal.raised.details) == (
        "GAMER_BLOCKED",
        {"reason": "WALLET_FROZEN"},
    )
    with Refused(WalletFrozen):
        withdraw(wallet)
    assert history(wallet) == [
        {
            "id": made.pk,
            "wallet_id": wallet.pk,
            "reason": "stolen phone",
            "frozen_by": "sam",
            "frozen_at": START,
            "expires_at": until,
            "lifted_by": "",
            "lifted_at": None,
            "lift_reason": "",
        }
    ]


@pytest.mark.django_db
def test_freeze_ends_by_the_clock_alone():
    wallet = new_wallet(claimable=60)
    freeze(wallet, until=LATER)

    with Refused(WalletFrozen):
        claim(wallet, 60, now=LATER - timedelta(microseconds=1))
    claim(wallet, 60, now=LATER)

    assert ledger.balances(wallet.pk).earned == 60


@pytest.mark.django_db
def test_unfrozen_wallet_claims_and_withdraws_again():
    wallet = new_wallet(claimable=60)
    freeze(wallet)

    lifted = unfreeze(wallet)

    assert (lifted.lifted_by, lifted.lifted_at, lifted.lift_reason) == (
        "ada",
        LATER,
        "phone is back",
    )
    claim(wallet, 60, now=LATER)
    assert withdraw(wallet, now=LATER).amount == 60


@pytest.mark.django_db
def test_wallet_is_frozen_again_after_each_end_and_keeps_its_history():
    wallet = new_wallet()

    freeze(wallet, until=START + HOUR)
    freeze(wallet, now=START + 2 * HOUR, until=START + 9 * HOUR)
    unfreeze(wallet, now=START + 3 * HOUR)
    freeze(wallet, now=START + 3 * HOUR, reason="again")

    assert [(one["frozen_at"], one["expires_at"], one["lifted_at"]) for one in history(wallet)] == [
        (START, START + HOUR, None),
        (START + 2 * HOUR, START + 9 * HOUR, START + 3 * HOUR),
        (START + 3 * HOUR, None, None),
    ]
    assert is_frozen(wallet, now=START + 1000 * HOUR)


@pytest.mark.django_db
def test_withdrawal_under_way_is_not_stopped():
    wallet = new_wallet(earned=1000)
    done = withdraw(wallet)

    freeze(wallet)
    ledger.settle(done.transaction_uid)

    assert ledger.balances(wallet.pk) == ledger.Balances(0, 0, 0, 0, 0, 0)


@pytest.mark.django_db
def test_freeze_is_one_wallets_alone():
    frozen, other = new_wallet(claimable=60), new_wallet(claimable=60)

    freeze(frozen)

    claim(other, 60)
    assert not is_frozen(other, now=START)


@pytest.mark.django_db
@pytest.mark.parametrize("until", [None, LATER])
def test_frozen_wallet_is_not_frozen_again(until):
    wallet = new_wallet()
    freeze(wallet, until=until)
    before = history(wallet)

    with Refused(AlreadyFrozen):
        freeze(wallet, reason="twice", now=START + timedelta(minutes=1), until=LATER)

    assert history(wallet) == before


@pytest.mark.django_db
@pytest.mark.parametrize("until", [START, START - timedelta(microseconds=1)])
def test_freeze_that_is_over_already_is_refused(until):
    wallet = new_wallet()

    with Refused(ExpiryNotAhead):
        freeze(wallet, until=until)

    assert history(wallet) == []


@pytest.mark.django_db
@pytest.mark.parametrize("reason", ["", " \n\t", "x" * 501])
def test_freeze_and_unfreeze_need_a_reason(reason):
    wallet, frozen = new_wallet(), new_wallet()
    freeze(frozen)
    before = history(frozen)

    with Refused(NoReason):
        freeze(wallet, reason=reason)
    with Refused(NoReason):
        unfreeze(frozen, reason=reason)

    assert (history(wallet), history(frozen)) == ([], before)


@pytest.mark.django_db
@pytest.mark.parametrize("ended", ["never frozen", "expired", "lifted"])
def test_wallet_that_is_not_frozen_is_not_unfrozen(ended):
    wallet = new_wallet()
    if ended == "expired":
        freeze(wallet, until=LATER)
    if ended == "lifted":
        freeze(wallet)
        unfreeze(wallet, now=START)
    before = history(wallet)

    with Refused(NotFrozen):
        unfreeze(wallet, now=LATER)

    assert history(wallet) == before


@pytest.mark.django_db
def test_wallet_that_was_never_frozen_costs_no_query(django_assert_num_queries):
    wallet = Wallet.objects.get(pk=new_wallet().pk)

    with django_assert_num_queries(0):
        freezing.refuse_frozen(wallet, now=START)


# --- What the database refuses -------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wallet_walletfreeze SET reason = 'prettier'",
        "UPDATE wallet_walletfreeze SET frozen_by = 'somebody'",
        "UPDATE wallet_walletfreeze SET expires_at = now()",
        "UPDATE wallet_walletfreeze SET wallet_id = wallet_id + 1",
        "DELETE FROM wallet_walletfreeze",
        "TRUNCATE wallet_walletfreeze CASCADE",
    ],
)
def test_application_may_not_rewrite_a_freeze(statement):
    wallet = new_wallet()
    freeze(wallet)
    before = history(wallet)

    assert refused(statement) == "42501"
    assert history(wallet) == before


@pytest.mark.django_db
def test_lifted_freeze_is_not_lifted_otherwise():
    wallet = new_wallet()
    freeze(wallet)
    unfreeze(wallet)
    before = history(wallet)

    for change in ({"lifted_by": "somebody"}, {"lifted_at": None, "lifted_by": ""}):
        with pytest.raises(DatabaseError, match="lifted once"), transaction.atomic():
            WalletFreeze.objects.update(**change)

    assert history(wallet) == before


def made_of(wallet: Wallet, **changed: Any) -> WalletFreeze:
    return WalletFreeze(
        **{
            "wallet": wallet,
            "reason": "stolen phone",
            "frozen_by": "sam",
            "frozen_at": START,
            **changed,
        }
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("constraint", "changed"),
    [
        ("wallet_freeze_by_somebody_for_a_reason", {"reason": " "}),
        ("wallet_freeze_by_somebody_for_a_reason", {"frozen_by": ""}),
        ("wallet_freeze_expires_later", {"expires_at": START}),
        ("wallet_freeze_lifted_by_somebody_for_a_reason", {"lifted_at": LATER}),
        ("wallet_freeze_lifted_by_somebody_for_a_reason", {"lift_reason": "no time"}),
        (
            "wallet_freeze_lifted_by_somebody_for_a_reason",
            {"lifted_at": START - HOUR, "lifted_by": "ada", "lift_reason": "before"},
        ),
        (
            "wallet_freeze_lifted_by_somebody_for_a_reason",
            {
                "expires_at": LATER,
                "lifted_at": LATER,
                "lifted_by": "ada",
                "lift_reason": "after its end",
            },
        ),
    ],
)
def test_database_refuses_a_freeze_that_says_too_little(constraint, changed):
    wallet = new_wallet()

    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        made_of(wallet, **changed).save()

    assert history(wallet) == []


@pytest.mark.django_db
@pytest.mark.parametrize("until", [None, LATER])
def test_database_refuses_two_freezes_at_one_time(until):
    wallet = new_wallet()
    freeze(wallet, until=until)
    before = history(wallet)

    with pytest.raises(IntegrityError, match="wallet_freeze_one_at_a_time"), transaction.atomic():
        made_of(wallet, frozen_at=LATER - timedelta(microseconds=1), expires_at=None).save()

    assert history(wallet) == before


@pytest.mark.django_db
def test_database_lets_a_wallet_forget_no_freeze():
    wallet, other = new_wallet(), new_wallet()
    freeze(wallet)
    anothers = freeze(other)

    for wanted in (None, anothers):
        with pytest.raises(DatabaseError, match="newest freeze"), transaction.atomic():
            Wallet.objects.filter(pk=wallet.pk).update(freeze=wanted)

    assert is_frozen(wallet, now=START)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wallet_walletfreeze SET reason = 'prettier'",
        "DELETE FROM wallet_walletfreeze",
        "TRUNCATE wallet_walletfreeze CASCADE",
    ],
)
def test_owner_may_not_rewrite_a_freeze_either(owner, statement):
    with transaction.atomic():
        wallet = new_wallet()
    freeze(wallet)
    before = history(wallet)

    with pytest.raises(psycopg2.Error) as refusal, owner.cursor() as cursor:
        cursor.execute(statement)

    assert refusal.value.pgcode == "LG001"
    assert history(wallet) == before


# --- At once -------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [withdraw, partial(claim, amount=60)])
def test_what_waits_for_a_freeze_is_refused(committed_database, act):
    with transaction.atomic():
        wallet = new_wallet(earned=1000, claimable=60)
    before = ledger.balances(wallet.pk)

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            freeze(wallet)
            acted = thread.submit(in_parallel, [partial(act, wallet)])
            wait_until_blocked()
        assert kinds(acted.result()) == ["WalletFrozen"]

    assert ledger.balances(wallet.pk) == before
    assert not WalletTransaction.objects.exists()


@pytest.mark.parametrize("act", [withdraw, partial(claim, amount=60)])
def test_freeze_waits_for_what_was_first(committed_database, act):
    with transaction.atomic():
        wallet = new_wallet(earned=1000, claimable=60)

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            act(wallet)
            frozen = thread.submit(in_parallel, [partial(freeze, wallet)])
            wait_until_blocked()
        assert kinds(frozen.result()) == ["WalletFreeze"]

    assert WalletTransaction.objects.count() == 1
    assert is_frozen(wallet, now=START)


def test_nothing_is_committed_once_freeze_has_returned(committed_database):
    with transaction.atomic():
        wallet = new_wallet(claimable=10_000)
    when_frozen: list[int] = []

    def claim_until_frozen() -> int:
        for claimed in range(1000):
            try:
                claim(wallet)
            except WalletFrozen:
                return claimed
        raise AssertionError("never frozen")

    def freeze_soon() -> int:
        while WalletTransaction.objects.count() < 20:
            pass
        freeze(wallet)
        when_frozen.append(WalletTransaction.objects.count())
        return 0

    claimed = in_parallel([claim_until_frozen] * 4 + [freeze_soon])

    assert when_frozen == [sum(claimed)] == [WalletTransaction.objects.count()]
    assert ledger.balances(wallet.pk).earned == sum(claimed)


def test_wallet_frozen_by_two_at_once_is_frozen_once(committed_database):
    with transaction.atomic():
        wallet = new_wallet()

    outcomes = in_parallel([partial(freeze, wallet)] * 6)

    assert kinds(outcomes) == ["AlreadyFrozen"] * 5 + ["WalletFreeze"]
    assert len(history(wallet)) == 1


# --- Over the API --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_game_is_told_that_the_wallet_is_frozen_and_not_why():
    wallet = new_wallet(earned=1000)
    client = GameClient(wallet.gamer.game).as_gamer(wallet.gamer)
    now = datetime.now(UTC)
    freeze(wallet, reason="suspected of cheating", now=now, until=now + HOUR)

    answer = client.post("/wallet/_withdraw")

    assert answer.status_code == 403
    assert "cheating" not in answer.content.decode()
    assert error_body(answer) == {
        "error": "GAMER_BLOCKED",
        "details": {"reason": "WALLET_FROZEN"},
    }
    with time_machine.travel(now + HOUR):
        assert client.post("/wallet/_withdraw").status_code == 200


# --- The console ---------------------------------------------------------------------------------


@pytest.fixture
def support(db):
    return staff_client(SUPPORT)


def act_on(client: Any, wallet: Wallet, act: str, **data: str) -> Any:
    return client.post(reverse(f"admin:wallet_wallet_{act}", args=[wallet.pk]), data)


NOW = datetime(2026, 3, 5, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "until", "logged"),
    [
        ({"length": "1 day"}, NOW + timedelta(days=1), "length 1 day"),
        ({"length": "7 days"}, NOW + timedelta(days=7), "length 7 days"),
        ({"length": "30 days"}, NOW + timedelta(days=30), "length 30 days"),
        ({"length": "until it is lifted"}, None, "length until it is lifted"),
        (
            {"length": "until the end of a day", "last_day": "2026-03-05"},
            datetime(2026, 3, 5, 23, 59, 59, tzinfo=UTC),
            "last day 2026-03-05, length until the end of a day",
        ),
    ],
)
def test_support_freezes_with_reason_and_expiry(support, asked, until, logged):
    wallet = new_wallet()

    with time_machine.travel(NOW, tick=False):
        act_on(support, wallet, "freeze", reason="stolen phone", **asked)

    made = WalletFreeze.objects.get()
    assert (made.wallet, made.reason, made.frozen_at, made.expires_at) == (
        wallet,
        "stolen phone",
        NOW,
        until,
    )
    assert made.frozen_by.startswith("support-")
    assert StaffAct.objects.get().line() == f"Freeze ({logged}): stolen phone"


@pytest.mark.parametrize(
    "asked",
    [
        {"length": "1 day", "reason": ""},
        {"length": "1 day", "reason": "  "},
        {"length": "", "reason": "stolen"},
        {"length": "for ever", "reason": "stolen"},
        {"length": "until the end of a day", "reason": "stolen"},
        {"length": "until the end of a day", "last_day": "soon", "reason": "stolen"},
        {"length": "until the end of a day", "last_day": "2026-03-04", "reason": "stolen"},
        {"length": "until the end of a day", "last_day": "10000-01-01", "reason": "stolen"},
        {"length": "1 day", "last_day": "2026-03-09", "reason": "stolen"},
    ],
)
def test_freeze_that_says_too_little_is_asked_for_again(support, asked):
    wallet = new_wallet()

    with time_machine.travel(NOW, tick=False):
        answer = act_on(support, wallet, "freeze", **asked)

    form = answer.context["form"]
    assert (answer.status_code, bool(form.errors)) == (200, True)
    assert not WalletFreeze.objects.exists()
    assert not StaffAct.objects.exists()


def test_support_unfreezes_with_a_reason(support):
    wallet = new_wallet()
    freeze(wallet, now=NOW)

    with time_machine.travel(NOW + HOUR, tick=False):
        act_on(support, wallet, "unfreeze", reason="")
        still_frozen = is_frozen(wallet, now=NOW + HOUR)
        act_on(support, wallet, "unfreeze", reason="phone is back")

    assert still_frozen
    (lifted,) = history(wallet)
    assert (lifted["lifted_at"], lifted["lift_reason"]) == (NOW + HOUR, "phone is back")
    assert StaffAct.objects.get().line() == "Unfreeze: phone is back"


def test_only_the_act_that_is_possible_is_offered(support):
    wallet = new_wallet()

    def offered(now):
        with time_machine.travel(now, tick=False):
            acts = support.get(page(wallet)).context["acts"]
        return {act.name for act, _ in acts} & {"freeze", "unfreeze"}

    before = offered(NOW)
    freeze(wallet, now=NOW, until=NOW + HOUR)

    assert (before, offered(NOW), offered(NOW + HOUR)) == ({"freeze"}, {"unfreeze"}, {"freeze"})


@pytest.mark.parametrize("role", [OPERATORS, FINANCE])
@pytest.mark.parametrize("act", ["freeze", "unfreeze"])
@pytest.mark.django_db
def test_others_may_neither_freeze_nor_unfreeze(role, act):
    wallet = new_wallet()
    if act == "unfreeze":
        freeze(wallet)
    before = history(wallet)

    answer = act_on(staff_client(role), wallet, act, reason="no", length="1 day")

    assert answer.status_code == 403
    assert history(wallet) == before


def test_pages_say_until_when_a_wallet_is_frozen_and_why(support):
    dated, undated, lapsed, never = (new_wallet() for _ in range(4))
    freeze(dated, now=NOW, until=NOW + HOUR)
    freeze(undated, now=NOW, reason="bot <farm>")
    freeze(lapsed, now=NOW - 2 * HOUR, until=NOW)

    with time_machine.travel(NOW, tick=False):
        listed = support.get("/admin/wallet/wallet/", {"state": "frozen"}).context["cl"].queryset
        left = support.get("/admin/wallet/wallet/", {"state": "open"}).context["cl"].queryset
        shown = support.get(page(undated)).content.decode()
        summed = support.get(reverse("admin:accounts_gamer_change", args=[dated.gamer_id]))
        freezes = texts(panels(support, lapsed)["Freezes"])
        empty = panels(support, never)["Freezes"]

    assert set(listed) == {dated, undated}
    assert set(left) == {lapsed, never}
    assert "frozen until it is lifted</span> bot &lt;farm&gt;" in shown
    ((_, state, *_),) = dict(summed.context["panels"])["Wallet"].rows
    assert text(state) == "frozen until 2026-03-05 16:30 UTC stolen phone"
    assert freezes == [
        [
            "2026-03-05 13:30:00 UTC",
            "sam",
            "stolen phone",
            "2026-03-05 15:30:00 UTC",
            "over",
            "-",
            "-",
            "-",
        ]
    ]
    assert (empty.rows, empty.empty) == ([], "Never frozen.")
