"""Many events in one call (API contract, section 7)."""

import uuid
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256

import orjson
import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Gamer
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory
from kgen.common.errors import Refusal
from tournaments import event_batches, eventing
from tournaments.eventing import Event
from tournaments.lifecycle import Rules
from tournaments.models import GameEvent, Participation, Tournament
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.test_eventing import board_of, event, joined_event, score_event
from tournaments.tests.world import world

pytestmark = pytest.mark.django_db

NOTHING = {"accepted": 0, "duplicates": 0, "rejected": []}


def send(game, events, **kwargs):
    return GameClient(game).post("/eventing/_batch", {"events": events}, **kwargs)


def send_lines(game, *lines):
    body, kind = b"\n".join(lines), {"content-type": "application/x-ndjson"}
    return GameClient(game).post("/eventing/_batch", body, query=None, **kind)


def told(response):
    """The answer, its rejections as (index, error)."""
    assert response.status_code == 200, response.content
    body = response.json()
    rejected = [(one["index"], one["error"]) for one in body["rejected"]]
    assert all(one["message"] for one in body["rejected"])
    return body["accepted"], body["duplicates"], rejected


def achievement(gamer, *, at, value=1, **metadata):
    return event(gamer, {"achievement": {"value": value}}, at=at, **metadata)


# --- What is taken -------------------------------------------------------------------------------


def test_scores_of_many_gamers_are_stored_and_applied(now):
    tournament = TournamentFactory.create(now=now)
    seats = [seat(tournament) for _ in range(3)]
    bodies = [score_event(taken, 10 + n, at=now, mood="brave") for n, taken in enumerate(seats)]

    response = send(tournament.game, bodies)

    assert (response.status_code, response.json()) == (200, NOTHING | {"accepted": 3})
    assert [board_of(taken) for taken in seats] == [(10, now), (11, now), (12, now)]
    stored = GameEvent.objects.order_by("gamer_id")
    assert [one.gamer for one in stored] == [taken.gamer for taken in seats]
    assert [one.metadata for one in stored] == [body["metadata"] for body in bodies]
    assert [one.payload for one in stored] == [body["payload"] for body in bodies]
    assert {(one.event_day, one.occurred_at) for one in stored} == {(now.date(), now)}
    assert {one.tournament for one in stored} == {tournament}


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

    response = send(gamer.game, [event(gamer, payload | {"rumour": 1}, at=now)])

    assert told(response) == (1, 0, [])
    assert GameEvent.objects.get().payload == payload


def test_lines_are_taken_like_a_list(now):
    taken = seat(TournamentFactory.create(now=now))
    lines = [orjson.dumps(score_event(taken, value, at=now)) for value in (1, 2)]

    response = send_lines(taken.gamer.game, lines[0] + b"\r", b"", lines[1], b"")

    assert told(response) == (2, 0, [])
    assert board_of(taken) == (2, now)


def test_the_events_of_a_gamer_count_in_their_order(now):
    taken = seat(TournamentFactory.create(now=now))
    ahead = [score_event(taken, 9, at=now + timedelta(seconds=second)) for second in (60, 90)]
    last = score_event(taken, 3, at=now + timedelta(seconds=30))

    response = send(taken.gamer.game, [*ahead, last])

    # A clock ahead of ours is cut to the moment of receipt, and the last one was received last.
    assert told(response) == (3, 0, [])
    assert board_of(taken) == (3, now + timedelta(microseconds=2))


def test_a_batch_and_single_events_know_each_other(now):
    taken = seat(TournamentFactory.create(now=now))
    first, second = (score_event(taken, value, at=now) for value in (1, 2))
    single = GameClient(taken.gamer.game).as_gamer(taken.gamer)
    single.post("/eventing", first)

    response = send(taken.gamer.game, [first, second])

    assert told(response) == (1, 1, [])
    before = world()
    assert single.post("/eventing", second).json() is True
    assert world() == before


def test_an_integer_player_id_is_taken_as_its_text(now):
    gamer = player(GameFactory.create(), gamer_id="481")
    body = achievement(gamer, at=now)
    body["metadata"]["playerId"] = 481

    assert told(send(gamer.game, [body])) == (1, 0, [])


