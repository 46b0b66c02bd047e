from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.tests.api import GameClient
from accounts.tests.factories import GameFactory
from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from tournaments import event_log
from tournaments.event_log import KINDS, Key, Wanted
from tournaments.models import GameEvent
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.test_eventing import event

pytestmark = pytest.mark.django_db

PAGE = "admin:tournaments_gameevent_changelist"


def keep(gamer, number, *, at, tournament=None, payload=None):
    """An event that was received so many seconds after `at`."""
    return GameEvent.objects.create(
        event_day=at.date(),
        gamer=gamer,
        body_hash=sha256(uuid4().bytes).digest(),
        occurred_at=at,
        received_at=at + timedelta(seconds=number),
        tournament=tournament,
        metadata={"playerId": gamer.gamer_id},
        payload=payload or {"achievement": {"value": number}},
    )


def key_of(kept):
    return kept.gamer_id, bytes(kept.body_hash)


def all_pages(wanted, *, size):
    pages, key = [], None
    while True:
        page = event_log.page_of(wanted, size=size, older_than=key)
        pages.append(page.events)
        if page.older_than is None:
            return pages
        key = Key.read(str(page.older_than))


# --- Looking up ----------------------------------------------------------------------------------


def test_pages_hold_every_event_once_newest_first(now):
    gamers = [player(GameFactory.create()) for _ in range(2)]
    kept = [keep(gamers[number % 2], number // 3, at=now) for number in range(9) if number != 2]

    pages = all_pages(Wanted(), size=3)

    assert [len(page) for page in pages] == [3, 3, 2]
    found = [one for page in pages for one in page]
    assert {key_of(one) for one in found} == {key_of(one) for one in kept}
    assert len(found) == len(kept)
    times = [one.received_at for one in found]
    assert times == sorted(times, reverse=True)


def test_what_is_wanted_is_found(now):
    tournament, other = (TournamentFactory.create(now=now) for _ in range(2))
    gamer, stranger = player(tournament.game), player(tournament.game)
    score = {"score": {"value": 1}}
    scored = keep(gamer, 1, at=now, tournament=tournament, payload=score)
    elsewhere = keep(gamer, 2, at=now, tournament=other, payload=score)
    achieved = keep(gamer, 3, at=now)
    foreign = keep(stranger, 4, at=now, tournament=tournament, payload=score)

    def found(**wanted):
        return [key_of(one) for one in event_log.page_of(Wanted(**wanted), size=9).events]

    assert found(gamer=gamer) == [key_of(achieved), key_of(elsewhere), key_of(scored)]
    assert found(tournament=tournament) == [key_of(foreign), key_of(scored)]
    assert found(gamer=gamer, tournament=tournament) == [key_of(scored)]
    assert found(kind="score") == [key_of(foreign), key_of(elsewhere), key_of(scored)]
    assert found(gamer=gamer, kind="achievement") == [key_of(achieved)]
    second = timedelta(seconds=1)
    assert found(since=now + 2 * second, until=now + 4 * second) == [
        key_of(achieved),
        key_of(elsewhere),
    ]


def test_a_look_ends_though_wanted_ones_are_few(now, monkeypatch):
    monkeypatch.setattr(event_log, "LONGEST_LOOK", 4)
    gamer = player(GameFactory.create())
    rare = keep(gamer, 0, at=now, payload={"lobbyJoined": {"value": []}})
    for number in range(1, 11):
        keep(gamer, number, at=now)

    pages = all_pages(Wanted(kind="lobbyJoined"), size=3)

    assert [[key_of(one) for one in page] for page in pages] == [[], [], [key_of(rare)]]


@pytest.mark.parametrize(
    "text", ["", "x", "2026-01-01_1_00", "2026-01-01T00:00:00+00:00_-1_", "__"]
)
def test_a_key_that_is_none_of_ours_is_no_key(text):
    assert Key.read(text) is None


def test_every_look_follows_an_index(now):
    tournament = TournamentFactory.create(now=now)
    gamers = [player(tournament.game) for _ in range(50)]
    gamer = gamers[0]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO tournaments_gameevent (
                event_day, gamer_id, body_hash, occurred_at, received_at, tournament_id, metadata,
                payload
            )
            SELECT %(day)s, %(gamer)s + number / 50 %% 50, sha256(number::text::bytea), %(now)s,
                %(now)s::timestamptz - number * interval '1 second',
                %(tournament)s + number %% 50, '{}', '{"score": {"value": 1}}'
            FROM generate_series(1, 100000) AS number
            """,
            {
                "day": now.date(),
                "now": now,
                "gamer": gamer.pk,
                "tournament": tournament.pk,
            },
        )
        cursor.execute("ANALYZE tournaments_gameevent")
    middle = Key(now - timedelta(seconds=50_000), gamer.pk, bytes(32))
    looks = [
        (Wanted(), "events_newest"),
        (Wanted(kind="lobbyJoined"), "events_newest"),
        (Wanted(gamer=gamer), "events_of_gamer"),
        (Wanted(tournament=tournament), "events_of_tournament"),
        # Either of the two will do.
        (Wanted(gamer=gamer, tournament=tournament, kind="score"), "events_of_"),
    ]

    for wanted, index in looks:
        for key in (None, middle):
            with CaptureQueriesContext(
                connection,
            ) as queries:
                event_log.page_of(wanted, size=50, older_than=key)
            for query in queries.captured_queries:
                if "tournaments_gameevent" in query["sql"]:
                    assert index in plan(query["sql"]), (wanted, key)


def plan(statement):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        told = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan" not in told
    return told


# --- The console ---------------------------------------------------------------------------------


def rows(response):
    ((_, table),) = response.context["panels"]
    return table.rows


def look(role=SUPPORT, **query):
    return staff_client(role).get(reverse(PAGE), query)


def test_events_of_every_kind_are_stored_and_shown(now):
    taken = seat(TournamentFactory.create(now=now))
    gamer, uid = taken.gamer, str(taken.tournament.uid)
    values = {
        "score": 24,
        "achievement": 1000,
        "levelup": "gold",
        "progress": "<b>half</b>",
        "matchResult": ["won", "3:1"],
        "matchJoined": ["m-1"],
        "tournamentJoined": [uid],
        "lobbyJoined": [],
    }
    assert tuple(values) == KINDS
    client = GameClient(gamer.game).as_gamer(gamer)
    for kind, value in values.items():
        body = event(gamer, {kind: {"value": value}}, at=now, tournament=uid)
        assert client.post("/eventing", body).json() is True

    stored = GameEvent.objects.values_list("payload", flat=True)
    assert {kind: told["value"] for one in stored for kind, told in one.items()} == values
    for kind in KINDS:
        response = look(kind=kind)
        (row,) = rows(response)
        assert row[4].startswith(kind)
        assert b"<b>half" not in response.content
    assert {row[4] for row in rows(look())} == {
        "score 24",
        "achievement 1,000",
        "levelup gold",
        "progress <b>half</b>",
        "matchResult (2)",
        "matchJoined (1)",
        "tournamentJoined (1)",
        "lobbyJoined (0)",
    }


@pytest.mark.parametrize(("role", "status"), [(OPERATORS, 200), (SUPPORT, 200), (FINANCE, 403)])
def test_operators_and_support_look(role, status):
    assert look(role).status_code == status


def test_strangers_do_not(client):
    assert client.get(reverse(PAGE)).status_code == 302


def test_index_leads_to_the_events():
    page = staff_client(SUPPORT).get(reverse("admin:index")).content.decode()

    assert f'href="{reverse(PAGE)}"' in page


def test_a_search_by_gamer_tournament_and_day(now):
    tournament = TournamentFactory.create(now=now)
    gamer, other = player(tournament.game), player(tournament.game)
    keep(gamer, 1, at=now, tournament=tournament)
    keep(other, 2, at=now)
    yesterday = now - timedelta(days=1)
    keep(gamer, 3, at=yesterday)

    assert len(rows(look())) == 3
    assert len(rows(look(gamer=gamer.gamer_id))) == 2
    assert len(rows(look(gamer=str(gamer.uid)))) == 2
    assert len(rows(look(tournament=str(tournament.uid)))) == 1
    day = f"{yesterday:%Y-%m-%d}"
    assert len(rows(look(since=day, until=day))) == 1


@pytest.mark.parametrize(
    "query",
    [
        {"gamer": "nobody"},
        {"gamer": "a\x00"},
        {"tournament": "nonsense"},
        {"tournament": "7f9c2a34-1c58-4f0c-b1a1-6f0a5e0b9d11"},
        {"kind": "rumour"},
        {"since": "yesterday"},
        {"since": "2026-01-02", "until": "2026-01-01"},
    ],
)
def test_a_wrong_search_says_so(now, query):
    keep(player(GameFactory.create()), 1, at=now)

    response = look(**query)

    assert response.status_code == 200
    assert rows(response) == []
    assert b"errornote" in response.content


def test_a_name_that_several_games_know_is_chosen_from(now):
    first, second = (player(GameFactory.create(), gamer_id="g-481") for _ in range(2))
    keep(first, 1, at=now)

    response = look(gamer="g-481")

    assert len(rows(response)) == 2
    assert str(first.uid) in rows(response)[0][0] + rows(response)[1][0]
    assert str(second.uid) in rows(response)[0][0] + rows(response)[1][0]


def test_pages_lead_to_older_ones_and_back(now):
    gamer = player(GameFactory.create())
    for number in range(51):
        keep(gamer, number, at=now)
    support = staff_client(SUPPORT)
    first = support.get(reverse(PAGE), {"gamer": str(gamer.uid)})
    ((_, table),) = first.context["panels"]
    ((address, text),) = table.links

    second = support.get(reverse(PAGE) + address)

    assert (len(table.rows), text) == (50, "Older")
    ((_, table),) = second.context["panels"]
    assert (len(table.rows), [text for _, text in table.links]) == (1, ["Newest"])
    assert f"gamer={gamer.uid}" in table.links[0][0]


@pytest.mark.parametrize("events", [1, 3])
def test_a_page_makes_few_queries(now, events, django_assert_num_queries):
    tournament = TournamentFactory.create(now=now)
    gamers = [player(tournament.game) for _ in range(events)]
    for number, gamer in enumerate(gamers):
        keep(gamer, number, at=now, tournament=tournament)
    support = staff_client(SUPPORT)
    support.get(reverse(PAGE))

    # Session, user, device, permissions twice; events, gamers, tournaments.
    with django_assert_num_queries(8):
        support.get(reverse(PAGE))


def test_newest_events_stand_on_the_pages_of_gamer_and_tournament(now):
    tournament = TournamentFactory.create(now=now)
    gamer, other = player(tournament.game), player(tournament.game)
    keep(gamer, 1, at=now, tournament=tournament)
    keep(other, 2, at=now, tournament=tournament)
    support = staff_client(SUPPORT)

    for row, name, number in (
        (gamer, "admin:accounts_gamer_change", 1),
        (tournament, "admin:tournaments_tournament_change", 2),
    ):
        panels = dict(support.get(reverse(name, args=[row.pk])).context["panels"])
        table = panels["Newest events"]
        assert len(table.rows) == number
        ((address, _),) = table.links
        ((_, all_of_them),) = support.get(address).context["panels"]
        assert len(all_of_them.rows) == number


def test_days_are_days_in_utc(now):
    gamer = player(GameFactory.create())
    at = datetime(2026, 1, 2, tzinfo=UTC)
    for seconds in (-1, 0, 86_399, 86_400):
        keep(gamer, seconds, at=at)

    assert len(rows(look(since="2026-01-02", until="2026-01-02"))) == 2
