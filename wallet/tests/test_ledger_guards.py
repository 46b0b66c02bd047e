"""What the database itself refuses, to the application and to its owner."""

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from psycopg2.errors import CheckViolation, UniqueViolation

from kgen.common.database_roles import owner_settings
from kgen.common.identifiers import uuid7
from wallet import ledger, welcome_bonus
from wallet.models import LedgerAccount, Transfer, Wallet, WalletTransaction
from wallet.tests.factories import WalletFactory

TABLES = ("asset", "bucket", "account", "transfer", "pending_credit")
APPEND_ONLY = "LG001"


@pytest.fixture
def wallet(db):
    wallet = WalletFactory.create()
    welcome_bonus.grant(wallet=wallet, now=timezone.now())
    return wallet


@pytest.fixture
def owner(committed_database) -> Iterator[Any]:
    """A connection with the owner's login, who could do anything but for the triggers."""
    with transaction.atomic():
        welcome_bonus.grant(wallet=WalletFactory.create(), now=timezone.now())
    login = owner_settings(connection.settings_dict)
    opened = psycopg2.connect(
        user=login["USER"],
        password=login["PASSWORD"],
        host=login["HOST"],
        port=login["PORT"],
        dbname=connection.settings_dict["NAME"],
    )
    yield opened
    opened.close()


