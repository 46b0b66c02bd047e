"""The stream of a board, from a real process to real connections."""

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.utils import timezone

from accounts import sessions
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import SessionFactory, token_for
from kgen.local.processes import LOOPBACK
from tournaments import cancelling, settling, tickets
from tournaments.tests.factories import TournamentFactory, player, record_score, seat
from tournaments.tests.streams import Stream

STREAM_URL = "https://stream.example/boards"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- The way there -------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_api_sends_a_watcher_on_with_the_token(settings):
    settings.STREAM_URL = STREAM_URL
    tournament = TournamentFactory.create(now=timezone.now())
    client = GameClient(tournament.game).as_gamer(player(tournament.game))

    response = client.get(f"/leaderboards/_byTournament/{tournament.uid}/_stream")

    assert response.status_code == 307
    address = urlsplit(response["Location"])
    assert f"{address.scheme}://{address.netloc}{address.path}" == (
        f"{STREAM_URL}/leaderboards/{tournament.uid}"
    )
    assert parse_qs(address.query) == {"token": [client.token]}
    assert response["Cache-Control"] == "no-store"


@pytest.mark.django_db
def test_the_token_of_a_header_is_sent_on_too(settings):
    settings.STREAM_URL = STREAM_URL
    tournament = TournamentFactory.create(now=timezone.now())
    token = token_for(SessionFactory.create(gamer=player(tournament.game)))

    response = GameClient(tournament.game).get(
        f"/leaderboards/_byTournament/{tournament.uid}/_stream", None, **{"user-jwt-token": token}
    )

    assert parse_qs(urlsplit(response["Location"]).query) == {"token": [token]}


@pytest.mark.django_db
def test_the_api_knows_no_foreign_board(settings):
    settings.STREAM_URL = STREAM_URL
    stranger = player(TournamentFactory.create(now=timezone.now()).game)
    foreign = TournamentFactory.create(now=timezone.now())

    response = (
        GameClient(stranger.game)
        .as_gamer(stranger)
        .get(f"/leaderboards/_byTournament/{foreign.uid}/_stream")
    )

    assert response.status_code == 404
    assert error_body(response) == {"error": "TOURNAMENT_NOT_FOUND", "details": {}}


@pytest.mark.django_db
def test_where_nothing_is_streamed_the_api_says_so():
    tournament = TournamentFactory.create(now=timezone.now())

    response = (
        GameClient(tournament.game)
        .as_gamer(player(tournament.game))
        .get(f"/leaderboards/_byTournament/{tournament.uid}/_stream")
    )

    assert response.status_code == 503
    assert error_body(response) == {"error": "SERVICE_UNAVAILABLE", "details": {}}
    assert response["Retry-After"] == "1"


# --- The stream ----------------------------------------------------------------------------------


@pytest.fixture
def stream(committed_database: None, tmp_path: Path) -> Iterator[Stream]:
    stream = Stream(tmp_path)
    try:
        yield stream
    finally:
        stream.stop()


@pytest.fixture
def tournament(stream):
    return TournamentFactory.create(now=timezone.now())


def token_of(gamer, **kwargs):
    return token_for(SessionFactory.create(gamer=gamer), **kwargs)


def test_the_board_comes_at_once_and_again_whenever_it_has_changed(stream, tournament):
    first = seat(tournament, gamer=player(tournament.game, gamer_id="a"), score=5)
    second = seat(tournament, gamer=player(tournament.game, gamer_id="b"), score=3)
    client = GameClient(tournament.game).as_gamer(first.gamer)
    stream.start()

    watcher = stream.watch(tournament, client.token)
    name, at_once = watcher.event()
    until(lambda: watcher.answer.readline() == b":\n")  # unchanged, it is not sent again
    record_score(tournament, second.gamer, 8, at=timezone.now())
    after = watcher.standings()
    watcher.close()

    assert watcher.status == 200
    assert watcher.answer.getheader("Content-Type") == "text/event-stream; charset=utf-8"
    assert watcher.answer.getheader("Cache-Control") == "no-store"
    assert name == "standings"
    read = client.get(f"/leaderboards/_byTournament/{tournament.uid}").json()
    assert list(at_once) == list(read)
    assert at_once["me"] is None
    assert [row["user_id"] for row in at_once["leaderboard"]] == ["a", "b"]
    assert after == [("b", 1, 8), ("a", 2, 5)]
    assert client.token not in stream.log.read_text()


@pytest.mark.slow
def test_one_reading_serves_all_who_watch_and_who_leave_are_forgotten(stream, tournament):
    taken = seat(tournament, score=5)
    token = token_of(taken.gamer)
    stream.start()

    watchers = [stream.watch(tournament, token) for _ in range(20)]
    at_once = {tuple(watcher.standings()) for watcher in watchers}
    watching = stream.watching()
    record_score(tournament, taken.gamer, 6, at=timezone.now())
    after = {tuple(watcher.standings()) for watcher in watchers}
    for watcher in watchers:
        watcher.close()
    until(lambda: stream.watching() == 0)

    assert (at_once, after) == ({((taken.tiebreak, 1, 5),)}, {((taken.tiebreak, 1, 6),)})
    assert watching == 20


@pytest.mark.slow
def test_a_revoked_token_ends_the_stream(stream, tournament):
    stays, goes = player(tournament.game), player(tournament.game)
    stream.start()
    staying = stream.watch(tournament, token_of(stays))
    going = stream.watch(tournament, token_of(goes))
    staying.standings()
    going.standings()

    sessions.revoke(gamer=goes, now=timezone.now())
    name, refusal = going.event()
    ended = going.event()
    seat(tournament, gamer=stays)

    assert name == "error"
    assert (refusal["statusCode"], refusal["error"]) == (401, "UN_AUTHORIZED")
    assert refusal["details"] == {"reason": "TOKEN_INVALID"}
    assert ended is None
    assert staying.standings() == [(stays.gamer_id, 1, 0)]
    staying.close()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["blocked", "disabled"])
