"""The page from which support answers: what is there, why, what happened, and who looked."""

import csv
import io
import re
from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from accounts.models import Session
from accounts.tests.factories import GamerFactory, KgenAccountFactory
from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from wallet import ledger
from wallet.admin.timeline import CSV_HEADER, LINES_PER_PAGE
from wallet.models import Payout
from wallet.tests.factories import KgenWalletFactory
from wallet.tests.histories import LIFE, Life
from wallet.tests.owner import owner_of_this_database
from wallet.tests.test_admin import on_the_chain, page, panels, text, texts


@pytest.fixture
def support(db):
    return staff_client(SUPPORT)


@pytest.fixture
def life(support) -> Life:
    return Life()


def lines(client, life, **query):
    return texts(panels(client, life.wallet, **query)["Timeline"])


def export(life):
    return reverse("admin:wallet_wallet_timeline", args=[life.wallet.pk])


def rows_of(response):
    return list(csv.reader(io.StringIO(response.getvalue().decode())))


# --- Balances and their causes -------------------------------------------------------------------


def test_balances_show_their_formulas(support, life):
    life.confirm(life.welcome())
    life.buy(5)
    life.win(60)
    life.claim(60)

    balances = texts(panels(support, life.wallet)["Balances"])

    assert balances[-2:] == [
        ["Lazy balance", "115 KCash", "= 50 bonus + 5 bought + 60 earned: what may be spent"],
        [
            "Delta",
            "65 KCash",
            "= 115 lazy balance - 50 on the chain: what the chain has yet to follow",
        ],
    ]


def test_every_balance_is_explained(support, life):
    life.welcome()
    life.join(10)

    because = texts(panels(support, life.wallet)["Why is my balance this?"])

    assert because == [
        ["Bonus", "40 KCash", "= + 50 welcome bonus (1) - 10 entry fees (1)"],
        ["Bought", "0 KCash", "Nothing has moved here yet."],
        ["Earned", "0 KCash", "Nothing has moved here yet."],
        ["To claim", "0 KCash", "Nothing has moved here yet."],
        ["On hold", "0 KCash", "Nothing has moved here yet."],
        ["On the chain", "0 KCash", "Nothing has moved here yet."],
    ]


def test_drift_is_shown_in_red(committed_database):
    support, life = staff_client(SUPPORT), Life()
    life.welcome()
    with owner_of_this_database() as cursor:
        cursor.execute(
            "UPDATE ledger.account SET balance = balance + 7"
            " WHERE owner_kind = 'WALLET' AND owner_id = %s AND bucket = 'bonus'",
            [life.wallet.pk],
        )

    table = panels(support, life.wallet)["Why is my balance this?"]

    assert texts(table)[0] == [
        "Bonus",
        "57 KCash",
        "= + 50 welcome bonus (1) drift of +7 KCash: no transfer accounts for it. Tell finance.",
    ]
    assert '<span class="status bad">drift of +7 KCash' in table.rows[0][2]
    assert [words for _, words in table.links] == ["Reconciliation runs"]


# --- The timeline --------------------------------------------------------------------------------


def test_timeline_tells_each_line_with_what_it_changed(committed_database):
    support, life = staff_client(SUPPORT), Life()
    life.lead()

    told = [row[1:] for row in lines(support, life)]

    assert [row[0] for row in reversed(told)] == LIFE
    by_text = {row[0]: row[1:] for row in told}
    assert by_text["Welcome bonus of 50 KCash"] == ["+50", "", "", ""]
    assert by_text["50 KCash booked on the chain: welcome bonus"] == ["", "", "", "+50"]
    assert by_text["Claimed 60 KCash, now earned: prize for rank 1 in Daily Carrom"] == [
        "+60",
        "-60",
        "",
        "",
    ]
    assert by_text["1,060 KCash set aside for a withdrawal"] == ["-1,060", "", "+1,060", ""]


def test_timeline_shows_the_titles_of_games_as_text(support, life):
    life.welcome()
    life.join(1, "<b>Daily</b> & co")

    content = support.get(page(life.wallet)).content.decode()

    assert "1 KCash entry fee for &lt;b&gt;Daily&lt;/b&gt; &amp; co, from bonus" in content


def test_timeline_is_chosen_by_kind(support, life):
    life.welcome()
    life.join(10)

    assert [row[1] for row in lines(support, life, kind="fees")] == [
        "10 KCash entry fee for Daily Carrom, from bonus"
    ]
    assert len(lines(support, life, kind="")) == 2
    assert lines(support, life, kind="withdrawals") == []


