"""A correction is asked for by one member of staff, decided by another, and posted once."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg2
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.urls import reverse

from accounts.tests.api import GameClient
from accounts.tests.staff import staff_client, staff_user
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.identifiers import uuid7
from kgen.common.models import StaffAct
from wallet import corrections, custody, freezing, ledger, reconciliation, transactions
from wallet.corrections import AlreadyDecided, NotCorrectable, SamePerson
from wallet.ledger import BadPosting, Balances, Bucket, InsufficientFunds, Kind, Leg
from wallet.models import Correction, Payout, Transfer, Wallet, WalletTransaction
from wallet.reasons import NoReason
from wallet.settlement import batching
from wallet.tests.factories import WalletFactory
from wallet.tests.parallel import in_parallel, kinds
from wallet.tests.settling import START, give_bonus, status, win
from wallet.tests.soundness import assert_sound
from wallet.tests.test_admin import page, panels, text, texts
from wallet.tests.test_flows import FLOAT, Refused
from wallet.tests.test_ledger_guards import refused

CREDIT, DEBIT = WalletTransaction.Direction.CREDIT, WalletTransaction.Direction.DEBIT


@pytest.fixture
def sam(db) -> User:
    return staff_user(username="sam")


@pytest.fixture
def ada(db) -> User:
    return staff_user(username="ada")


def new_wallet(**filled: int) -> Wallet:
    wallet: Wallet = WalletFactory.create(**filled)
    return wallet


def ask(wallet: Wallet, by: User, **changed: Any) -> Correction:
    wanted = {
        "bucket": Bucket.EARNED,
        "direction": CREDIT,
        "amount": 240,
        "reason": "prize of a lost score",
        "now": START,
        **changed,
    }
    return corrections.ask(wallet=wallet, by=by, **wanted)


def approve(correction: Correction, by: User, *, reason: str = "seen the score") -> Correction:
    return corrections.approve(correction=correction, reason=reason, by=by, now=START)


def reject(correction: Correction, by: User, *, reason: str = "scored twice") -> Correction:
    return corrections.reject(correction=correction, reason=reason, by=by, now=START)


def kept() -> list[Any]:
    return list(Correction.objects.order_by("pk").values())


@contextmanager
def refuses(error: type[Exception]) -> Iterator[Refused]:
    """Neither money nor a correction changes."""
    before = kept()
    with Refused(error) as refusal:
        yield refusal
    assert kept() == before


def findings() -> list[object]:
    return [finding for audit in reconciliation.AUDITS for finding in audit.find()]


# --- Asked for, and decided ----------------------------------------------------------------------


def test_asking_moves_nothing(sam):
    wallet = new_wallet(earned=10)

    asked = ask(wallet, sam, reason=" prize of a lost score\n")

    assert kept() == [
        {
            "id": asked.pk,
            "wallet_id": wallet.pk,
            "bucket": "earned",
            "direction": "CREDIT",
            "amount": 240,
            "reason": "prize of a lost score",
            "asked_by_id": sam.pk,
            "asked_at": START,
            "state": "ASKED",
            "decided_by_id": None,
            "decided_at": None,
            "decision_reason": "",
            "transaction_id": None,
        }
    ]
    assert ledger.balances(wallet.pk) == Balances(0, 0, 10, 0, 0, 0)
    assert not WalletTransaction.objects.exists()


@pytest.mark.parametrize("bucket", ledger.SPENDABLE)
@pytest.mark.parametrize(("direction", "after"), [(CREDIT, 740), (DEBIT, 260)])
def test_approval_posts_between_treasury_and_bucket(sam, ada, bucket, direction, after):
    wallet = new_wallet(**{bucket.value: 500})
    account = ledger.wallet_account(wallet.pk, bucket)
    asked = ask(wallet, sam, bucket=bucket, direction=direction)

    done = approve(asked, ada)

    assert getattr(ledger.balances(wallet.pk), bucket) == after
    entry = WalletTransaction.objects.values().get()
    assert entry == {
        "uid": done.transaction_id,
        "wallet_id": wallet.pk,
        "seq": 1,
        "type": "ADJUST",
        "direction": direction,
        "amount": 240,
        "counterparty": FLOAT,
        "name": "Correction",
        "description": "Correction by support",
        "sync_status": "PENDING",
        "sync_error": None,
        "payout_id": None,
        "reverses_id": None,
        "created_at": START,
        "modified_at": START,
    }
    debit, credit = (
        (ledger.TREASURY, account) if direction == CREDIT else (account, ledger.TREASURY)
    )
    moved = Transfer.objects.filter(posting_id=entry["uid"])
    assert list(moved.values_list("phase", "kind", "debit_id", "credit_id", "amount")) == [
        (0, "ADJUST", debit, credit, 240)
    ]
    (row,) = kept()
    assert (row["state"], row["decided_by_id"], row["decided_at"], row["decision_reason"]) == (
        "APPROVED",
        ada.pk,
        START,
        "seen the score",
    )


def test_corrected_books_are_right(sam, ada):
    wallet = new_wallet()
    give_bonus(wallet)
    win(wallet, 100)

    approve(ask(wallet, sam), ada)
    approve(ask(wallet, ada, bucket=Bucket.BONUS, direction=DEBIT, amount=50), sam)
    reject(ask(wallet, sam, direction=DEBIT, amount=1), ada)
    ask(wallet, sam)

    assert ledger.balances(wallet.pk) == Balances(0, 0, 340, 0, 0, 0)
    assert findings() == []


def test_rejection_moves_nothing(sam, ada):
    wallet = new_wallet(earned=10)
    asked = ask(wallet, sam)

    reject(asked, ada)

    (row,) = kept()
    assert (row["state"], row["decided_by_id"], row["decision_reason"], row["transaction_id"]) == (
        "REJECTED",
        ada.pk,
        "scored twice",
        None,
    )
    assert ledger.balances(wallet.pk) == Balances(0, 0, 10, 0, 0, 0)
    assert not WalletTransaction.objects.exists()


def test_frozen_wallet_is_corrected(sam, ada):
    wallet = new_wallet()
    freezing.freeze(wallet=wallet, reason="stolen phone", by="sam", now=START)

    approve(ask(wallet, sam), ada)

    assert ledger.balances(wallet.pk).earned == 240


def test_chain_follows_a_correction_either_way(sam, ada, engine):
    wallet = new_wallet()
    give_bonus(wallet)
    given = approve(ask(wallet, sam), ada).transaction
    taken = approve(ask(wallet, sam, direction=DEBIT, amount=200), ada).transaction

    engine.settle_all()

    assert given is not None
    assert taken is not None
    assert (status(given), status(taken)) == ("COMPLETED", "COMPLETED")
    assert engine.onchain(wallet) == ledger.balances(wallet.pk).onchain == 90
    assert findings() == []


def test_corrections_go_to_and_from_the_float(sam, ada):
    given, taken = new_wallet(), new_wallet(earned=500)
    approve(ask(given, sam), ada)
    approve(ask(taken, sam, direction=DEBIT), ada)

    batching.group_transactions(now=START + timedelta(hours=settings.NET_MAX_HOURS, minutes=1))

    assert list(
        Payout.objects.order_by("wallet").values_list(
            "kind", "from_address", "to_address", "amount"
        )
    ) == [("IN", FLOAT, given.address, 240), ("OUT", taken.address, FLOAT, 240)]


def test_game_reads_the_correction_and_not_its_reason(sam, ada):
    wallet = new_wallet()
    approve(ask(wallet, sam, reason="suspected of cheating"), ada)

    answer = (
        GameClient(wallet.gamer.game)
        .as_gamer(wallet.gamer)
        .get(f"/wallet/lazyChain/transactions/{wallet.address}")
    )

    (shown,) = answer.json()["toTransactions"]
    assert (shown["description"]["type"], shown["sync_status"]) == ("ADJUST", "PENDING")
    assert "cheating" not in answer.content.decode()


# --- Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "amount", [0, -1, 1.0, 2.5, float("nan"), float("inf"), True, "10", None, 10**78]
)
def test_amount_that_is_none_is_refused(sam, amount):
    wallet = new_wallet(earned=500)

    with refuses(BadPosting):
        ask(wallet, sam, amount=amount)


@pytest.mark.parametrize("bucket", [Bucket.CLAIMABLE, Bucket.HOLD, Bucket.ONCHAIN, Bucket.MINT])
def test_other_buckets_are_not_corrected(sam, bucket):
    wallet = new_wallet(claimable=500, hold=500, onchain=500)

    with refuses(NotCorrectable):
        ask(wallet, sam, bucket=bucket, amount=1)


@pytest.mark.parametrize("reason", ["", " \n", "x" * 501])
@pytest.mark.parametrize("act", [ask, approve, reject])
def test_each_step_needs_a_reason(sam, ada, act, reason):
    wallet = new_wallet()
    asked = ask(wallet, sam)

    with refuses(NoReason):
        act(wallet if act is ask else asked, ada, reason=reason)


@pytest.mark.parametrize("decide", [approve, reject])
def test_nobody_decides_what_they_asked_for(sam, decide):
    wallet = new_wallet()
    asked = ask(wallet, sam)

    with refuses(SamePerson):
        decide(asked, sam)


@pytest.mark.parametrize("decide", [approve, reject])
@pytest.mark.parametrize("name", ["ada", "SAM", "\u0455am"])
def test_another_name_is_no_other_person(sam, decide, name):
    asked = ask(new_wallet(), sam)
    User.objects.filter(pk=sam.pk).update(username=name)

    with refuses(SamePerson):
        decide(asked, User.objects.get(username=name))


def test_who_asked_cannot_be_deleted_and_come_back(sam):
    ask(new_wallet(), sam)

    with pytest.raises(ProtectedError):
        sam.delete()


@pytest.mark.parametrize("second", [approve, reject])
@pytest.mark.parametrize("first", [approve, reject])
def test_decision_is_final(sam, ada, first, second):
    asked = ask(new_wallet(), sam)
    first(asked, ada)

    with refuses(AlreadyDecided) as refusal:
        second(asked, ada)

    assert refusal.raised.details == {"state": "APPROVED" if first is approve else "REJECTED"}


def test_debit_beyond_the_bucket_is_not_asked_for(sam):
    wallet = new_wallet(bonus=900, earned=239)

    with refuses(InsufficientFunds) as refusal:
        ask(wallet, sam, direction=DEBIT)

    assert refusal.raised.available == 239
    assert str(refusal.raised) == "The earned balance is 239 KCash: less than that."


def test_debit_beyond_what_is_left_is_not_approved(sam, ada):
    wallet = new_wallet(earned=300)
    first, second = (ask(wallet, sam, direction=DEBIT) for _ in range(2))
    approve(first, ada)

    with refuses(InsufficientFunds) as refusal:
        approve(second, ada)

    assert refusal.raised.available == 60
    reject(second, ada)


def test_bucket_that_would_overflow_is_not_credited(sam, ada):
    wallet = new_wallet(earned=1)
    asked = ask(wallet, sam, amount=10**78 - 1)

    with refuses(BadPosting):
        approve(asked, ada)


# --- What the database refuses -------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wallet_correction SET amount = 1000000",
        "UPDATE wallet_correction SET bucket = 'bonus'",
        "UPDATE wallet_correction SET direction = 'DEBIT'",
        "UPDATE wallet_correction SET asked_by_id = asked_by_id + 1",
        "UPDATE wallet_correction SET reason = 'prettier'",
        "UPDATE wallet_correction SET wallet_id = wallet_id + 1",
        "DELETE FROM wallet_correction",
        "TRUNCATE wallet_correction",
    ],
)
def test_application_may_not_rewrite_a_correction(sam, statement):
    ask(new_wallet(), sam)
    before = kept()

    assert refused(statement) == "42501"
    assert kept() == before


@pytest.mark.parametrize("decide", [approve, reject])
def test_application_may_not_decide_again(sam, ada, decide):
    decide(ask(new_wallet(), sam), ada)
    before = kept()

    for change in (
        "decision_reason = 'prettier'",
        "decided_by_id = decided_by_id",
        "state = 'ASKED', decided_by_id = NULL, decided_at = NULL",
        "state = 'REJECTED', transaction_id = NULL",
    ):
        assert refused(f"UPDATE wallet_correction SET {change}") == "LG001"  # noqa: S608

    assert kept() == before


@contextmanager
def violates(constraint: str) -> Iterator[None]:
    """The database refuses, naming the constraint."""
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        yield
    assert refusal.value.__cause__.diag.constraint_name == constraint  # type: ignore[union-attr]


def rejected(by: User) -> dict[str, Any]:
    return {
        "state": "REJECTED",
        "decided_by": by,
        "decided_at": START,
        "decision_reason": "scored twice",
    }


@pytest.mark.parametrize(
    ("constraint", "changed"),
    [
        ("correction_is_decided_by_another", lambda sam, ada: rejected(sam)),
        ("correction_state_agrees", lambda sam, ada: {"state": "REJECTED"}),
        ("correction_state_agrees", lambda sam, ada: {"decided_by": ada}),
        ("correction_state_agrees", lambda sam, ada: {**rejected(ada), "decision_reason": " "}),
        ("correction_state_agrees", lambda sam, ada: {**rejected(ada), "state": "PAID"}),
        # Without a posting: none at all, and one that was never made.
        ("correction_is_posted", lambda sam, ada: {**rejected(ada), "state": "APPROVED"}),
        (
            "correction_is_posted",
            lambda sam, ada: {**rejected(ada), "state": "APPROVED", "transaction_id": uuid7()},
        ),
    ],
)
def test_database_refuses_half_a_decision(sam, ada, constraint, changed):
    asked = ask(new_wallet(), sam)
    before = kept()

    with violates(constraint):
        Correction.objects.filter(pk=asked.pk).update(**changed(sam, ada))

    assert kept() == before


@pytest.mark.parametrize(
    "posted",
    [
        {"amount": 241},
        {"bucket": Bucket.BONUS},
        {"kind": Kind.GRANT},
        {"source": ledger.MINT},
        {"whose": "another's"},
        {"reversed": True},
    ],
)
def test_database_refuses_approval_with_another_posting(sam, ada, posted):
    wallet, others = new_wallet(earned=1000), new_wallet()
    asked = ask(wallet, sam)
    before = kept()

    target = others if "whose" in posted else wallet
    account = ledger.wallet_account(target.pk, posted.get("bucket", Bucket.EARNED))
    source = posted.get("source", ledger.TREASURY)
    debit, credit = (account, source) if "reversed" in posted else (source, account)
    with violates("correction_is_posted"):
        entry = transactions.record(
            WalletTransaction.Type.ADJUST,
            CREDIT,
            wallet=wallet,
            uid=uuid7(),
            amount=240,
            counterparty=FLOAT,
            description="",
            now=START,
        )
        ledger.post(
            [Leg(debit, credit, posted.get("amount", 240), posted.get("kind", Kind.ADJUST))],
            posting_id=entry.uid,
        )
        Correction.objects.filter(pk=asked.pk).update(
            **{**rejected(ada), "state": "APPROVED", "transaction": entry}
        )

    assert kept() == before


@pytest.mark.parametrize(
    ("constraint", "changed"),
    [
        ("correction_bucket_is_spendable", {"bucket": "hold"}),
        ("correction_direction_is_known", {"direction": "BOTH"}),
        ("correction_amount_is_positive", {"amount": 0}),
        ("correction_has_a_reason", {"reason": " "}),
        ("correction_is_asked_for_first", {"state": "REJECTED"}),
    ],
)
def test_database_refuses_what_is_no_correction(sam, constraint, changed):
    wanted = {
        "wallet": new_wallet(),
        "bucket": "earned",
        "direction": "CREDIT",
        "amount": 240,
        "reason": "prize of a lost score",
        "asked_by": sam,
        "asked_at": START,
        **changed,
    }

    with violates(constraint):
        Correction.objects.create(**wanted)

    assert kept() == []


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE wallet_correction SET amount = 1000000", "LG001"),
        ("UPDATE wallet_correction SET decision_reason = 'prettier'", "LG001"),
        ("DELETE FROM wallet_correction", "LG001"),
        ("TRUNCATE wallet_correction", "LG001"),
    ],
)
def test_owner_may_not_rewrite_a_correction_either(owner, statement, code):
    with transaction.atomic():
        wallet, one, other = new_wallet(), staff_user(), staff_user(username="ada")
    approve(ask(wallet, one), other)
    before = kept()

    with pytest.raises(psycopg2.Error) as refusal, owner.cursor() as cursor:
        cursor.execute(statement)

    assert refusal.value.pgcode == code
    assert kept() == before


# --- The audit -----------------------------------------------------------------------------------


def test_adjustment_that_nobody_approved_is_found(sam, ada):
    wallet = new_wallet()
    posting = uuid7()
    approve(ask(wallet, sam), ada)

    ledger.post(
        [
            Leg(
                ledger.TREASURY,
                ledger.wallet_account(wallet.pk, Bucket.EARNED),
                7,
                Kind.ADJUST,
            )
        ],
        posting_id=posting,
    )

    assert reconciliation.corrections_without_their_posting() == [
        reconciliation.Finding(f"posting {posting}", "ADJUST of 7 that nobody approved")
    ]


# --- At once -------------------------------------------------------------------------------------


def test_approved_by_many_at_once_is_posted_once(committed_database):
    with transaction.atomic():
        wallet = new_wallet(earned=500)
        asker, *others = [staff_user(username=name) for name in ("sam", "a", "b", "c", "d")]
    asked = ask(wallet, asker, direction=DEBIT)

    outcomes = in_parallel(
        [partial(approve, asked, by) for by in others] + [partial(reject, asked, others[0])]
    )

    assert kinds(outcomes) == ["AlreadyDecided"] * 4 + ["Correction"]
    (done,) = (outcome for outcome in outcomes if isinstance(outcome, Correction))
    is_posted = done.state == "APPROVED"
    assert Transfer.objects.filter(kind="ADJUST").count() == is_posted
    assert WalletTransaction.objects.count() == is_posted
    assert ledger.balances(wallet.pk).earned == (260 if is_posted else 500)
    assert reconciliation.corrections_without_their_posting() == []


def test_correction_and_fee_at_once_never_take_the_same_coin(committed_database):
    with transaction.atomic():
        wallet = new_wallet(earned=300)
        one, other = staff_user(), staff_user(username="ada")
        ledger.open_accounts(ledger.Owner.TOURNAMENT, 1, owner_uid=uuid7())
    pot = ledger.account_of(ledger.Owner.TOURNAMENT, 1, Bucket.POOL)
    asked = ask(wallet, one, direction=DEBIT)

    @transaction.atomic
    def pay():
        custody.lock(wallet.pk)
        return ledger.spend(
            wallet_id=wallet.pk, total=100, to=pot, posting_id=uuid7(), kind=Kind.ENTRY_FEE
        )

    outcomes = in_parallel([partial(approve, asked, other), pay])

    assert [type(one).__name__ for one in outcomes] in (
        ["Correction", "InsufficientFunds"],
        ["InsufficientFunds", "Outcome"],
    )
    assert ledger.balances(wallet.pk).earned in (60, 200)
    assert_sound()


# --- The console ---------------------------------------------------------------------------------


@pytest.fixture
def support(db):
    return staff_client(SUPPORT)


def correct(client: Any, wallet: Wallet, **changed: str) -> Any:
    data = {
        "bucket": "earned",
        "direction": "CREDIT",
        "amount": "240",
        "reason": "prize of a lost score",
        **changed,
    }
    return client.post(reverse("admin:wallet_wallet_correct", args=[wallet.pk]), data)


def decide(client: Any, correction: Correction, act: str, reason: str = "seen the score") -> Any:
    address = reverse(f"admin:wallet_correction_{act}", args=[correction.pk])
    return client.post(address, {"reason": reason})


@pytest.mark.parametrize("role", [SUPPORT, FINANCE])
def test_support_asks_and_somebody_else_approves(support, role):
    wallet = new_wallet(earned=10)
    other = staff_client(role)

    correct(support, wallet)
    asked = Correction.objects.get()
    before = ledger.balances(wallet.pk).earned
    address = reverse("admin:wallet_correction_approve", args=[asked.pk])
    consequences = other.get(address).context["consequences"]
    decide(other, asked, "approve")

    assert (before, ledger.balances(wallet.pk).earned) == (10, 250)
    assert consequences[0] == f"Earned balance of {wallet.gamer}: 10 → 250 KCash, at once."
    assert [entry.line() for entry in StaffAct.objects.order_by("pk")] == [
        "Correct balance (amount 240, bucket earned, direction CREDIT): prize of a lost score",
        "Approve: seen the score",
    ]


@pytest.mark.parametrize("act", ["approve", "reject"])
def test_whoever_asked_is_told_who_may_decide(support, act):
    wallet = new_wallet(earned=10)
    correct(support, wallet)
    asked = Correction.objects.get()
    before = kept()

    answer = decide(support, asked, act)

    assert answer.context["form"].non_field_errors() == [
        "You asked for this correction: somebody else of Support or Finance decides it."
    ]
    assert kept() == before
    assert ledger.balances(wallet.pk).earned == 10
    assert StaffAct.objects.count() == 1


def test_superuser_is_one_person_too(support):
    wallet = new_wallet()
    correct(support, wallet)
    User.objects.update(is_superuser=True)

    decide(support, Correction.objects.get(), "approve")

    assert Correction.objects.get().state == "ASKED"


def test_rejected_correction_is_closed(support):
    wallet = new_wallet(earned=10)
    correct(support, wallet)
    finance, asked = staff_client(FINANCE), Correction.objects.get()

    decide(finance, asked, "reject", "scored twice")
    decide(finance, asked, "approve")

    assert Correction.objects.get().state == "REJECTED"
    assert ledger.balances(wallet.pk).earned == 10
    assert finance.get(page(asked)).context["acts"] == []


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": "0"},
        {"amount": "-1"},
        {"amount": "1.5"},
        {"amount": "NaN"},
        {"amount": "1e3"},
        {"amount": "9" * 79},
        {"amount": "9" * 5000},
        {"amount": ""},
        {"bucket": "claimable"},
        {"direction": "BOTH"},
        {"reason": ""},
        {"reason": " "},
        {"direction": "DEBIT", "amount": "11"},
    ],
)
def test_correction_that_is_none_is_asked_for_again(support, changed):
    wallet = new_wallet(earned=10)

    answer = correct(support, wallet, **changed)

    assert (answer.status_code, bool(answer.context["form"].errors)) == (200, True)
    assert kept() == []
    assert not StaffAct.objects.exists()


@pytest.mark.django_db
def test_operators_and_finance_may_not_ask():
    for role in (OPERATORS, FINANCE):
        assert correct(staff_client(role), new_wallet()).status_code == 403

    assert kept() == []


@pytest.mark.parametrize("act", ["approve", "reject"])
def test_operators_may_not_decide(support, act):
    correct(support, new_wallet())

    answer = decide(staff_client(OPERATORS), Correction.objects.get(), act)

    assert answer.status_code == 403
    assert Correction.objects.get().state == "ASKED"


def test_corrections_can_be_read_and_nothing_else(support, sam):
    asked = ask(new_wallet(), sam)
    before = kept()

    assert support.get(page(asked)).status_code == 200
    assert support.post(page(asked), {"amount": "999"}).status_code == 403
    assert support.get("/admin/wallet/correction/add/").status_code == 403
    deleted = support.post(page(asked).replace("change", "delete"), {"post": "yes"})
    assert deleted.status_code == 403
    assert kept() == before


def test_list_is_filtered_by_state(support, sam, ada):
    wallet = new_wallet()
    waiting, approved, rejected_one = (ask(wallet, sam) for _ in range(3))
    approve(approved, ada)
    reject(rejected_one, ada)

    listed = support.get("/admin/wallet/correction/", {"state__exact": "ASKED"})

    assert list(listed.context["cl"].queryset) == [waiting]


@pytest.mark.parametrize("rows", [1, 3])
def test_pages_cost_the_same_queries_whatever_was_corrected(
    support, sam, ada, rows, django_assert_num_queries
):
    wallet = new_wallet()
    for _ in range(rows):
        done = approve(ask(wallet, sam), ada)

    with django_assert_num_queries(7):
        support.get("/admin/wallet/correction/")
    with django_assert_num_queries(7):
        support.get(page(done))


def test_wallet_page_shows_its_corrections(support, sam, ada):
    wallet = new_wallet()
    empty = panels(support, wallet)["Corrections"].rows
    approve(ask(wallet, sam), ada)
    ask(wallet, ada, bucket=Bucket.BONUS, amount=5, reason="bonus was late")

    shown = texts(panels(support, wallet)["Corrections"])

    assert empty == []
    when = "2026-01-01 00:00:00 UTC"
    assert shown == [
        [
            "+5 KCash, bonus",
            "bonus was late",
            "waits for a second person",
            when,
            "ada",
            "-",
            "-",
            "-",
        ],
        [
            "+240 KCash, earned",
            "prize of a lost score",
            "approved",
            when,
            "sam",
            when,
            "ada",
            "seen the score",
        ],
    ]


def test_correction_page_leads_to_wallet_and_transaction(support, sam, ada):
    done = approve(ask(new_wallet(), sam), ada)

    content = support.get(page(done)).content.decode()

    assert page(done.wallet) in content
    assert page(done.transaction) in content
    assert text(done) in content


def test_timeline_and_causes_tell_of_a_correction(support, sam, ada):
    wallet = new_wallet()
    approve(ask(wallet, sam), ada)
    approve(ask(wallet, sam, direction=DEBIT, amount=40), ada)

    shown = panels(support, wallet, kind="corrections")

    assert {row[1] for row in texts(shown["Timeline"])} == {
        "240 KCash correction by support, to earned",
        "40 KCash correction by support, from earned",
    }
    assert texts(shown["Why is my balance this?"])[2] == [
        "Earned",
        "200 KCash",
        "= + 240 corrections (1) - 40 corrections (1)",
    ]
