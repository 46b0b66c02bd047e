import uuid
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory
from tournaments.models import GameEvent, Participation
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.world import buckets, world

pytestmark = pytest.mark.django_db


def milliseconds(moment):
    return int(moment.timestamp() * 1000)


def event(gamer, payload, *, at, tournament=None, **metadata):
    named = (
        {} if tournament is None else {"tournamentId": str(getattr(tournament, "uid", tournament))}
    )
    return {
        "timestamp": milliseconds(at),
        "metadata": {"playerId": gamer.gamer_id, **named, **metadata},
        "payload": payload,
    }


def score_event(seat, value, *, at, **metadata):
    return event(
        seat.gamer, {"score": {"value": value}}, at=at, tournament=seat.tournament, **metadata
    )


def send(gamer, body, *, at=None, **kwargs):
    """Post an event, which the server receives at `at`."""
    with time_machine.travel(at or timezone.now(), tick=False):
        return GameClient(gamer.game).as_gamer(gamer).post("/eventing", body, **kwargs)


def board_of(seat):
    seat.refresh_from_db()
    return seat.score, seat.reached_at


def test_a_score_is_stored_and_applied(now):
    taken = seat(TournamentFactory.create(now=now))
    body = score_event(taken, 24, at=now, matchId="m-90211", level=3, mood="brave")

    response = send(taken.gamer, body)

    assert (response.status_code, response.json()) == (200, True)
    assert board_of(taken) == (24, now)
    stored = GameEvent.objects.get()
    assert (stored.event_day, stored.gamer) == (now.date(), taken.gamer)
    assert (stored.occurred_at, stored.received_at) == (now, now)
    assert stored.tournament == taken.tournament
    assert stored.metadata == body["metadata"]
    assert stored.payload == {"score": {"value": 24}}


@pytest.mark.parametrize(
    "payload",
    [
        {"achievement": {"value": 3}},
        {"levelup": {"value": "gold"}},
        {"progress": {"value": "half way"}},
        {"matchResult": {"value": ["won", "3:1"]}},
        {"matchJoined": {"value": ["m-1"]}},
        {"lobbyJoined": {"value": []}},
    ],
)
def test_other_kinds_are_only_stored(now, payload):
    gamer = player(GameFactory.create())

    response = send(gamer, event(gamer, payload | {"rumour": 1}, at=now, tournament="not-an-id"))

    assert (response.status_code, response.json()) == (200, True)
    assert GameEvent.objects.get().payload == payload
    assert buckets(gamer) == (50, 0, 0, 0)


def test_the_day_is_the_events_own(now):
    gamer = player(GameFactory.create())
    yesterday = now - timedelta(days=1)

    send(gamer, event(gamer, {"achievement": {"value": 1}}, at=yesterday))

    assert GameEvent.objects.get().event_day == yesterday.date()


