"""Which score stands, by the tournament's rule and sort; in any order of arrival."""

from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import pytest
from django.db.models import QuerySet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.tests.factories import GameFactory
from kgen.common.money import LARGEST_AMOUNT_IN_JSON
from tournaments import eventing, leaderboard
from tournaments.eventing import Event
from tournaments.joining import NotJoined
from tournaments.lifecycle import Rules, TournamentNotLive
from tournaments.models import NO_SCORE_YET, Participation, QuarantinedScore, Tournament
from tournaments.tests.factories import TournamentFactory, player, seat

pytestmark = pytest.mark.django_db

Rule, Sort = Tournament.ScoreRule, Tournament.Sort
RULES = [(rule, sort) for rule in Rule for sort in Sort]


class Sent(NamedTuple):
    """One score, so many seconds after the start."""

    second: int
    value: int


def event(taken: Participation, sent: Sent) -> Event:
    return Event(
        body_hash=sha256(f"{taken.pk} {sent}".encode()).digest(),
        occurred_at=taken.tournament.starts_at + timedelta(seconds=sent.second),
        player_id=taken.tiebreak,
        game_slug=None,
        metadata={},
        payload={"score": {"value": sent.value}},
        tournament_uid=taken.tournament.uid,
        score=sent.value,
        joined_uids=(),
    )


def send(taken: Participation, *scores: Sent, now: datetime) -> None:
    for sent in scores:
        eventing.receive(gamer=taken.gamer, event=event(taken, sent), now=now)


def standing(taken: Participation) -> tuple[int | None, int | None]:
    """The score, and how many seconds after the start it was reached."""
    taken.refresh_from_db()
    if taken.reached_at is None:
        return taken.score, None
    return taken.score, round((taken.reached_at - taken.tournament.starts_at).total_seconds())


def a_seat(now: datetime, **rules: object) -> Participation:
    return seat(TournamentFactory.create(now=now, rules=Rules(**rules)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "sort", "expected"),
    [
        (Rule.LATEST, Sort.HIGH, (4, 30)),
        (Rule.LATEST, Sort.LOW, (4, 30)),
        (Rule.BEST, Sort.HIGH, (9, 10)),
        (Rule.BEST, Sort.LOW, (3, 20)),
        (Rule.SUM, Sort.HIGH, (25, 40)),
        (Rule.SUM, Sort.LOW, (25, 40)),
    ],
)
def test_each_rule_and_sort(now, rule, sort, expected):
    taken = a_seat(now, score_rule=rule, sort=sort)
    scores = [Sent(10, 9), Sent(20, 3), Sent(20, 3), Sent(25, 9), Sent(30, 4)]
    if rule == Rule.SUM:
        scores.append(Sent(40, 0))

    send(taken, *scores, now=now)

    assert standing(taken) == expected
    key = expected[0] if sort == Sort.LOW else -expected[0]
    assert taken.standing_key == key


# Few enough moments and values that they meet, some of them before the start.
SCORES = st.lists(
    st.builds(Sent, second=st.integers(-2, 4), value=st.integers(0, 3)), min_size=1, max_size=6
)


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "sort"), RULES)
@given(data=st.data(), of_each=st.lists(SCORES, min_size=2, max_size=3))
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_order_of_arrival_ends_in_the_same_board(now, rule, sort, data, of_each):
    """Two tournaments are sent the same, one of them in order, the other anyhow and some twice."""
    game = GameFactory.create()
    boards = []
    gamers = [player(game, gamer_id=f"gamer {number}") for number in range(len(of_each))]
    for is_shuffled in (False, True):
        tournament = TournamentFactory.create(
            now=now, game=game, entry_fee=0, rules=Rules(score_rule=rule, sort=sort)
        )
        seats = [seat(tournament, gamer=gamer) for gamer in gamers]
        arrivals = [
            (taken, sent) for taken, scores in zip(seats, of_each, strict=True) for sent in scores
        ]
        if is_shuffled:
            arrivals = data.draw(st.permutations(arrivals * 2))
        for taken, sent in arrivals:
            send(taken, sent, now=now)
        boards.append(
            [
                replace(entry, seat_id=0, applied_hash=None)
                for entry in leaderboard.entries(tournament)
            ]
        )

    assert boards[0] == boards[1]


