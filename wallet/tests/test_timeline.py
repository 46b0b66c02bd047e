"""A wallet's history in words: whole, in order, page by page, and told apart by kind and day."""

from datetime import timedelta
from itertools import pairwise

import pytest

from kgen.common.identifiers import uuid7
from wallet import ledger, timeline
from wallet.models import Transfer
from wallet.tests.factories import WalletFactory, fill
from wallet.tests.histories import LIFE, TOURNAMENT, Life
from wallet.timeline import GROUPS, Key, Wanted

EVERYTHING = Wanted()


@pytest.fixture
def life(committed_database) -> Life:
    life = Life()
    life.lead()
    return life


def lines(life, wanted=EVERYTHING):
    return list(timeline.lines_of(wallet=life.wallet, wanted=wanted))


def page(life, size, **key):
    return timeline.page_of(wallet=life.wallet, wanted=EVERYTHING, size=size, **key)


def test_tells_everything_in_its_order_in_plain_words(life):
    assert [line.text for line in reversed(lines(life))] == LIFE


def test_changes_add_up_to_the_balances(life):
    told = lines(life)

    kept = ledger.balances(life.wallet.pk)
    assert {
        bucket: sum(line.changes.get(bucket, 0) for line in told)
        for bucket in timeline.BUCKET_WORDS
    } == {
        "bonus": kept.bonus,
        "bought": kept.bought,
        "earned": kept.earned,
        "claimable": kept.claimable,
        "hold": kept.hold,
        "onchain": kept.onchain,
    }
    assert sum(line.lazy for line in told) == kept.lazy == 48


def test_line_names_the_transaction_that_the_gamer_sees(life):
    told = {line.text: line for line in lines(life)}

    bonus = told["Welcome bonus of 50 KCash"]
    prize = told["Prize of 60 KCash for tournament 0193a1b2, to claim"]
    assert bonus.transaction_uid == bonus.key.posting_id == life.wallet.bonus_posting_id
    assert prize.transaction_uid is None


@pytest.mark.parametrize("size", [1, 3, 16, 17])
def test_pages_turn_over_every_line_once_and_back(life, size):
    every = lines(life)

    pages = [page(life, size)]
    while pages[-1].older_than:
        pages.append(page(life, size, older_than=pages[-1].older_than))

    assert [line for one in pages for line in one.lines] == every
    assert len(pages) == -(-len(every) // size)
    assert pages[0].newer_than is None
    for newer, older in pairwise(pages):
        back = page(life, size, newer_than=older.newer_than)
        assert list(back.lines) == list(newer.lines)
        assert back.older_than == newer.older_than
        assert back.newer_than == newer.newer_than


def test_lines_of_one_moment_are_turned_over_once_too(db):
    wallet = WalletFactory.create()
    for amount in range(1, 8):
        fill(wallet, ledger.Bucket.BONUS, amount)  # all in this one transaction: at one moment

    first = timeline.page_of(wallet=wallet, wanted=EVERYTHING, size=4)
    rest = timeline.page_of(wallet=wallet, wanted=EVERYTHING, size=4, older_than=first.older_than)

    assert len({line.key.moment for line in (*first.lines, *rest.lines)}) == 1
    assert sorted(line.lazy for line in (*first.lines, *rest.lines)) == list(range(1, 8))
    assert rest.older_than is None


@pytest.mark.parametrize("group", GROUPS)
def test_groups_are_told_apart(life, group):
    wanted = {str(kind) for kind in GROUPS[group][1]}

    told = lines(life, Wanted(group=group))

    assert told == [line for line in lines(life) if line.kind in wanted]
    assert {line.kind for line in told} == wanted


def test_every_kind_that_reaches_a_wallet_is_in_one_group():
    grouped = [kind for _, kinds in GROUPS.values() for kind in kinds]

    of_pools = {"SPONSOR", "SPONSOR_RETURN", "RAKE_PLATFORM", "RAKE_DEVELOPER", "REMAINDER"}
    assert sorted(grouped) == sorted(set(Transfer.Kind.values) - of_pools)


def test_days_are_told_apart_and_both_ends_count(life):
    every = lines(life)
    first, last = every[-1].key.moment.date(), every[0].key.moment.date()
    day = timedelta(days=1)

    assert lines(life, Wanted(since=first, until=last)) == every
    assert lines(life, Wanted(since=last + day)) == []
    assert lines(life, Wanted(until=first - day)) == []


def test_other_wallets_are_not_told_of(life):
    stranger = Life()

    assert lines(stranger) == []
    assert page(stranger, 10) == timeline.Page(lines=(), newer_than=None, older_than=None)


def test_kind_that_has_no_words_yet_is_told_by_its_name(db):
    wallet = WalletFactory.create()
    fill(wallet, ledger.Bucket.EARNED, 7)

    (line,) = timeline.lines_of(wallet=wallet, wanted=EVERYTHING)

    assert line.text == "7 KCash grant, to earned"


def test_upper_apps_name_what_was_promised(life, monkeypatch):
    asked = []

    def namer(gamer_id, promises):
        asked.append((gamer_id, [one.tournament_uid for one in promises]))
        return {one.posting_id: "rank 1 in Daily Carrom" for one in promises}

    monkeypatch.setattr(timeline, "_namers", [])
    timeline.names_promises(namer)

    told = [line.text for line in lines(life, Wanted(group="rewards"))]

    assert told[0] == "Prize of 5 KCash for rank 1 in Daily Carrom, to claim"
    assert "Reward of 1,000 KCash for rank 1 in Daily Carrom, to claim" in told
    assert asked == [(life.wallet.gamer_id, [TOURNAMENT, None, None, None, TOURNAMENT])]


@pytest.mark.parametrize("joins", [1, 30])
def test_page_costs_the_same_queries_whatever_moved(db, joins, django_assert_num_queries):
    life = Life()
    life.welcome()
    for _ in range(joins):
        life.leave(life.join(10))

    with django_assert_num_queries(2):
        told = page(life, 100)

    assert len(told.lines) == 1 + 2 * joins


def test_keys_are_read_back_and_nothing_else_is():
    key = Key.read(f"2026-11-22T10:00:00.000001+00:00/{uuid7()}/2")

    assert key is not None
    assert Key.read(str(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2026-11-22/x/1",
        "2026-11-22T10:00:00/0193a1b2-0000-7000-8000-000000000001/1",  # of no time zone
        "2026-11-22T10:00:00Z/0193a1b2-0000-7000-8000-000000000001/3",
        "2026-11-22T10:00:00Z/0193a1b2-0000-7000-8000-000000000001/" + "9" * 30,
        "\x00/\x00/\x00",
        "²/²/²",
    ],
)
def test_anything_else_is_no_key(text):
    assert Key.read(text) is None