RULE, LOW = Tournament.ScoreRule, Tournament.Sort.LOW
RULES = [
    Rules(score_rule=RULE.LATEST),
    Rules(score_rule=RULE.LATEST, sort=LOW, event_ceiling=60),
    Rules(score_rule=RULE.BEST, minute_ceiling=40),
    Rules(score_rule=RULE.BEST, sort=LOW),
    Rules(score_rule=RULE.SUM),
    Rules(score_rule=RULE.SUM, minute_ceiling=90, event_ceiling=60),
]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sent=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.one_of(st.integers(0, 80), st.sampled_from([2**53 - 1, 2**53 - 2])),
            st.integers(-130, 130),
        ),
        max_size=12,
    ),
    cut=st.integers(0, 12),
)
@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES)
def test_a_batch_ends_as_its_events_one_by_one(now, rules, sent, cut):
    """Three gamers' scores, some of them before the batch: the same seats and reviews."""
    boards = []
    for in_batches in (True, False):
        tournament = TournamentFactory.create(now=now, rules=rules)
        seats = [seat(tournament) for _ in range(3)]
        gamers = {taken.gamer.gamer_id: taken.gamer for taken in seats}
        events = [
            Event(
                body_hash=sha256(f"{number} {second}".encode()).digest(),
                occurred_at=now + timedelta(seconds=second),
                player_id=seats[number].gamer.gamer_id,
                game_slug=None,
                metadata={},
                payload={},
                tournament_uid=tournament.uid,
                score=value,
                joined_uids=(),
            )
            for number, value, second in sent
        ]
        for part in (events[:cut], events[cut:]):
            if in_batches:
                event_batches.receive(game=tournament.game, events=part, now=now)
            else:
                for place, one in enumerate(part):
                    with suppress(Refusal):
                        eventing.receive(
                            gamer=gamers[one.player_id],
                            event=one,
                            now=now + timedelta(microseconds=place),
                        )
        boards.append(
            [
                (
                    *Participation.objects.values_list(
                        "score", "reached_at", "applied_hash", "standing_key"
                    ).get(pk=taken.pk),
                    sorted(taken.quarantined.values_list("value", "reached_at", "reason")),
                    sorted(taken.minutes.values_list("minute", "base", "top")),
                )
                for taken in seats
            ]
        )

    assert boards[0] == boards[1]


# --- Repetition ----------------------------------------------------------------------------------


def test_equal_events_count_once(now):
    taken = seat(TournamentFactory.create(now=now))
    body = score_event(taken, 24, at=now)

    response = send(taken.gamer.game, [body, dict(reversed(body.items())), body])

    assert told(response) == (1, 2, [])
    before = world()
    assert told(send(taken.gamer.game, [body])) == (0, 1, [])
    assert world() == before


def test_an_equal_event_of_another_gamer_is_another_event(now):
    game = GameFactory.create()
    gamers = [player(game) for _ in range(2)]

    assert told(send(game, [achievement(gamer, at=now) for gamer in gamers])) == (2, 0, [])


def test_an_equal_event_is_known_before_the_tournament_is_looked_at(now):
    tournament = TournamentFactory.create(now=now)
    taken = seat(tournament)
    body = score_event(taken, 24, at=now)
    send(tournament.game, [body])
    before = world()

    with time_machine.travel(tournament.ends_at + timedelta(hours=1), tick=False):
        response = send(tournament.game, [body, score_event(taken, 25, at=now)])

    assert told(response) == (0, 1, [(1, "TOURNAMENT_IS_NOT_LIVE")])
    assert world() == before


def test_a_refused_event_is_refused_as_often_as_it_is_sent(now):
    tournament = TournamentFactory.create(now=now)
    body = event(player(tournament.game), {"score": {"value": 1}}, at=now, tournament=tournament)
    missing = "TOURNAMENT_PARTICIPATION_NOT_FOUND"

    assert told(send(tournament.game, [body, body])) == (0, 0, [(0, missing), (1, missing)])


def test_after_seven_days_an_equal_event_is_stored_over_the_old_one(now):
    gamer = player(GameFactory.create())
    body = achievement(gamer, at=now)
    send(gamer.game, [body])
    later = now + timedelta(days=7, seconds=1)

    with time_machine.travel(later, tick=False):
        response = send(gamer.game, [body])

    assert told(response) == (1, 0, [])
    assert GameEvent.objects.get().received_at == later


