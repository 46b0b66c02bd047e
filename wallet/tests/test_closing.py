"""A day is closed once, in its order and late enough, and what it was closed with is kept outside."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from wallet import closing, ledger
from wallet.models import DayDigest
from wallet.tests.factories import WalletFactory
from wallet.tests.owner import move_to_the_past
from wallet.tests.parallel import in_parallel


@transaction.atomic
def mint(amount: int) -> None:
    WalletFactory.create(bonus=amount)


def days_ago(days: int) -> date:
    """Of the day that began last an hour ago: until one in the morning yesterday is not closed."""
    return (datetime.now(UTC) - closing.LATE - timedelta(days=days)).date()


def snapshots() -> list[tuple[int, int, int]]:
    """Days ago, balance and number of transfers of each snapshot of the mint."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT %s - (as_of AT TIME ZONE 'UTC')::date, balance, row_count"
            " FROM ledger.snapshot WHERE account_id = %s ORDER BY as_of",
            [days_ago(0), ledger.MINT],
        )
        return [(ago, int(held), count) for ago, held, count in cursor.fetchall()]


def three_days(owner) -> None:
    """50 KCash three days ago, nothing the day after, 20 KCash yesterday, 7 KCash today."""
    mint(50)
    move_to_the_past(owner, days=2)
    mint(20)
    move_to_the_past(owner, days=1)
    mint(7)
    move_to_the_past(owner, hours=1)


def test_every_day_that_is_over_is_closed_in_its_order(owner):
    three_days(owner)

    closed = closing.close_days(now=timezone.now())

    digests = DayDigest.objects.order_by("day")
    assert closed == [days_ago(3), days_ago(2), days_ago(1)]
    assert [(digest.day, digest.row_count) for digest in digests] == [
        (days_ago(3), 1),
        (days_ago(2), 0),
        (days_ago(1), 1),
    ]
    first, empty, last = (bytes(digest.sha256) for digest in digests)
    assert [bytes(digest.prev_sha256) for digest in digests] == [b"", first, empty]
    assert empty == hashlib.sha256(first).digest()
    assert len({first, empty, last}) == 3


def test_digest_is_of_the_fields_that_the_ledger_names(owner):
    mint(50)
    move_to_the_past(owner, days=2)

    closing.close_days(now=timezone.now())

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT concat_ws('|', posting_id, 0, 1, 'GRANT', debit_id, credit_id, 50, '-', 1, '-', 50,"
            " '-', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'))"
            " FROM ledger.transfer"
        )
        [line] = cursor.fetchone()
    row = hashlib.sha256(line.encode()).digest()
    assert bytes(DayDigest.objects.earliest("day").sha256) == hashlib.sha256(row).digest()


def test_closing_again_changes_nothing(owner):
    three_days(owner)
    closing.close_days(now=timezone.now())
    before = closing.lines()

    assert closing.close_days(now=timezone.now()) == []
    assert closing.close_days(now=timezone.now()) == []
    assert closing.lines() == before


def test_two_who_close_in_parallel_close_each_day_once(owner):
    three_days(owner)

    closed = in_parallel([lambda: closing.close_days(now=timezone.now())] * 2)

    assert sorted(day for days in closed for day in days) == [
        days_ago(3),
        days_ago(2),
        days_ago(1),
    ]


def test_a_day_is_not_closed_before_one_in_the_morning(owner):
    three_days(owner)
    midnight = datetime.combine(days_ago(1), datetime.min.time(), UTC)

    closed = closing.close_days(now=midnight + timedelta(minutes=59))

    assert closed == [days_ago(3)]
    assert DayDigest.objects.count() == 1


def test_without_transfers_there_is_nothing_to_close(committed_database):
    assert closing.close_days(now=timezone.now()) == []
    assert closing.lines() == []