@pytest.mark.parametrize(
    ("sort", "expected"), [(Sort.HIGH, ["b", "a", "c", "d"]), (Sort.LOW, ["c", "a", "b", "d"])]
)
def test_who_has_no_score_comes_last_either_way(now, sort, expected):
    tournament = TournamentFactory.create(now=now, rules=Rules(sort=sort))
    for gamer_id, score in (("a", 5), ("b", 7), ("c", 0), ("d", None)):
        seat(tournament, gamer=player(tournament.game, gamer_id=gamer_id), score=score)

    assert [entry.gamer_id for entry in leaderboard.entries(tournament)] == expected
    assert Participation.objects.get(tiebreak="d").standing_key == NO_SCORE_YET


# --- Ceilings ------------------------------------------------------------------------------------


def quarantined(taken: Participation) -> list[tuple[int, str]]:
    waiting: QuerySet[QuarantinedScore] = taken.quarantined.order_by("reached_at", "value")
    return [(score.value, score.reason) for score in waiting]


def test_an_event_above_the_ceiling_waits_for_review_and_does_not_count(now):
    taken = a_seat(now, event_ceiling=10)

    send(taken, Sent(1, 10), Sent(2, 11), Sent(2, 11), now=now)

    assert standing(taken) == (10, 1)
    assert quarantined(taken) == [(11, "EVENT_CEILING")]


@pytest.mark.parametrize(
    ("rule", "scores", "expected", "held_back"),
    [
        # Running totals: from 90 on, 10 more within a minute are fine, 11 are not.
        (Rule.LATEST, [Sent(0, 10), Sent(61, 20), Sent(62, 21)], (20, 61), [21]),
        (Rule.BEST, [Sent(0, 10), Sent(61, 20), Sent(62, 25), Sent(63, 19)], (20, 61), [25]),
        (Rule.SUM, [Sent(0, 6), Sent(1, 4), Sent(2, 1), Sent(61, 10)], (20, 61), [1]),
    ],
)
def test_a_score_that_rises_too_fast_waits_for_review(now, rule, scores, expected, held_back):
    taken = a_seat(now.replace(second=0, microsecond=0), score_rule=rule, minute_ceiling=10)

    send(taken, *scores, now=now)

    assert standing(taken) == expected
    assert quarantined(taken) == [(value, "MINUTE_CEILING") for value in held_back]


def test_a_sum_beyond_what_json_can_say_waits_for_review(now):
    taken = a_seat(now, score_rule=Rule.SUM)

    send(taken, Sent(1, LARGEST_AMOUNT_IN_JSON), Sent(2, 1), Sent(3, 0), now=now)

    assert standing(taken) == (LARGEST_AMOUNT_IN_JSON, 3)
    assert quarantined(taken) == [(1, "TOO_LARGE")]


def test_paused_scores_are_refused_and_nothing_is_kept(now):
    taken = a_seat(now)
    Tournament.objects.update(scores_paused_at=now)

    with pytest.raises(TournamentNotLive) as refused:
        send(taken, Sent(1, 5), now=now)

    assert refused.value.details == {"reason": "SCORES_PAUSED"}
    assert standing(taken) == (None, None)


@pytest.mark.parametrize("value", [1, 11])
def test_who_is_not_in_is_refused_above_a_ceiling_as_below(now, value):
    taken = a_seat(now, event_ceiling=10, minute_ceiling=10)
    Participation.objects.update(left_at=now)

    with pytest.raises(NotJoined):
        send(taken, Sent(1, value), now=now)

    assert quarantined(taken) == []


@pytest.mark.parametrize("value", [1, 11])
def test_a_late_score_is_refused_above_a_ceiling_as_below(now, value):
    taken = a_seat(now, event_ceiling=10)
    late = taken.tournament.closes_at

    with pytest.raises(TournamentNotLive):
        send(taken, Sent(1, value), now=late)

    assert (standing(taken), quarantined(taken)) == ((None, None), [])