def refused(statement):
    """The SQLSTATE with which a statement of the application fails."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    except DatabaseError as error:
        return getattr(error.__cause__, "pgcode", None)
    return None


def refused_to(owner, statement):
    """The SQLSTATE with which a statement of the owner fails; whatever it did is undone."""
    try:
        with owner.cursor() as cursor:
            cursor.execute(statement)
    except psycopg2.Error as error:
        return error.pgcode
    finally:
        owner.rollback()
    return None


def refusal_to(owner, statement):
    """The refusal of a statement of the owner; whatever it did is undone."""
    with pytest.raises(psycopg2.Error) as refusal, owner.cursor() as cursor:
        cursor.execute(statement)
    owner.rollback()
    return refusal.value


def everything() -> tuple[list[object], list[object], list[object]]:
    return (
        list(LedgerAccount.objects.order_by("pk").values_list()),
        list(Transfer.objects.order_by("pk").values_list()),
        list(WalletTransaction.objects.values_list()),
    )


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "change", ["INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {}"]
)
def test_application_may_only_read_the_ledger(wallet, table, change):
    before = everything()

    code = refused(change.format(f"ledger.{table}"))

    assert code == "42501"
    assert everything() == before


@pytest.mark.parametrize(
    "update",
    [
        "UPDATE ledger.account SET balance = 1000000",
        "UPDATE ledger.transfer SET amount = 1",
        "UPDATE ledger.pending_credit SET amount = 1",
        "UPDATE ledger.bucket SET mode = 'N'",
        "DELETE FROM wallet_wallettransaction",
        "TRUNCATE wallet_wallettransaction",
        "UPDATE wallet_wallettransaction SET amount = 1",
        "UPDATE wallet_wallettransaction SET seq = 9",
        "CREATE TABLE ledger.mine (id int)",
        "DROP TABLE ledger.transfer",
        "ALTER TABLE ledger.account DISABLE TRIGGER ALL",
    ],
)
def test_application_may_not_rewrite_money(wallet, update):
    before = everything()

    assert refused(update) == "42501"
    assert everything() == before


def test_helpers_of_the_ledger_do_nothing_for_the_application(wallet):
    bonus = ledger.wallet_account(wallet.pk, ledger.Bucket.BONUS)
    before = everything()

    codes = [
        refused(statement)
        for statement in (
            f"SELECT ledger.write_leg(uuidv7(), 0::smallint, 1, 'GRANT', 1, {bonus}, 50, NULL)",
            f"SELECT ledger.fold_pending_credits('{{{bonus}}}')",
            f"SELECT ledger.lock_accounts('{{{bonus}}}', '{{}}')",
        )
    ]

    assert codes == ["42501"] * 3
    assert everything() == before


def test_not_even_the_owner_rewrites_history(owner):
    month = month_of_a_transfer()
    changes = [
        "UPDATE ledger.transfer SET amount = 1",
        "DELETE FROM ledger.transfer",
        "TRUNCATE ledger.transfer",
        "UPDATE {month} SET amount = 1",
        "DELETE FROM {month}",
        "TRUNCATE {month}",
        "DELETE FROM ledger.account",
        "TRUNCATE ledger.account",
        "UPDATE ledger.account SET id = DEFAULT",
        "UPDATE ledger.account SET asset_id = 2",
        "UPDATE ledger.account SET owner_kind = 'GAME'",
        "UPDATE ledger.account SET owner_id = 77",
        "UPDATE ledger.account SET owner_uid = uuidv7()",
        "UPDATE ledger.account SET bucket = 'earned'",
        "UPDATE ledger.account SET mode = 'N'",
        "DELETE FROM wallet_wallettransaction",
        "TRUNCATE wallet_wallettransaction CASCADE",
        "UPDATE wallet_wallettransaction SET amount = 1",
        "UPDATE wallet_wallettransaction SET created_at = now()",
    ]
    before = everything()

    codes = {change: refused_to(owner, change.format(month=month)) for change in changes}

    assert codes == dict.fromkeys(changes, APPEND_ONLY)
    assert everything() == before


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("SET balance = -1 WHERE bucket = 'bonus'", "account_never_overdrawn"),
        ("SET balance = 'NaN' WHERE bucket = 'bonus'", "account_never_overdrawn"),
        ("SET balance = 1 WHERE bucket = 'mint'", "account_without_balance_keeps_none"),
        ("SET seq = 1 WHERE bucket = 'mint'", "account_without_balance_keeps_none"),
    ],
)
def test_impossible_balances_are_refused_to_everybody(owner, change, constraint):
    refusal = refusal_to(owner, "UPDATE ledger.account " + change)

    assert (refusal.pgcode, refusal.diag.constraint_name) == ("23514", constraint)


@pytest.mark.parametrize(
    ("wrong", "constraint"),
    [
        ({"amount": "0"}, "transfer_amount_is_positive"),
        ({"amount": "-5"}, "transfer_amount_is_positive"),
        ({"amount": "'NaN'"}, "transfer_amount_is_positive"),
        ({"credit_id": "1"}, "transfer_between_two_accounts"),
        ({"phase": "3"}, "transfer_phase_is_known"),
        ({"leg": "0"}, "transfer_leg_from_one"),
        ({"debit_after": "-1"}, "transfer_never_overdraws"),
        ({"credit_after": "-1"}, "transfer_never_overdraws"),
    ],
)
def test_impossible_transfers_are_refused_to_everybody(owner, wrong, constraint):
    row = {
        "posting_id": "uuidv7()",
        "phase": "0",
        "leg": "1",
        "kind": "'GRANT'",
        "debit_id": "1",
        "credit_id": "2",
        "amount": "5",
        **wrong,
    }
    names, values = ", ".join(row), ", ".join(row.values())

    refusal = refusal_to(
        owner,
        f"INSERT INTO ledger.transfer ({names}) VALUES ({values})",  # noqa: S608 - our own words
    )

    assert (refusal.pgcode, refusal.diag.constraint_name) == ("23514", constraint)


def test_a_posting_id_is_taken_once_in_each_phase_whoever_writes(owner):
    refusal = refusal_to(
        owner,
        "INSERT INTO ledger.transfer (posting_id, phase, leg, kind, debit_id, credit_id, amount)"
        " SELECT posting_id, phase, leg, 'GRANT', 2, 3, 1 FROM ledger.transfer",
    )

    assert refusal.pgcode == "23505"
    assert refusal.diag.constraint_name.endswith("_pkey")


def test_a_number_of_an_account_is_given_once(owner):
    refusal = refusal_to(
        owner,
        "INSERT INTO ledger.transfer (posting_id, phase, leg, kind, debit_id, credit_id, amount,"
        " credit_seq, credit_after)"
        " SELECT posting_id, phase, 2, kind, debit_id, credit_id, 1, credit_seq, 51"
        "   FROM ledger.transfer",
    )

    assert refusal.pgcode == "23505"
    assert refusal.diag.constraint_name.endswith("credit_id_credit_seq_idx")


def test_functions_that_move_money_look_nowhere_else_for_names(owner):
    """They run with their owner's rights, and nobody can slip them an object of the same name."""
    with owner.cursor() as cursor:
        cursor.execute(
            "SELECT proname, proconfig FROM pg_proc"
            " WHERE pronamespace = 'ledger'::regnamespace AND prosecdef"
        )
        configured = dict(cursor.fetchall())

    assert set(configured) == {
        "post1",
        "post",
        "spend",
        "mirror",
        "open_accounts",
        "ensure_partitions",
        "close_day",
    }
    assert {config[0] for config in configured.values()} == {"search_path=pg_catalog, pg_temp"}