def test_timeline_is_chosen_by_day(support, life):
    life.welcome()
    day, now = timedelta(days=1), timezone.now()

    assert len(lines(support, life, since=(now - day).date(), until=(now + day).date())) == 1
    assert lines(support, life, since=(now + 2 * day).date()) == []
    assert lines(support, life, until=(now - 2 * day).date()) == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"since": "31.12.2026x"}, "This is no date: write it as 2026-01-31."),
        ({"until": "2026-02-30"}, "This is no date: write it as 2026-01-31."),
        ({"since": "\x00"}, "This is no date: write it as 2026-01-31."),
        (
            {"since": "2026-02-02", "until": "2026-02-01"},
            "“From” is later than “To”: nothing lies between.",
        ),
        (
            {"kind": "bribes"},
            "Select a valid choice. bribes is not one of the available choices.",
        ),
    ],
)
def test_wrong_choice_is_told_and_nothing_is_shown(support, life, query, message):
    life.welcome()

    response = support.get(page(life.wallet), query)

    table = dict(response.context["panels"])["Timeline"]
    assert response.status_code == 200
    assert [error for errors in table.form.errors.values() for error in errors] == [message]
    assert (table.rows, list(table.links)) == ([], [])
    assert message in response.content.decode()


@pytest.mark.parametrize(
    "query",
    [
        {"since": "0001-01-01", "until": "9999-12-31"},
        {"before": "x"},
        {"after": "\x00"},
        {"before": "0001-01-01T00:00:00+14:00/0193a1b2-0000-7000-8000-000000000001/0"},
        {"after": "9999-12-31T23:59:59-14:00/0193a1b2-0000-7000-8000-000000000001/2"},
    ],
)
def test_page_survives_any_day_and_key(support, life, query):
    life.welcome()

    assert support.get(page(life.wallet), query).status_code == 200


def test_timeline_is_turned_over_there_and_back(support, life):
    for _ in range(LINES_PER_PAGE + 2):
        life.buy(1)

    newest = panels(support, life.wallet, kind="deposits")["Timeline"]
    older_query = followed(newest, "Older")
    older = panels(support, life.wallet, **older_query)["Timeline"]
    back = panels(support, life.wallet, **followed(older, "Newer"))["Timeline"]

    assert older_query["kind"] == "deposits"
    assert (len(newest.rows), len(older.rows)) == (LINES_PER_PAGE, 2)
    assert back.rows == newest.rows
    assert [words for _, words in newest.links] == ["Older", "Export all of these as CSV"]
    assert [words for _, words in older.links] == [
        "Newest",
        "Newer",
        "Export all of these as CSV",
    ]


def followed(table, words):
    (address,) = [address for address, label in table.links if label == words]
    return dict(parse_qsl(address.removeprefix("?").removesuffix("#timeline")))


def test_empty_pages_say_what_comes_next(support, life):
    shown = {title: table.empty for title, table in panels(support, life.wallet).items()}

    assert shown["Timeline"].startswith("Nothing has moved yet: it begins with")
    assert shown["Phone and KGeN wallet"].startswith("No phone yet: the gamer proves one")
    chosen = panels(support, life.wallet, kind="fees")["Timeline"]
    assert chosen.empty == "Nothing matches: choose another kind, or other days."


# --- The export ----------------------------------------------------------------------------------


def test_export_adds_up_to_the_balances(committed_database):
    support, life = staff_client(SUPPORT), Life()
    life.lead()

    response = support.get(export(life))

    header, *told = rows_of(response)
    assert response.streaming
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == (
        f'attachment; filename="timeline-{life.wallet.address}.csv"'
    )
    assert tuple(header) == CSV_HEADER
    assert [row[2] for row in reversed(told)] == LIFE
    kept = ledger.balances(life.wallet.pk)
    sums = {name: sum(int(row[header.index(name)]) for row in told) for name in header[3:-1]}
    assert sums == {"spendable": kept.lazy, **vars(kept)}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row[0]) for row in told)


def test_export_has_what_was_chosen_and_is_written_down(support, life):
    life.welcome()
    life.join(10)

    response = support.get(export(life), {"kind": "fees", "since": "2020-01-01"})

    assert [row[2:5] for row in rows_of(response)[1:]] == [
        ["10 KCash entry fee for Daily Carrom, from bonus", "-10", "-10"]
    ]
    entry = StaffAct.objects.get()
    assert entry.line() == "Exported the timeline (kind fees, since 2020-01-01)"
    assert (entry.by_name[:7], entry.object_pk) == ("support", str(life.wallet.pk))
    did = texts(panels(support, life.wallet)["What staff did"])
    assert [row[1:] for row in did] == [
        [entry.by_name, "wallet", "Exported the timeline (kind fees, since 2020-01-01)"]
    ]