def test_an_old_event_that_is_refused_now_stays_as_it_was(now):
    tournament = TournamentFactory.create(now=now)
    taken = seat(tournament)
    body = score_event(taken, 24, at=now)
    send(tournament.game, [body])
    before = world()

    with time_machine.travel(now + timedelta(days=7, seconds=1), tick=False):
        response = send(tournament.game, [body])

    assert told(response) == (0, 0, [(0, "TOURNAMENT_IS_NOT_LIVE")])
    assert world() == before


# --- Refusals of single events -------------------------------------------------------------------


def _refusals(now):
    """Each way in which an event of a batch is refused, as (code, its body)."""
    tournament = TournamentFactory.create(now=now)
    game = tournament.game
    taken, stranger = seat(tournament), player(game)
    blocked, other = player(game), player(GameFactory.create())
    Gamer.objects.filter(pk=blocked.pk).update(is_blocked=True)
    gone = seat(tournament)
    Participation.objects.filter(pk=gone.pk).update(left_at=now)
    score = {"score": {"value": 1}}
    late = TournamentFactory.create(now=now, over=True, game=game)
    return taken, {
        "no object": ("BAD_REQUEST", [1]),
        "no timestamp": ("BAD_REQUEST", {"metadata": {"playerId": "a"}, "payload": score}),
        "a text as score": (
            "BAD_REQUEST",
            event(taken.gamer, {"score": {"value": "1"}}, at=now, tournament=tournament),
        ),
        "no known key": ("BAD_REQUEST", event(taken.gamer, {"rumour": 1}, at=now)),
        "a score of no tournament": ("BAD_REQUEST", event(taken.gamer, score, at=now)),
        "far ahead": ("BAD_REQUEST", achievement(taken.gamer, at=now + timedelta(seconds=121))),
        "a join": ("BAD_REQUEST", joined_event(taken.gamer, [tournament], at=now)),
        "a join of nothing": ("BAD_REQUEST", joined_event(taken.gamer, [], at=now)),
        "unknown gamer": ("PLAYER_MISMATCH", achievement(Gamer(gamer_id="nobody"), at=now)),
        "gamer of another game": ("PLAYER_MISMATCH", achievement(other, at=now)),
        "another game": ("PLAYER_MISMATCH", achievement(taken.gamer, at=now, gameId="other")),
        "blocked gamer": ("GAMER_BLOCKED", achievement(blocked, at=now)),
        "unknown tournament": (
            "TOURNAMENT_NOT_FOUND",
            event(taken.gamer, score, at=now, tournament=uuid.uuid4()),
        ),
        "malformed tournament": (
            "TOURNAMENT_NOT_FOUND",
            event(taken.gamer, score, at=now, tournament="no-uuid"),
        ),
        "tournament of another game": (
            "TOURNAMENT_NOT_FOUND",
            event(taken.gamer, score, at=now, tournament=TournamentFactory.create(now=now)),
        ),
        "hidden tournament": (
            "TOURNAMENT_NOT_FOUND",
            event(
                taken.gamer,
                score,
                at=now,
                tournament=TournamentFactory.create(now=now, hidden=True, game=game),
            ),
        ),
        "no seat": (
            "TOURNAMENT_PARTICIPATION_NOT_FOUND",
            event(stranger, score, at=now, tournament=tournament),
        ),
        "a seat given up": ("TOURNAMENT_PARTICIPATION_NOT_FOUND", score_event(gone, 1, at=now)),
        "over": (
            "TOURNAMENT_IS_NOT_LIVE",
            score_event(seat(late), 1, at=now - timedelta(seconds=125)),
        ),
        "before the start": (
            "TOURNAMENT_IS_NOT_LIVE",
            score_event(taken, 1, at=tournament.starts_at - timedelta(seconds=121)),
        ),
    }


