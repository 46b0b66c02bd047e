"""Many rewards from one file: read, looked at, granted once, whatever happens meanwhile."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import IntegrityError, ProgrammingError, transaction
from django.utils import timezone

from accounts.tests.factories import GameFactory
from accounts.tests.staff import staff_user
from rewards import bulk, granting
from rewards.audits import AUDITS
from rewards.bulk import Outcome
from rewards.models import BulkGrant, Reward
from rewards.tests.factories import promotion, winner
from wallet import custody, ledger
from wallet.models import Transfer
from wallet.tests.parallel import in_parallel
from wallet.tests.soundness import assert_sound

PROMOTION = Reward.Source.PROMOTION
HEADER = "gamer_id,amount,reference,expires_at"


def file_of(*rows, header=HEADER):
    return "\r\n".join([header, *rows]).encode()


def crowd(count):
    """That many gamers of one game, g-0 and on."""
    game = GameFactory.create()
    return game, [winner(game, gamer_id=f"g-{number}") for number in range(count)]


def upload(game, *rows, now, **changed):
    return bulk.upload(
        **{
            "game": game,
            "source": PROMOTION,
            "content": file_of(*rows),
            "reason": "spring",
            "by": staff_user(username=f"staff-{BulkGrant.objects.count()}"),
            "now": now,
        }
        | changed
    )


def grant(bulk_grant, *, now, skips_refused=False):
    bulk.confirm(
        bulk_grant=bulk_grant,
        skips_refused=skips_refused,
        by=bulk_grant.uploaded_by,
        now=now,
    )
    bulk.carry_out(bulk_grant_id=bulk_grant.pk, now=now)
    bulk_grant.refresh_from_db()
    return bulk_grant


def claimable(gamer):
    return ledger.balances(custody.wallet_of(gamer).pk).claimable


def findings():
    return [finding for audit in AUDITS for finding in audit.find()]


def counts(bulk_grant):
    return bulk_grant.state, bulk_grant.granted, bulk_grant.already_granted, bulk_grant.refused


# --- Reading -------------------------------------------------------------------------------------


def test_a_file_is_read_row_by_row():
    sheet = bulk.read(
        b"\xef\xbb\xbfReference , amount,gamer_id,expires_at\n"
        b"spring/1,007,g-1,\n"
        b"\n"
        b'"spring/2",9007199254740991,"g,2",2026-12-31T23:59:59+05:30\n'
    )

    assert list(sheet.rows) == [
        bulk.Row(2, "g-1", 7, "spring/1", None),
        bulk.Row(4, "g,2", 2**53 - 1, "spring/2", datetime(2026, 12, 31, 18, 29, 59, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("g-1,5", "has 2 cells where the first line names 4"),
        ("g-1,5,r,,x", "has 5 cells where the first line names 4"),
        (",5,r,", "gamer_id must be 1 to 128 printable characters"),
        ("g\x00,5,r,", "gamer_id must be 1 to 128 printable characters"),
        ("g-1,5,,", "reference must be 1 to 128 printable characters"),
        (f"g-1,5,{'r' * 129},", "reference must be 1 to 128 printable characters"),
        ("g-1,0,r,", "amount must be a whole number from 1 to 9,007,199,254,740,991"),
        ("g-1,-5,r,", "amount must be a whole number from 1 to 9,007,199,254,740,991"),
        ("g-1,1.5,r,", "amount must be a whole number from 1 to 9,007,199,254,740,991"),
        ("g-1,²,r,", "amount must be a whole number from 1 to 9,007,199,254,740,991"),
        (f"g-1,{2**53},r,", "amount must be a whole number from 1 to 9,007,199,254,740,991"),
        (f"g-1,{'9' * 5000},r,", "amount must be a whole number from 1 to 9,007,199,254,740,991"),
        ("g-1,5,r,2026-12-31", "expires_at must be written as 2026-12-31T23:59:59Z"),
        ("g-1,5,r,2026-12-31T00:00:00", "expires_at must be written as 2026-12-31T23:59:59Z"),
        ("g-1,5,r,0001-01-01T00:00:00+05:30", "expires_at must be written as 2026-12-31T23:59:59Z"),
        ("g-1,5,r,soon", "expires_at must be written as 2026-12-31T23:59:59Z"),
    ],
)
def test_a_bad_row_says_why(row, problem):
    (read,) = bulk.read(file_of(row)).rows

    assert read.problem == problem


def test_a_reference_that_stands_twice_is_refused_in_both_places():
    rows = bulk.read(file_of("g-1,5,a,", "g-2,5,b,", "g-3,5,a,")).rows

    twins = "another row has the same reference"
    assert [row.problem for row in rows] == [twins, "", twins]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The first line must name"),
        (b"gamer_id;amount;reference\ng;5;r\n", "The first line must name"),
        (b"gamer_id,amount\ng,5\n", "The first line must name"),
        (b"gamer_id,amount,reference,colour\ng,5,r,red\n", "The first line must name"),
        (b"gamer_id,amount,reference,amount\ng,5,r,6\n", "The first line must name"),
        (HEADER.encode() + b"\n\n ,\n", "no rows"),
        (file_of("caf\u00e9,5,r,").replace(b"\xc3", b""), "not UTF-8"),
        (file_of('"g,5,r,'), "Line 2 is no CSV"),
        (file_of("x" * 200_000 + ",5,r,"), "Line 2 is no CSV"),
        (b"x" * (1024 * 1024 + 1), "larger than 1,048,576 bytes"),
        (file_of(*[f"g,1,{number}," for number in range(10_001)]), "more than 10,000 rows"),
    ],
)
def test_a_file_that_is_none_is_refused(content, message):
    with pytest.raises(bulk.BadFile, match=message):
        bulk.read(content)


# --- Looking at it -------------------------------------------------------------------------------


@pytest.mark.django_db
def test_each_row_says_what_granting_it_would_do(now):
    game, (one, other) = crowd(2)
    winner(gamer_id="elsewhere")
    promotion(one, 5, now=now, reference="known")
    promotion(other, 5, now=now, reference="taken")
    past = f"{now:%Y-%m-%dT%H:%M:%SZ}"

    verdicts = bulk.verdicts_of(
        upload(
            game,
            "g-0,10,new,",
            "g-0,5,known,",
            "g-0,5,taken,",
            "g-1,6,taken too,",
            "elsewhere,5,r1,",
            "nobody,5,r2,",
            f"g-0,5,r3,{past}",
            "g-0,x,r4,",
            now=now,
        ),
        now=now,
    )

    amount = "amount must be a whole number from 1 to 9,007,199,254,740,991"
    assert [(one.row.line, one.outcome, one.problem) for one in verdicts] == [
        (2, Outcome.NEW, ""),
        (3, Outcome.ALREADY_GRANTED, ""),
        (4, Outcome.REFUSED, "the reference names another reward"),
        (5, Outcome.NEW, ""),
        (6, Outcome.REFUSED, "the game has no such gamer"),
        (7, Outcome.REFUSED, "the game has no such gamer"),
        (8, Outcome.REFUSED, "expires_at is past"),
        (9, Outcome.REFUSED, amount),
    ]
    assert bulk.totals(verdicts) == {
        Outcome.NEW: bulk.Total(2, 16),
        Outcome.ALREADY_GRANTED: bulk.Total(1, 5),
        Outcome.REFUSED: bulk.Total(5, 20),
    }
    assert Reward.objects.count() == 2
    assert (claimable(one), claimable(other)) == (5, 5)


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [1, 1000])
def test_looking_at_any_number_of_rows_takes_two_queries(now, rows, django_assert_num_queries):
    game, _ = crowd(1)
    bulk_grant = upload(game, *[f"g-{number},5,{number}," for number in range(rows)], now=now)

    with django_assert_num_queries(2):
        bulk.verdicts_of(bulk_grant, now=now)


# --- Granting ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_file_is_granted_row_by_row(now, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", 3)
    game, gamers = crowd(4)
    later = "2100-01-31T12:00:00Z"
    rows = [f"g-{number % 4},{number + 1},spring/{number},{later}" for number in range(8)]

    bulk_grant = grant(upload(game, *rows, now=now), now=now)

    assert counts(bulk_grant) == ("DONE", 8, 0, 0)
    assert bulk_grant.done_at == now
    assert [claimable(gamer) for gamer in gamers] == [1 + 5, 2 + 6, 3 + 7, 4 + 8]
    reward = Reward.objects.get(reference="spring/7")
    assert (reward.gamer, reward.game, reward.amount) == (gamers[3], game, 8)
    assert (reward.source, reward.status, reward.created_at) == ("PROMOTION", "UNCLAIMED", now)
    assert reward.expires_at == datetime(2100, 1, 31, 12, tzinfo=UTC)
    posting = Transfer.objects.get(posting_id=str(reward.grant_posting_id))
    assert (posting.kind, posting.amount, posting.debit_id) == ("GRANT", 8, ledger.TREASURY)
    assert findings() == []
    assert_sound()


@pytest.mark.django_db
def test_the_same_file_again_changes_nothing(now):
    game, (gamer,) = crowd(1)
    rows = ["g-0,5,a,", "g-0,6,b,"]
    first = grant(upload(game, *rows, now=now), now=now)
    before = list(Reward.objects.order_by("id").values())

    again = grant(upload(game, *rows, now=now), now=now + timedelta(hours=1))
    bulk.carry_out(bulk_grant_id=first.pk, now=now + timedelta(hours=2))

    assert counts(again) == ("DONE", 0, 2, 0)
    assert list(Reward.objects.order_by("id").values()) == before
    assert claimable(gamer) == 11
    first.refresh_from_db()
    assert (counts(first), first.done_at) == (("DONE", 2, 0, 0), now)


@pytest.mark.django_db
def test_nothing_is_granted_while_a_row_is_refused(now):
    game, (gamer,) = crowd(1)
    bulk_grant = upload(game, "g-0,5,a,", "nobody,6,b,", now=now)

    with pytest.raises(bulk.RowsRefused, match="refused rows: 1 of 2"):
        grant(bulk_grant, now=now)

    bulk.carry_out(bulk_grant_id=bulk_grant.pk, now=now)
    bulk_grant.refresh_from_db()
    assert counts(bulk_grant) == ("CHECKED", 0, 0, 0)
    assert claimable(gamer) == 0


@pytest.mark.django_db
def test_refused_rows_are_skipped_on_demand(now):
    game, (gamer,) = crowd(1)
    promotion(gamer, 7, now=now, reference="c")
    bulk_grant = upload(game, "g-0,5,a,", "nobody,6,b,", "g-0,7,c,", "g-0,8,c2,soon", now=now)

    assert counts(grant(bulk_grant, now=now, skips_refused=True)) == ("DONE", 1, 1, 2)
    assert claimable(gamer) == 12


@pytest.mark.django_db
def test_a_file_is_confirmed_once(now):
    game, (gamer,) = crowd(1)
    bulk_grant = grant(upload(game, "g-0,5,a,", now=now), now=now)

    with pytest.raises(bulk.AlreadyConfirmed):
        grant(bulk_grant, now=now)

    assert claimable(gamer) == 5


@pytest.mark.django_db
def test_what_became_impossible_after_the_confirmation_is_counted(now):
    game, (gamer,) = crowd(1)
    bulk_grant = upload(game, "g-0,5,a,", "g-0,6,b,", now=now)
    bulk.confirm(bulk_grant=bulk_grant, skips_refused=False, by=bulk_grant.uploaded_by, now=now)
    promotion(gamer, 1, now=now, reference="b")

    bulk.carry_out(bulk_grant_id=bulk_grant.pk, now=now)

    bulk_grant.refresh_from_db()
    assert counts(bulk_grant) == ("DONE", 1, 0, 1)
    assert claimable(gamer) == 6


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [1, 200])
def test_a_chunk_makes_as_many_queries_for_any_number_of_rows(now, rows, django_assert_num_queries):
    game, _ = crowd(1)
    bulk_grant = upload(game, *[f"g-0,5,{number}," for number in range(rows)], now=now)
    bulk.confirm(bulk_grant=bulk_grant, skips_refused=False, by=bulk_grant.uploaded_by, now=now)

    # The file; its row, gamers, wallets, references, rewards in and back, accounts, postings, its
    # row; the file's row once more; the savepoints of two transactions.
    with django_assert_num_queries(1 + 9 + 1 + 2 * 2):
        bulk.carry_out(bulk_grant_id=bulk_grant.pk, now=now)


@pytest.mark.django_db
def test_a_file_that_was_tampered_with_is_not_kept(now):
    game, _ = crowd(1)
    bulk_grant = upload(game, "g-0,5,a,", now=now)

    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        BulkGrant.objects.filter(pk=bulk_grant.pk).update(content=file_of("g-0,500,a,"))
    with (
        pytest.raises(IntegrityError, match="bulk_grant_digest_is_of_its_content"),
        transaction.atomic(),
    ):
        BulkGrant.objects.create(
            game=game,
            source=PROMOTION,
            content=file_of("g-0,500,a,"),
            digest=bulk_grant.digest,
            rows=1,
            uploaded_by=bulk_grant.uploaded_by,
            uploaded_at=now,
        )


# --- Races ---------------------------------------------------------------------------------------


def test_parallel_runs_of_one_file_grant_each_row_once(committed_database, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", 2)
    now = timezone.now()
    game, gamers = crowd(3)
    rows = [f"g-{number % 3},1,{number}," for number in range(12)]
    bulk_grant = upload(game, *rows, now=now)
    bulk.confirm(bulk_grant=bulk_grant, skips_refused=False, by=bulk_grant.uploaded_by, now=now)

    in_parallel([partial(bulk.carry_out, bulk_grant_id=bulk_grant.pk, now=now)] * 4)
    bulk.carry_out(bulk_grant_id=bulk_grant.pk, now=now)

    bulk_grant.refresh_from_db()
    assert counts(bulk_grant) == ("DONE", 12, 0, 0)
    assert [claimable(gamer) for gamer in gamers] == [4, 4, 4]
    assert findings() == []


def test_one_file_uploaded_twice_and_single_grants_pay_each_reference_once(committed_database):
    now = timezone.now()
    game, gamers = crowd(2)
    rows = [f"g-{number % 2},{number + 1},{number}," for number in range(20)]
    files = [upload(game, *order, now=now) for order in (rows, rows[::-1])]

    in_parallel(
        [partial(grant, one, now=now, skips_refused=True) for one in files]
        + [
            partial(promotion, gamers[number % 2], number + 1, now=now, reference=str(number))
            for number in range(4)
        ]
        # The reference of somebody else's row: whoever comes first has it.
        + [partial(promotion, gamers[1], 1, now=now, reference="18")]
    )
    for one in files:
        bulk.carry_out(bulk_grant_id=one.pk, now=now)
        one.refresh_from_db()

    assert {one.state for one in files} == {"DONE"}
    assert Reward.objects.count() == Transfer.objects.filter(kind="GRANT").count() == 20
    assert findings() == []
    assert_sound()


def test_a_run_that_dies_leaves_the_rest_to_the_next(committed_database, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", 2)
    now = timezone.now()
    game, (gamer,) = crowd(1)
    bulk_grant = upload(game, *[f"g-0,1,{number}," for number in range(5)], now=now)
    bulk.confirm(bulk_grant=bulk_grant, skips_refused=False, by=bulk_grant.uploaded_by, now=now)
    calls = []
    grant_each = granting.grant_each

    def dies_the_second_time(**kwargs):
        calls.append(kwargs)
        made = grant_each(**kwargs)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(granting, "grant_each", dies_the_second_time)
    with pytest.raises(KeyboardInterrupt):
        bulk.carry_out(bulk_grant_id=bulk_grant.pk, now=now)
    bulk_grant.refresh_from_db()
    assert (counts(bulk_grant), claimable(gamer)) == (("CONFIRMED", 2, 0, 0), 2)

    bulk.carry_out(bulk_grant_id=bulk_grant.pk, now=now)

    bulk_grant.refresh_from_db()
    assert (counts(bulk_grant), claimable(gamer)) == (("DONE", 5, 0, 0), 5)