def test_export_of_a_wrong_choice_goes_back_to_it(support, life):
    response = support.get(export(life), {"until": "x"})

    assert response["Location"] == f"{page(life.wallet)}?until=x#timeline"
    assert StaffAct.objects.count() == 0


def test_nobody_exports_what_they_may_not_see(support, life):
    nobody, stranger = staff_client(SUPPORT), staff_client(SUPPORT)
    User.objects.get(pk=nobody.session["_auth_user_id"]).groups.clear()
    stranger.logout()

    assert nobody.get(page(life.wallet)).status_code == 403
    assert nobody.get(export(life)).status_code == 403
    assert stranger.get(export(life)).status_code == 302  # to the login
    assert StaffAct.objects.count() == 0


def test_export_of_no_wallet_is_not_found(support, life):
    address = reverse("admin:wallet_wallet_timeline", args=[0])

    assert support.get(address).status_code == 404


# --- The gamer and the chain ---------------------------------------------------------------------


def test_holds_show_where_each_withdrawal_stands(support, life):
    life.promise(1000)
    life.claim(1000)
    withdrawal = life.withdraw()
    done = panels(support, life.wallet)["Withdrawals on hold"]
    Payout.objects.filter(pk=withdrawal.uid).update(
        state="VOIDED", settlement_address="0x" + "5e" * 20, onchain_id="0x" + "1d" * 32
    )

    assert [(row[0], row[2], row[3], row[4]) for row in texts(done)] == [
        ("1,000 KCash", "PENDING", withdrawal.counterparty, "-")
    ]
    assert panels(support, life.wallet)["Withdrawals on hold"].rows == []


def test_payouts_show_their_place_on_the_chain(support, life):
    payout = on_the_chain(life.welcome())

    ((*shown, _),) = texts(panels(support, life.wallet)["Newest payouts"])

    tx_hash = str(payout.tx_hash)
    assert shown == [
        "Float wallet to custodial wallet",
        "50 KCash",
        "COMPLETED",
        "1",
        f"{tx_hash[:8]}…{tx_hash[-6:]}",
        "12",
        "21,000 wei",
    ]


def test_sessions_and_masked_phone_are_shown(support):
    account = KgenAccountFactory(phone="+919876543210")
    outside = KgenWalletFactory.create(account=account)
    life = Life(gamer=GamerFactory(kgen_account=account))
    now = timezone.now()
    Session.objects.create(
        gamer=life.wallet.gamer,
        device_id="pixel-9",
        started_at=now,
        ends_at=now + timedelta(days=1),
        revoked_at=now,
    )

    shown = panels(support, life.wallet)

    assert [row[2:] for row in texts(shown["Sessions"])] == [["pixel-9", "revoked"]]
    assert texts(shown["Phone and KGeN wallet"]) == [
        ["+91******3210", "-", outside.address, "KGeN"]
    ]
    assert account.phone not in support.get(page(life.wallet)).content.decode()


def test_what_staff_did_to_wallet_and_gamer_is_shown(support, life):
    support.post(
        reverse("admin:accounts_gamer_block", args=[life.wallet.gamer_id]), {"reason": "a"}
    )
    support.get(export(life))
    support.get(export(Life()))

    did = texts(panels(support, life.wallet)["What staff did"])

    assert [row[2:] for row in did] == [
        ["wallet", "Exported the timeline (all of it)"],
        ["gamer", "Block: a"],
    ]


OF_THE_GAMER = {"Sessions", "Phone and KGeN wallet"}


@pytest.mark.parametrize(
    ("role", "hidden"), [(SUPPORT, set()), (OPERATORS, set()), (FINANCE, OF_THE_GAMER)]
)
def test_only_who_may_see_the_gamer_sees_the_gamer_here(support, life, role, hidden):
    support.post(
        reverse("admin:accounts_gamer_block", args=[life.wallet.gamer_id]), {"reason": "a"}
    )

    shown = panels(staff_client(role), life.wallet)

    assert OF_THE_GAMER - set(shown) == hidden
    assert len(shown["What staff did"].rows) == (0 if hidden else 1)


# --- Its cost ------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 30])
def test_page_costs_the_same_queries_whatever_happened(
    support, life, times, django_assert_num_queries
):
    on_the_chain(life.welcome())
    for _ in range(times):
        life.win(5)
        life.claim(5)
        support.get(export(life))

    with django_assert_num_queries(19):
        assert text(support.get(page(life.wallet)).content.decode())