def test_each_refused_event_leaves_nothing_and_fails_no_neighbour(now):
    taken, refusals = _refusals(now)
    good = score_event(taken, 24, at=now)
    before = world()

    response = send(
        taken.gamer.game,
        [body for _, body in refusals.values()],
    )

    assert told(response) == (0, 0, [(n, code) for n, (code, _) in enumerate(refusals.values())])
    assert world() == before
    mixed = [body for _, refused in refusals.values() for body in (refused, good)]
    assert told(send(taken.gamer.game, mixed)) == (
        1,
        len(refusals) - 1,
        [(2 * n, code) for n, (code, _) in enumerate(refusals.values())],
    )
    assert board_of(taken) == (24, now)
    assert GameEvent.objects.count() == 1


def test_a_rejection_says_what_is_wrong_where(now):
    taken = seat(TournamentFactory.create(now=now))
    bodies = [
        score_event(taken, -1, at=now),
        joined_event(taken.gamer, [taken.tournament], at=now),
    ]

    assert send(taken.gamer.game, bodies).json()["rejected"] == [
        {
            "index": 0,
            "error": "BAD_REQUEST",
            "message": "The request is not valid. payload.score.value: "
            "Ensure this value is greater than or equal to 0.",
        },
        {
            "index": 1,
            "error": "BAD_REQUEST",
            "message": "tournamentJoined spends money: send it with the gamer's token.",
        },
    ]


def wide(keys):
    return b"{" + b",".join(b'"k%d":1' % number for number in range(keys)) + b"}"


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (b"[" * 31 + b"]" * 31, "nested deeper than 32"),
        (wide(1000), "more than 1000 keys"),
        (b'{"a": 1, "a": 1}', "a key is given twice"),
        (b"1e400", "a number is too large"),
        (b'"\\u0000"', "a text holds a NUL character"),
        (b'"\\ud800"', "a text holds half a surrogate pair"),
    ],
)
@pytest.mark.parametrize("in_lines", [True, False])
def test_what_no_single_body_may_hold_is_rejected_alone(now, extra, reason, in_lines):
    gamer = player(GameFactory.create())
    good = orjson.dumps(achievement(gamer, at=now))
    bad = orjson.dumps(achievement(gamer, at=now, value=2)).replace(
        b'"metadata":{', b'"metadata":{"extra":' + extra + b","
    )

    if in_lines:
        response = send_lines(gamer.game, bad, good)
    else:
        response = GameClient(gamer.game).post(
            "/eventing/_batch", b'{"events":[' + bad + b"," + good + b"]}"
        )

    assert told(response) == (1, 0, [(0, "BAD_REQUEST")])
    assert response.json()["rejected"][0]["message"].endswith(f"body: {reason}")


def test_depth_and_keys_are_counted_per_event(now):
    gamer = player(GameFactory.create())
    deepest = orjson.loads(b"[" * 30 + b"]" * 30)
    bodies = [
        achievement(gamer, at=now, value=value, deep=deepest, wide=orjson.loads(wide(900)))
        for value in range(3)
    ]

    assert told(send(gamer.game, bodies)) == (3, 0, [])


def test_a_broken_line_is_rejected_alone(now):
    gamer = player(GameFactory.create())
    good = orjson.dumps(achievement(gamer, at=now))

    response = send_lines(gamer.game, b"{", good, b"\xff", b"null")

    assert told(response) == (1, 0, [(0, "BAD_REQUEST"), (2, "BAD_REQUEST"), (3, "BAD_REQUEST")])


# --- Refusals of the whole -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"events": {}}',
        b'{"events": []}',
        b'{"events": [], "events": []}',
        b'{"events": [{}],}',
        b'{"events": [' + b"[" * 5000 + b"]" * 5000 + b"]}",
        b"\xff",
    ],
)
def test_a_body_that_is_no_batch_is_refused(body):
    response = GameClient(GameFactory.create()).post("/eventing/_batch", body)

    assert (response.status_code, error_body(response)["error"]) == (400, "BAD_REQUEST")


def test_a_thousand_events_are_taken_and_no_more(now):
    gamer = player(GameFactory.create())
    bodies = [achievement(gamer, at=now, value=value) for value in range(1001)]

    refused = send(gamer.game, bodies)
    lines = send_lines(gamer.game, *map(orjson.dumps, bodies))
    taken = send(gamer.game, bodies[1:])

    for response in (refused, lines):
        assert response.status_code == 400
        assert error_body(response) == {
            "error": "BAD_REQUEST",
            "details": {"fields": {"events": "Give 1 to 1000 events."}},
        }
    assert told(taken) == (1000, 0, [])
    assert GameEvent.objects.count() == 1000