def test_a_timestamp_below_the_bound_is_in_seconds(now):
    gamer = player(GameFactory.create())
    seconds, thousandths = (
        event(gamer, {"achievement": {"value": value}}, at=now) | {"timestamp": timestamp}
        for value, timestamp in ((1, 99_999_999_999 // 60), (2, 100_000_000_000))
    )

    send(gamer, seconds)
    send(gamer, thousandths)

    times = GameEvent.objects.order_by("payload__achievement__value").values_list(
        "occurred_at", flat=True
    )
    assert list(times) == [
        datetime.fromtimestamp(99_999_999_999 // 60, tz=UTC),
        datetime.fromtimestamp(100_000_000, tz=UTC),
    ]


def test_an_integer_player_id_is_taken_as_its_text(now):
    gamer = player(GameFactory.create(), gamer_id="481")
    body = event(gamer, {"achievement": {"value": 1}}, at=now)
    body["metadata"]["playerId"] = 481

    assert send(gamer, body).status_code == 200


# --- Shape ---------------------------------------------------------------------------------------


def without(body, *path):
    *parents, last = path
    inner = body
    for name in parents:
        inner = inner[name]
    del inner[last]
    return body


def with_value(body, value, *path):
    *parents, last = path
    inner = body
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return body


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda body: without(body, "timestamp"), "timestamp"),
        (lambda body: with_value(body, "1767229200000", "timestamp"), "timestamp"),
        (lambda body: with_value(body, 1.5, "timestamp"), "timestamp"),
        (lambda body: with_value(body, -1, "timestamp"), "timestamp"),
        (lambda body: without(body, "metadata"), "metadata"),
        (lambda body: with_value(body, [], "metadata"), "metadata"),
        (lambda body: without(body, "metadata", "playerId"), "metadata.playerId"),
        (lambda body: with_value(body, True, "metadata", "playerId"), "metadata.playerId"),
        (lambda body: without(body, "metadata", "tournamentId"), "metadata.tournamentId"),
        (lambda body: with_value(body, 7, "metadata", "tournamentId"), "metadata.tournamentId"),
        (lambda body: with_value(body, 7, "metadata", "gameId"), "metadata.gameId"),
        (lambda body: with_value(body, "3", "metadata", "level"), "metadata.level"),
        (lambda body: with_value(body, 1.0, "metadata", "areaCode"), "metadata.areaCode"),
        (lambda body: without(body, "payload"), "payload"),
        (lambda body: with_value(body, {}, "payload"), "payload"),
        (lambda body: with_value(body, {"rumour": 1}, "payload"), "payload"),
        (lambda body: with_value(body, 24, "payload", "score"), "payload.score"),
        (lambda body: with_value(body, {}, "payload", "score"), "payload.score.value"),
        (lambda body: with_value(body, -1, "payload", "score", "value"), "payload.score.value"),
        (lambda body: with_value(body, 2**53, "payload", "score", "value"), "payload.score.value"),
        (lambda body: with_value(body, "24", "payload", "score", "value"), "payload.score.value"),
        (lambda body: with_value(body, 24.0, "payload", "score", "value"), "payload.score.value"),
        (lambda body: with_value(body, False, "payload", "score", "value"), "payload.score.value"),
        (
            lambda body: with_value(body, {"value": "x" * 1025}, "payload", "levelup"),
            "payload.levelup.value",
        ),
        (
            lambda body: with_value(body, {"value": ["m"] * 51}, "payload", "matchJoined"),
            "payload.matchJoined.value",
        ),
        (
            lambda body: with_value(body, {"value": [7]}, "payload", "matchResult"),
            "payload.matchResult.value.0",
        ),
    ],
)
def test_a_wrong_shape_is_refused(now, spoil, field):
    taken = seat(TournamentFactory.create(now=now))
    body = spoil(score_event(taken, 24, at=now))
    before = world()

    response = send(taken.gamer, body)

    assert response.status_code == 400
    refused = error_body(response)
    assert refused["error"] == "BAD_REQUEST"
    assert list(refused["details"]["fields"]) == [field]
    assert world() == before


@pytest.mark.parametrize("ahead", [timedelta(seconds=121), timedelta(minutes=10), None])
def test_a_timestamp_far_ahead_is_refused(now, ahead):
    taken = seat(TournamentFactory.create(now=now))
    body = score_event(taken, 24, at=now)
    body["timestamp"] = 2**53 - 1 if ahead is None else milliseconds(now + ahead)
    before = world()

    response = send(taken.gamer, body)

    assert response.status_code == 400
    assert error_body(response) == {
        "error": "BAD_REQUEST",
        "details": {"reason": "TIMESTAMP_IN_FUTURE"},
    }
    assert world() == before


@pytest.mark.parametrize("metadata", [{"playerId": "somebody"}, {"gameId": "other-game"}])
def test_another_player_or_game_is_refused(now, metadata):
    taken = seat(TournamentFactory.create(now=now))
    before = world()

    response = send(taken.gamer, score_event(taken, 24, at=now, **metadata))

    assert response.status_code == 403
    assert error_body(response) == {"error": "PLAYER_MISMATCH", "details": {}}
    assert world() == before