@pytest.mark.parametrize(
    ("day", "problem"),
    [
        ("current_date", "an hour after it is over"),
        ("NULL", "an hour after it is over"),
        ("current_date - 2", "days are closed in their order"),
    ],
)
def test_database_refuses_to_close_a_day_out_of_turn(owner, day, problem):
    three_days(owner)
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger.close_day(current_date - 4)")
    before = closing.lines()

    with pytest.raises(DatabaseError, match=problem), connection.cursor() as cursor:
        cursor.execute(f"SELECT ledger.close_day({day})")

    assert closing.lines() == before


def test_database_refuses_to_begin_after_the_first_transfer(owner):
    three_days(owner)

    with (
        pytest.raises(DatabaseError, match="transfers before this day"),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT ledger.close_day(current_date - 2)")

    assert closing.lines() == []


@pytest.mark.parametrize("table", ["day_digest", "snapshot"])
@pytest.mark.parametrize("change", ["UPDATE {} SET row_count = 0", "DELETE FROM {}", "TRUNCATE {}"])
def test_closed_days_are_never_changed(owner, table, change):
    three_days(owner)
    closing.close_days(now=timezone.now())
    before = closing.lines(), snapshots()

    # The application has no right to, and the owner is stopped by the trigger.
    with pytest.raises(DatabaseError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute(change.format(f"ledger.{table}"))
    with pytest.raises(Exception, match="append-only"), owner.cursor() as cursor:
        cursor.execute(change.format(f"ledger.{table}"))

    assert (closing.lines(), snapshots()) == before


# --- Balances that nobody keeps ------------------------------------------------------------------


def test_snapshots_sum_up_what_was_before_them(owner):
    three_days(owner)

    closing.close_days(now=timezone.now())

    assert snapshots() == [(2, -50, 1), (1, -50, 1), (0, -70, 2)]


def test_unkept_balance_is_the_same_with_and_without_snapshots(owner):
    three_days(owner)
    moments = [timezone.now() - timedelta(days=days) for days in (4, 2, 1, 0)]
    before = [ledger.unkept_balance(ledger.MINT, at=moment) for moment in moments]

    closing.close_days(now=timezone.now())

    assert before == [0, -50, -70, -77]
    assert [ledger.unkept_balance(ledger.MINT, at=moment) for moment in moments] == before


def test_unkept_balance_reads_no_more_than_the_tail(owner):
    three_days(owner)
    closing.close_days(now=timezone.now())
    # What lies before the snapshot is not looked at again: the audit is there for that.
    with owner.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE ledger.transfer DISABLE TRIGGER USER;"
            "DELETE FROM ledger.transfer WHERE amount = 50"
        )

    assert ledger.unkept_balance(ledger.MINT, at=timezone.now()) == -77


# --- Kept outside --------------------------------------------------------------------------------


def ledger_days(*arguments: str) -> list[str]:
    output = StringIO()
    call_command("ledger_days", *arguments, stdout=output)
    return output.getvalue().splitlines()


def test_days_kept_outside_are_compared(owner, tmp_path):
    three_days(owner)
    closing.close_days(now=timezone.now())
    kept = tmp_path / "days.txt"
    kept.write_text("\n".join(ledger_days()) + "\n")

    assert len(kept.read_text().splitlines()) == 3
    assert ledger_days("--compare", str(kept)) == ["Every day is as it was."]


def test_history_rewritten_together_with_its_digests_is_found_outside(owner, tmp_path):
    three_days(owner)
    closing.close_days(now=timezone.now())
    kept = tmp_path / "days.txt"
    kept.write_text("\n".join(ledger_days()))
    with owner.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE ledger.transfer DISABLE TRIGGER USER;"
            "ALTER TABLE ledger.day_digest DISABLE TRIGGER USER;"
            "UPDATE ledger.transfer SET amount = 49 WHERE amount = 50;"
            "DELETE FROM ledger.day_digest;"
            "ALTER TABLE ledger.snapshot DISABLE TRIGGER USER;"
            "DELETE FROM ledger.snapshot"
        )
    closing.close_days(now=timezone.now())

    with pytest.raises(CommandError, match="3 days are not what they were"):
        ledger_days("--compare", str(kept))