def test_empty_lines_are_no_batch():
    response = send_lines(GameFactory.create(), b"", b" ")

    assert (response.status_code, error_body(response)["error"]) == (400, "BAD_REQUEST")


def test_a_body_of_a_mebibyte_is_read_and_no_larger_one(now):
    gamer = player(GameFactory.create())
    body = orjson.dumps({"events": [achievement(gamer, at=now)]})
    client = GameClient(gamer.game)

    read = client.post("/eventing/_batch", body.ljust(2**20))
    refused = client.post("/eventing/_batch", body.ljust(2**20 + 1))

    assert told(read) == (1, 0, [])
    assert (refused.status_code, error_body(refused)["error"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/x-ndjson; charset=utf-8", 200),
        ("application/json", 400),
        ("application/x-ndjson; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/ndjson", 415),
    ],
)
def test_content_type(now, content_type, status):
    gamer = player(GameFactory.create())
    lines = b"\n".join([orjson.dumps(achievement(gamer, at=now))] * 2)

    response = GameClient(gamer.game).post(
        "/eventing/_batch", lines, **{"content-type": content_type}
    )

    assert response.status_code == status


def test_a_token_is_neither_needed_nor_looked_at(now):
    gamer = player(GameFactory.create())

    response = (
        GameClient(gamer.game)
        .with_token("nonsense")
        .post("/eventing/_batch", {"events": [achievement(gamer, at=now)]})
    )

    assert told(response) == (1, 0, [])


# --- Keys and limits -----------------------------------------------------------------------------


def test_the_scope_of_a_key_is_the_client(now):
    taken = seat(TournamentFactory.create(now=now))
    game, bodies = taken.gamer.game, [score_event(taken, 24, at=now)]

    first = send(game, bodies, key="k-1")
    again = send(game, bodies, key="k-1")
    other_body = send(game, [*bodies, *bodies], key="k-1")
    other_client = send(GameFactory.create(), bodies, key="k-1")

    assert told(first) == told(again) == (1, 0, [])
    assert again["Idempotent-Replayed"] == "true"
    assert (other_body.status_code, error_body(other_body)["error"]) == (
        409,
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert told(other_client) == (0, 0, [(0, "PLAYER_MISMATCH")])


def test_a_batch_draws_once_from_the_client_and_not_from_the_gamers(now):
    game = GameFactory.create(gamer_event_rate=1, rate_limit=50)
    gamer = player(game)

    response = send(game, [achievement(gamer, at=now, value=value) for value in range(30)])

    assert told(response) == (30, 0, [])
    assert (response["RateLimit-Limit"], response["RateLimit-Remaining"]) == ("50", "49")
    single = GameClient(game).as_gamer(gamer).post("/eventing", achievement(gamer, at=now))
    assert single.status_code == 200


# --- Cost ----------------------------------------------------------------------------------------


def hundred_events(now, **rules):
    tournament = TournamentFactory.create(now=now, rules=Rules(**rules))
    seats = [seat(tournament) for _ in range(20)]
    return tournament.game, [
        score_event(taken, value, at=now - timedelta(seconds=value))
        for value in range(5)
        for taken in seats
    ]


def test_a_hundred_events_of_twenty_gamers_make_few_queries(now, django_assert_num_queries):
    game, bodies = hundred_events(now)
    client = GameClient(game)

    # Secret, gamers; savepoint, events, tournaments, seats, scores, savepoint.
    with django_assert_num_queries(8):
        client.post("/eventing/_batch", {"events": bodies})


def test_a_minute_ceiling_costs_queries_per_round_of_events_and_not_per_gamer(
    now, django_assert_num_queries
):
    game, bodies = hundred_events(now, minute_ceiling=1000)
    client = GameClient(game)

    # As above, with minute, rise and scores five times in place of scores once.
    with django_assert_num_queries(7 + 5 * 3):
        client.post("/eventing/_batch", {"events": bodies})