def test_the_clients_own_game_is_accepted(now):
    taken = seat(TournamentFactory.create(now=now))
    own = taken.gamer.game.game_uid

    assert send(taken.gamer, score_event(taken, 24, at=now, gameId=own)).status_code == 200


# --- Repetition ----------------------------------------------------------------------------------


def test_an_equal_event_counts_once(now):
    taken = seat(TournamentFactory.create(now=now))
    body = score_event(taken, 24, at=now)
    send(taken.gamer, body)
    before = world()
    shuffled = dict(reversed(body.items()))

    again = send(taken.gamer, shuffled, at=now + timedelta(seconds=5))

    assert (again.status_code, again.json()) == (200, True)
    assert world() == before


def test_an_equal_event_is_known_before_the_tournament_is_looked_at(now):
    tournament = TournamentFactory.create(now=now)
    taken = seat(tournament)
    body = score_event(taken, 24, at=now)
    send(taken.gamer, body)
    before = world()

    late = send(taken.gamer, body, at=tournament.ends_at + timedelta(hours=1))

    assert (late.status_code, late.json()) == (200, True)
    assert world() == before


def test_an_equal_event_of_another_gamer_is_another_event(now):
    game = GameFactory.create()
    first, second = (player(game) for _ in range(2))
    for gamer in (first, second):
        send(gamer, event(gamer, {"achievement": {"value": 1}}, at=now))

    assert GameEvent.objects.count() == 2


def test_after_seven_days_an_equal_event_is_a_new_matter(now):
    tournament = TournamentFactory.create(now=now)
    taken = seat(tournament)
    body = score_event(taken, 24, at=now)
    send(taken.gamer, body)

    response = send(taken.gamer, body, at=now + timedelta(days=7, seconds=1))

    assert response.status_code == 400
    assert error_body(response)["error"] == "TOURNAMENT_IS_NOT_LIVE"


def test_after_seven_days_an_equal_event_is_stored_over_the_old_one(now):
    gamer = player(GameFactory.create())
    body = event(gamer, {"achievement": {"value": 1}}, at=now)
    send(gamer, body)
    later = now + timedelta(days=7, seconds=1)

    response = send(gamer, body, at=later)

    assert response.status_code == 200
    assert GameEvent.objects.get().received_at == later


# --- The window of a score -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stamped", "received", "reached"),
    [
        # (from the start, from the start, from the start)
        (0, 0, 0),
        (-120, 1, 0),
        (-1, 0, 0),
        (90, 30, 30),
        (30, 90, 30),
        (3600, 3600, 3600),
        (3600, 3640, 3600),
        (3590, 3659, 3590),
        (3700, 3590, 3590),
    ],
)
def test_a_score_counts_inside_its_window(now, stamped, received, reached):
    taken = seat(TournamentFactory.create(now=now))
    start = taken.tournament.starts_at

    response = send(
        taken.gamer,
        score_event(taken, 24, at=start + timedelta(seconds=stamped)),
        at=start + timedelta(seconds=received),
    )

    assert (response.status_code, response.json()) == (200, True)
    assert board_of(taken) == (24, start + timedelta(seconds=reached))


@pytest.mark.parametrize(
    ("stamped", "received"),
    [
        (0, -1),
        (-30, -30),
        (-121, 1),
        (3590, 3660),
        (3590, 3661),
        (3601, 3610),
        (3700, 3605),
    ],
)
def test_a_score_outside_of_its_window_is_refused(now, stamped, received):
    taken = seat(TournamentFactory.create(now=now))
    start = taken.tournament.starts_at
    before = world()

    response = send(
        taken.gamer,
        score_event(taken, 24, at=start + timedelta(seconds=stamped)),
        at=start + timedelta(seconds=received),
    )

    assert response.status_code == 400
    assert error_body(response) == {"error": "TOURNAMENT_IS_NOT_LIVE", "details": {}}
    assert world() == before