def month_of_a_transfer() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM ledger.transfer LIMIT 1")
        month: str = cursor.fetchone()[0]
    return month


def test_nobody_but_the_application_may_call_the_ledger(owner):
    with owner.cursor() as cursor:
        cursor.execute("CREATE ROLE passer_by")
        try:
            cursor.execute(
                "SELECT count(*) FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace"
                " AND has_function_privilege('passer_by', oid, 'EXECUTE')"
            )
            assert cursor.fetchone() == (0,)
        finally:
            owner.rollback()


def test_sync_of_a_transaction_moves_on(wallet):
    WalletTransaction.objects.update(
        sync_status=WalletTransaction.SyncStatus.COMPLETED, modified_at=timezone.now()
    )

    assert WalletTransaction.objects.get().sync_status == "COMPLETED"


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 0},
        {"direction": "DEBIT"},
        {"counterparty": "0xABC"},
        {"sync_status": "DONE"},
        {"type": "REFUND"},
        {"seq": 0},
    ],
)
def test_impossible_transactions_are_refused(wallet, wrong):
    now = timezone.now()
    given = {
        "uid": uuid7(),
        "wallet": wallet,
        "seq": 2,
        "type": "REWARD_CLAIM",
        "direction": "CREDIT",
        "amount": 5,
        "counterparty": "0x" + "ab" * 20,
        "name": "Reward",
        "description": "Reward",
        "created_at": now,
        "modified_at": now,
    }

    with pytest.raises(Exception, match="wallet_transaction") as refusal, transaction.atomic():
        WalletTransaction.objects.create(**{**given, **wrong})

    assert isinstance(refusal.value.__cause__, CheckViolation)
    assert WalletTransaction.objects.count() == 1


def test_a_transaction_is_taken_back_once(wallet):
    now = timezone.now()
    bonus = WalletTransaction.objects.get()
    given = {
        "wallet": wallet,
        "type": "REVERSAL",
        "direction": "DEBIT",
        "amount": 50,
        "counterparty": "0x" + "ab" * 20,
        "name": "Reversal",
        "description": "Reversal",
        "reverses": bonus,
        "created_at": now,
        "modified_at": now,
    }
    WalletTransaction.objects.create(uid=uuid7(), seq=2, **given)

    with pytest.raises(IntegrityError, match="reverses") as refusal, transaction.atomic():
        WalletTransaction.objects.create(uid=uuid7(), seq=3, **given)

    assert isinstance(refusal.value.__cause__, UniqueViolation)
    assert WalletTransaction.objects.count() == 2


@pytest.mark.parametrize(
    "move",
    [
        lambda: ledger.post([], posting_id=uuid7()),
        lambda: ledger.settle(uuid7()),
        lambda: ledger.open_accounts(ledger.Owner.WALLET, 1),
        lambda: welcome_bonus.grant(wallet=Wallet(), now=timezone.now()),
    ],
)
def test_money_moves_in_a_transaction_alone(move):
    with pytest.raises(RuntimeError, match="must be called inside a transaction"):
        move()