def test_a_blocked_gamer_and_a_disabled_client_watch_no_longer(stream, tournament, change):
    gamer = player(tournament.game)
    stream.start()
    watcher = stream.watch(tournament, token_of(gamer))
    watcher.standings()

    if change == "blocked":
        gamer.is_blocked = True
        gamer.save()
    else:
        tournament.game.is_active = False
        tournament.game.save()
    name, refusal = watcher.event()

    assert name == "error"
    assert refusal["details"]["reason"] == (
        "ACCOUNT" if change == "blocked" else "CLIENT_CREDENTIALS"
    )
    assert watcher.event() is None


def test_who_may_not_watch_is_told_in_the_contracts_words(stream, tournament):
    gamer = player(tournament.game)
    token = token_of(gamer)
    foreign = TournamentFactory.create(now=timezone.now())
    hidden = TournamentFactory.create(now=timezone.now(), hidden=True, game=tournament.game)
    stream.start()

    def refused(which, shown):
        watcher = stream.watch(which, shown)
        error = watcher.error()
        return watcher.status, error["error"], error["details"].get("reason")

    assert refused(tournament, "") == (401, "UN_AUTHORIZED", "TOKEN_MISSING")
    assert refused(tournament, "garbled") == (401, "UN_AUTHORIZED", "TOKEN_INVALID")
    assert refused(tournament, sessions.new_token()) == (401, "UN_AUTHORIZED", "TOKEN_INVALID")
    expired = token_of(gamer, expired=True)
    assert refused(tournament, expired) == (401, "UN_AUTHORIZED", "TOKEN_EXPIRED")
    for unknown in (foreign, hidden, uuid.uuid4(), "no-uuid"):
        assert refused(unknown, token) == (404, "TOURNAMENT_NOT_FOUND", None)
    assert refused(f"{tournament.uid}/more", token) == (404, "NOT_FOUND", None)


@pytest.mark.slow
def test_the_end_of_a_tournament_is_the_last_event(stream):
    now = timezone.now()
    over = TournamentFactory.create(now=now, over=True)
    first, _ = seat(over, score=5), seat(over, score=3)
    stream.start()
    watcher = stream.watch(over, token_of(first.gamer))
    watcher.standings()

    settling.settle(uid=over.uid, now=now)
    name, board = watcher.event()

    assert (name, board["tournament_status"]) == ("standings", "COMPLETED")
    assert board["winners"][0]["user_id"] == first.tiebreak
    assert watcher.event() == ("end", {})
    assert watcher.event() is None


@pytest.mark.slow
def test_a_cancelled_tournament_ends_for_who_comes_later_too(stream, tournament):
    taken = seat(tournament, score=5)
    cancelling.cancel(uid=tournament.uid, now=timezone.now())
    stream.start()

    watcher = stream.watch(tournament, token_of(taken.gamer))

    assert watcher.standings() == [(taken.tiebreak, 1, 5)]
    assert watcher.event() == ("end", {})
    assert watcher.event() is None


@pytest.mark.slow
def test_one_watcher_too_many_is_sent_away_for_a_while(stream, tournament):
    token = token_of(player(tournament.game))
    stream.start(STREAM_MOST_WATCHERS="2")
    watchers = [stream.watch(tournament, token) for _ in range(2)]

    late = stream.watch(tournament, token)

    assert late.status == 503
    assert late.answer.getheader("Retry-After") == "5"
    assert late.error() == {"error": "SERVICE_UNAVAILABLE", "details": {}}
    watchers[0].close()
    until(lambda: stream.watching() == 1)
    assert stream.watch(tournament, token).status == 200


@pytest.mark.slow
def test_a_ticket_opens_one_board_for_a_minute(stream, tournament):
    seat(tournament, gamer=player(tournament.game, gamer_id="a"), score=5)
    hidden = TournamentFactory.create(now=timezone.now(), hidden=True)
    with time_machine.travel(timezone.now() - timedelta(seconds=61)):
        old = tickets.issue(tournament)
    stream.start()

    assert stream.watch(tournament, tickets.issue(tournament)).standings() == [("a", 1, 5)]
    assert stream.watch(hidden, tickets.issue(hidden)).standings() == []
    for which, shown, reason in [
        (tournament, tickets.issue(hidden), "TOKEN_INVALID"),
        (tournament, tickets.issue(tournament) + "x", "TOKEN_INVALID"),
        (tournament, old, "TOKEN_EXPIRED"),
        ("no-uuid", tickets.issue(tournament), "TOKEN_INVALID"),
    ]:
        refused = stream.watch(which, shown)
        assert (refused.status, refused.error()["details"]) == (401, {"reason": reason})


@pytest.mark.slow
def test_who_does_not_read_is_dropped(stream, tournament):
    seats = [
        seat(tournament, gamer=player(tournament.game, gamer_id=f"{n:03}" + "x" * 120), score=1)
        for n in range(60)
    ]
    token = token_of(seats[0].gamer)
    stream.start(STREAM_PATIENCE_SECONDS="0.3", STREAM_INTERVAL_SECONDS="0.01")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((LOOPBACK, stream.port))
        deaf.sendall(
            f"GET /leaderboards/{tournament.uid}?token={token} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        until(lambda: stream.watching() == 1)

        for points in range(2, 4000):
            record_score(tournament, seats[0].gamer, points, at=timezone.now())
            if points % 20 == 0 and stream.watching() == 0:
                break

        assert stream.watching() == 0