def test_an_older_event_changes_nothing(now):
    taken = seat(TournamentFactory.create(now=now))
    send(taken.gamer, score_event(taken, 24, at=now))

    response = send(taken.gamer, score_event(taken, 99, at=now - timedelta(seconds=1)))

    assert (response.status_code, response.json()) == (200, True)
    assert board_of(taken) == (24, now)
    assert GameEvent.objects.count() == 2


def test_the_newest_total_counts_even_if_lower(now):
    taken = seat(TournamentFactory.create(now=now))
    send(taken.gamer, score_event(taken, 24, at=now - timedelta(seconds=1)))

    send(taken.gamer, score_event(taken, 7, at=now))

    assert board_of(taken) == (7, now)


@pytest.mark.parametrize("order", [(3, 5), (5, 3)])
def test_at_one_moment_the_greater_value_counts(now, order):
    taken = seat(TournamentFactory.create(now=now))

    for value in order:
        send(taken.gamer, score_event(taken, value, at=now))

    assert board_of(taken) == (5, now)


# --- Refusals of the tournament ------------------------------------------------------------------


@pytest.mark.parametrize("which", ["unknown", "malformed", "hidden", "of another game"])
def test_a_score_in_an_unknown_tournament_is_refused(now, which):
    gamer = player(GameFactory.create())
    tournament = {
        "unknown": lambda: uuid.uuid4(),
        "malformed": lambda: "no-uuid",
        "hidden": lambda: TournamentFactory.create(now=now, hidden=True, game=gamer.game),
        "of another game": lambda: TournamentFactory.create(now=now),
    }[which]()
    before = world()

    response = send(gamer, event(gamer, {"score": {"value": 1}}, at=now, tournament=tournament))

    assert response.status_code == 404
    assert error_body(response) == {"error": "TOURNAMENT_NOT_FOUND", "details": {}}
    assert world() == before


def test_a_score_without_a_seat_is_refused(now):
    tournament = TournamentFactory.create(now=now)
    gamer = player(tournament.game)
    before = world()

    response = send(gamer, event(gamer, {"score": {"value": 1}}, at=now, tournament=tournament))

    assert response.status_code == 404
    assert error_body(response) == {"error": "TOURNAMENT_PARTICIPATION_NOT_FOUND", "details": {}}
    assert world() == before


def test_a_score_after_leaving_is_refused(now):
    taken = seat(TournamentFactory.create(now=now))
    Participation.objects.update(left_at=now)
    before = world()

    response = send(taken.gamer, score_event(taken, 24, at=now))

    assert response.status_code == 404
    assert error_body(response)["error"] == "TOURNAMENT_PARTICIPATION_NOT_FOUND"
    assert world() == before


# --- tournamentJoined ----------------------------------------------------------------------------


def joined_event(gamer, tournaments, *, at, **more):
    listed = [str(getattr(tournament, "uid", tournament)) for tournament in tournaments]
    return event(gamer, {"tournamentJoined": {"value": listed}, **more}, at=at)


def test_tournament_joined_seats_and_charges(now):
    one = TournamentFactory.create(now=now)
    other = TournamentFactory.create(now=now, lobby=True, game=one.game, entry_fee=7)
    gamer = player(one.game, bonus=50)

    response = send(gamer, joined_event(gamer, [one, other, one], at=now))

    assert (response.status_code, response.json()) == (200, True)
    assert buckets(gamer) == (33, 0, 0, 0)
    assert set(Participation.objects.values_list("tournament", flat=True)) == {one.pk, other.pk}


def test_tournament_joined_leaves_a_seat_taken_before(now):
    taken = seat(TournamentFactory.create(now=now))
    gamer = taken.gamer

    response = send(gamer, joined_event(gamer, [taken.tournament], at=now))

    assert response.status_code == 200
    assert Participation.objects.get() == taken


def test_join_and_score_in_one_event(now):
    tournament = TournamentFactory.create(now=now)
    gamer = player(tournament.game, bonus=10)
    body = event(
        gamer,
        {"score": {"value": 24}, "tournamentJoined": {"value": [str(tournament.uid)]}},
        at=now,
        tournament=tournament,
    )

    response = send(gamer, body)

    assert response.status_code == 200
    assert board_of(Participation.objects.get()) == (24, now)
    assert buckets(gamer) == (0, 0, 0, 0)


def test_a_refused_score_undoes_the_join(now):
    tournament = TournamentFactory.create(now=now, lobby=True)
    gamer = player(tournament.game)
    body = event(
        gamer,
        {"score": {"value": 24}, "tournamentJoined": {"value": [str(tournament.uid)]}},
        at=now,
        tournament=tournament,
    )
    before = world()

    response = send(gamer, body)

    assert response.status_code == 400
    assert error_body(response)["error"] == "TOURNAMENT_IS_NOT_LIVE"
    assert world() == before


def test_a_refused_join_undoes_the_score(now):
    taken = seat(TournamentFactory.create(now=now), score=3)
    closed = TournamentFactory.create(now=now, game=taken.gamer.game, locked=True)
    body = event(
        taken.gamer,
        {"score": {"value": 24}, "tournamentJoined": {"value": [str(closed.uid)]}},
        at=now,
        tournament=taken.tournament,
    )
    before = world()

    response = send(taken.gamer, body)

    assert response.status_code == 400
    assert error_body(response)["error"] == "TOURNAMENT_IS_NOT_LIVE"
    assert world() == before


@pytest.mark.parametrize(
    ("spoil", "status", "error", "details"),
    [
        (lambda make: make(scheduled=True), 400, "TOURNAMENT_IS_NOT_LIVE", {}),
        (lambda make: make(locked=True), 400, "TOURNAMENT_IS_NOT_LIVE", {}),
        (lambda make: make(hidden=True), 404, "TOURNAMENT_NOT_FOUND", {}),
        (lambda make: uuid.uuid4(), 404, "TOURNAMENT_NOT_FOUND", {}),
        (lambda make: "no-uuid", 404, "TOURNAMENT_NOT_FOUND", {}),
        (lambda make: full(make(tournament_size=1)), 409, "TOURNAMENT_IS_FULL", {}),
        (
            lambda make: make(entry_fee=41),
            400,
            "INSUFFICIENT_BALANCE",
            {"lazy_balance": 50, "required": 41},
        ),
    ],
)
def test_tournament_joined_is_all_or_none(now, spoil, status, error, details):
    good = TournamentFactory.create(now=now)
    gamer = player(good.game, bonus=50)
    bad = spoil(lambda **kwargs: TournamentFactory.create(now=now, game=good.game, **kwargs))
    before = world()

    response = send(gamer, joined_event(gamer, [good, bad], at=now))

    assert response.status_code == status
    refused = error_body(response)
    assert refused["error"] == error
    if error == "INSUFFICIENT_BALANCE":
        # What is left depends on which of the two was paid first.
        assert refused["details"] in (
            {"lazy_balance": 40, "required": 41},
            {"lazy_balance": 9, "required": 10},
        )
    else:
        assert refused["details"] == details
    assert world() == before


def full(tournament):
    seat(tournament)
    return tournament


# --- Cost ----------------------------------------------------------------------------------------


def test_a_score_makes_few_queries(now, django_assert_num_queries):
    taken = seat(TournamentFactory.create(now=now))
    client = GameClient(taken.gamer.game).as_gamer(taken.gamer)
    body = score_event(taken, 24, at=now, gameId=taken.gamer.game.game_uid)

    # Secret, token; savepoint, the event, the tournament, the seat, savepoint.
    with django_assert_num_queries(7):
        client.post("/eventing", body)


def test_a_repeated_event_makes_fewer(now, django_assert_num_queries):
    taken = seat(TournamentFactory.create(now=now))
    client = GameClient(taken.gamer.game).as_gamer(taken.gamer)
    body = score_event(taken, 24, at=now)
    client.post("/eventing", body)

    with django_assert_num_queries(5):
        client.post("/eventing", body)
