"""What operators do to the clock of a published tournament, and what the database lets nobody do."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.tests.factories import GameFactory
from tournaments import cancelling, lifecycle, scoring, settling
from tournaments.lifecycle import (
    ScheduleOutOfRange,
    ScoresAlreadyPaused,
    ScoresNotPaused,
    TournamentNotLive,
)
from tournaments.models import Format, Tournament
from tournaments.tests.factories import TournamentFactory, record_score, seat
from tournaments.tests.world import buckets, world

pytestmark = pytest.mark.django_db

Status = Tournament.Status
MOMENT = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)


def of_sandbox(**traits):
    return TournamentFactory.create(game=GameFactory.create(is_sandbox=True), **traits)


def completed(tournament, now):
    for score in (5, 3):
        seat(tournament, score=score)
    return settling.settle(uid=tournament.uid, now=now)


# --- Pausing scores ------------------------------------------------------------------------------


@pytest.mark.parametrize("trait", ["hidden", "scheduled", "lobby", "locked", None])
def test_scores_are_paused_and_resumed_and_the_clock_goes_on(now, trait):
    tournament = TournamentFactory.create(now=now, **{trait: True} if trait else {})
    times = (tournament.starts_at, tournament.locks_at, tournament.ends_at, tournament.grace)

    paused = lifecycle.pause_scores(uid=tournament.uid, now=now)
    assert paused.scores_paused_at == now
    resumed = lifecycle.resume_scores(uid=tournament.uid, now=now + SECOND)

    resumed.refresh_from_db()
    assert resumed.scores_paused_at is None
    assert (resumed.starts_at, resumed.locks_at, resumed.ends_at, resumed.grace) == times


def test_a_paused_tournament_takes_no_score_and_keeps_those_it_has(now):
    tournament = TournamentFactory.create(now=now)
    taken = seat(tournament, score=5)
    lifecycle.pause_scores(uid=tournament.uid, now=now)

    with pytest.raises(TournamentNotLive) as refused:
        record_score(tournament, taken.gamer, 9, at=now)

    assert refused.value.details == {"reason": "SCORES_PAUSED"}
    lifecycle.resume_scores(uid=tournament.uid, now=now)
    taken.refresh_from_db()
    assert taken.score == 5
    record_score(tournament, taken.gamer, 9, at=now)
    taken.refresh_from_db()
    assert taken.score == 9


def test_pausing_what_is_paused_is_refused(now):
    tournament = TournamentFactory.create(now=now)

    with pytest.raises(ScoresNotPaused):
        lifecycle.resume_scores(uid=tournament.uid, now=now)
    lifecycle.pause_scores(uid=tournament.uid, now=now)
    before = world()
    with pytest.raises(ScoresAlreadyPaused):
        lifecycle.pause_scores(uid=tournament.uid, now=now + SECOND)

    assert world() == before


def test_a_tournament_whose_scores_are_paused_is_settled_all_the_same(now):
    tournament = TournamentFactory.create(now=now)
    leader, _ = (seat(tournament, score=score) for score in (5, 3))
    lifecycle.pause_scores(uid=tournament.uid, now=now)

    settled = settling.settle(uid=tournament.uid, now=tournament.closes_at)

    assert settled.phase == "COMPLETED"
    assert buckets(leader.gamer)[3] == 17


# --- Locking -------------------------------------------------------------------------------------


def test_lock_now_lets_nobody_in_or_out_and_scores_go_on(now):
    tournament = TournamentFactory.create(now=now)
    ends_at = tournament.ends_at

    locked = lifecycle.lock_now(uid=tournament.uid, now=now)

    locked.refresh_from_db()
    assert locked.status_at(now) == Status.LOCKED
    assert (locked.locks_at, locked.ends_at, locked.updated_at) == (now, ends_at, now)
    assert not locked.seats_change_at(now)
    assert locked.takes_scores_at(now)


def test_lock_now_in_the_lobby_starts_it_too(now):
    tournament = TournamentFactory.create(now=now, lobby=True)

    locked = lifecycle.lock_now(uid=tournament.uid, now=now)

    assert (locked.starts_at, locked.locks_at) == (now, now)
    assert locked.status_at(now) == Status.LOCKED


@pytest.mark.parametrize(("entrants", "phase"), [(1, "CANCELLED"), (2, "PUBLISHED")])
def test_after_lock_now_too_few_entrants_cancel_it(now, entrants, phase):
    tournament = TournamentFactory.create(now=now)
    for _ in range(entrants):
        seat(tournament)
    lifecycle.lock_now(uid=tournament.uid, now=now)

    assert cancelling.cancel_if_short(uid=tournament.uid, now=now).phase == phase


# --- Ending --------------------------------------------------------------------------------------


@pytest.mark.parametrize("trait", ["locked", None])
def test_end_now_leaves_the_grace_for_scores_from_before(now, trait):
    tournament = TournamentFactory.create(now=now, **{trait: True} if trait else {})
    locks_at = min(tournament.locks_at, now)
    taken = seat(tournament, joined_at=tournament.starts_at)

    ended = lifecycle.end_now(uid=tournament.uid, now=now)

    ended.refresh_from_db()
    assert (ended.locks_at, ended.ends_at, ended.grace) == (locks_at, now, 60 * SECOND)
    assert ended.status_at(now + 59 * SECOND) == Status.LOCKED
    assert ended.status_at(now + 60 * SECOND) == Status.REWARDS

    def score(value, stamped_at, received_at):
        with transaction.atomic():
            scoring.apply(
                gamer=taken.gamer,
                tournament_uid=tournament.uid,
                value=value,
                stamped_at=stamped_at,
                body_hash=bytes(32),
                now=received_at,
            )

    score(7, now, now + 59 * SECOND)
    for stamped_at, received_at in ((now + MOMENT, now + SECOND), (now, now + 60 * SECOND)):
        with pytest.raises(TournamentNotLive):
            score(9, stamped_at, received_at)
    taken.refresh_from_db()
    assert taken.score == 7


def test_a_sandbox_ends_at_once(now):
    tournament = of_sandbox(now=now)
    for score in (5, 3):
        seat(tournament, score=score)

    ended = lifecycle.end_now(uid=tournament.uid, now=now)

    assert (ended.grace, ended.status_at(now)) == (timedelta(0), Status.REWARDS)
    assert settling.settle(uid=tournament.uid, now=now).phase == "COMPLETED"


# --- Cloning -------------------------------------------------------------------------------------

FORMAT = {field.name for field in Format._meta.fields}
# A clone has times and a game of its own choosing, and no history.
NOT_COPIED = {
    "id", "uid", "phase", "rake_percent", "created_at", "updated_at",
    "schedules_at", "lobby_at", "starts_at", "locks_at", "ends_at",
    "planned_locks_at", "planned_ends_at", "scores_paused_at",
    "series", "made_for", "publishes_itself",
    "settled_at", "settled_pool", "rewarded_count", "finish_posting_id",
    "cancelled_at", "refunded_at", "sponsor_posting_id", "sponsor_return_posting_id",
}  # fmt: skip

UNUSUAL = {
    "title": "Grand Cup",
    "description": "Of the month",
    "theme": "gold",
    "entry_fee": 25,
    "tournament_size": 50,
    "min_registration_start_limit": 7,
    "score_rule": "SUM",
    "sort": "HIGH",
    "event_ceiling": 100,
    "minute_ceiling": 500,
    "prize_structure": "FIXED",
    "prize_table": [{"first": 1, "last": 1, "amount": 40}],
    "sponsor_contribution": 40,
    "grace": 30 * SECOND,
}


def test_every_column_is_copied_or_named_as_not_copied():
    columns = {field.name for field in Tournament._meta.concrete_fields}

    assert columns - NOT_COPIED == FORMAT | {"game"}
    assert set(UNUSUAL) == FORMAT


def test_a_clone_is_a_draft_of_the_same_format_at_another_time(now):
    source = TournamentFactory.create(now=now, published=False)
    Tournament.objects.filter(pk=source.pk).update(**UNUSUAL)
    source.refresh_from_db()
    starts_at = source.starts_at + timedelta(days=3)

    clone = lifecycle.clone(uid=source.uid, starts_at=starts_at, now=now)

    clone.refresh_from_db()
    assert {name: getattr(clone, name) for name in UNUSUAL} == UNUSUAL
    assert (clone.game, clone.phase) == (source.game, "PREPARATION")
    assert clone.uid != source.uid
    for name in lifecycle.TIMES:
        assert getattr(clone, name) == getattr(source, name) + timedelta(days=3)


def test_a_clone_of_what_was_ended_early_lasts_as_long_as_was_planned(now):
    source = of_sandbox(now=now)
    length, lock = source.ends_at - source.starts_at, source.locks_at - source.starts_at
    lifecycle.lock_now(uid=source.uid, now=now)
    lifecycle.end_now(uid=source.uid, now=now + SECOND)

    clone = lifecycle.clone(uid=source.uid, starts_at=now + timedelta(days=1), now=now)

    assert clone.ends_at - clone.starts_at == length
    assert clone.locks_at - clone.starts_at == lock
    assert clone.grace == 60 * SECOND
    assert (clone.planned_locks_at, clone.planned_ends_at) == (None, None)


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_what_is_over_can_be_cloned_and_stays_as_it_is(now, end):
    tournament = TournamentFactory.create(now=now, over=True)
    if end == "completed":
        completed(tournament, now)
    else:
        cancelling.cancel(uid=tournament.uid, now=now)
    before = Tournament.objects.filter(pk=tournament.pk).values().get()

    clone = lifecycle.clone(uid=tournament.uid, starts_at=now + timedelta(days=1), now=now)

    assert Tournament.objects.filter(pk=tournament.pk).values().get() == before
    assert (clone.settled_at, clone.cancelled_at, clone.sponsor_posting_id) == (None, None, None)


def test_a_clone_beyond_the_calendar_is_refused(now):
    source = TournamentFactory.create(now=now)

    with pytest.raises(ScheduleOutOfRange):
        lifecycle.clone(
            uid=source.uid, starts_at=now.replace(year=2999, month=12, day=31, hour=23), now=now
        )

    assert Tournament.objects.count() == 1


# --- When it is refused --------------------------------------------------------------------------

MOVES = {
    "pause": lifecycle.pause_scores,
    "lock": lifecycle.lock_now,
    "end": lifecycle.end_now,
}


@pytest.mark.parametrize(
    ("move", "state"),
    [
        *((move, state) for move in MOVES for state in ("draft", "over", "completed", "cancelled")),
        *((move, state) for move in ("lock", "end") for state in ("hidden", "scheduled")),
        ("lock", "locked"),
        ("end", "lobby"),
        ("end", "in grace"),
    ],
)
def test_a_move_out_of_its_time_is_refused_and_changes_nothing(now, move, state):
    traits = {
        "draft": {"published": False},
        "completed": {"over": True},
        "cancelled": {},
        "in grace": {"starts_at": now - timedelta(hours=1, seconds=30)},
    }
    tournament = TournamentFactory.create(now=now, **traits.get(state, {state: True}))
    if state == "completed":
        completed(tournament, now)
    if state == "cancelled":
        cancelling.cancel(uid=tournament.uid, now=now)
    before = world()

    with pytest.raises(TournamentNotLive):
        MOVES[move](uid=tournament.uid, now=now)

    assert world() == before


# --- The database --------------------------------------------------------------------------------


def refused(tournament, constraint, **columns):
    with pytest.raises(IntegrityError) as error, transaction.atomic():
        Tournament.objects.filter(pk=tournament.pk).update(**columns)
    cause: Any = error.value.__cause__
    assert cause.diag.constraint_name == constraint


@pytest.mark.parametrize(
    "terms",
    [
        {"entry_fee": 11},
        {"rake_percent": 16},
        {"tournament_size": 5},
        {"min_registration_start_limit": 3},
        {"title": "Other"},
        {"score_rule": "BEST"},
        {"sort": "LOW"},
        {"prize_structure": "SHARES"},
        {"prize_table": [[1, 1, 100]]},
        {"sponsor_contribution": 1},
        {"schedules_at": lambda now: now - timedelta(days=1)},
        {"lobby_at": lambda now: now - timedelta(minutes=12)},
        {"created_at": lambda now: now},
        {"uid": "0193c1d2-7c1e-7c55-9a3e-5f0d6b2f1a77"},
    ],
)
def test_the_database_fixes_the_terms_of_what_is_published(now, terms):
    tournament = TournamentFactory.create(now=now)

    refused(
        tournament,
        "tournament_terms_fixed",
        **{name: value(now) if callable(value) else value for name, value in terms.items()},
    )


def test_ceilings_may_change_while_it_runs(now):
    tournament = TournamentFactory.create(now=now)

    changed = Tournament.objects.filter(pk=tournament.pk).update(event_ceiling=5, minute_ceiling=9)

    assert changed == 1


@pytest.mark.parametrize(
    ("name", "shift"),
    [
        ("locks_at", SECOND),  # later
        ("ends_at", SECOND),
        ("locks_at", -SECOND),  # earlier, but not now
        ("ends_at", -SECOND),
    ],
)
def test_the_database_moves_a_published_time_to_now_alone(now, name, shift):
    tournament = TournamentFactory.create(now=now)

    refused(
        tournament,
        "tournament_times_fixed",
        updated_at=now,
        **{name: getattr(tournament, name) + shift},
    )


@pytest.mark.parametrize("moved", [{}, {"locks_at"}])
def test_the_database_starts_early_only_to_lock(now, moved):
    tournament = TournamentFactory.create(now=now, lobby=True)

    if moved:
        Tournament.objects.filter(pk=tournament.pk).update(
            updated_at=now, starts_at=now, locks_at=now
        )
    else:
        refused(tournament, "tournament_times_fixed", updated_at=now, starts_at=now)


def test_the_database_takes_no_grace_away_but_where_a_sandbox_is_ended(now):
    real, sandbox = TournamentFactory.create(now=now), of_sandbox(now=now)
    ended = {"updated_at": now, "locks_at": now, "ends_at": now}

    refused(real, "tournament_grace_fixed", grace=timedelta(0), **ended)
    refused(sandbox, "tournament_grace_fixed", grace=timedelta(0))
    refused(sandbox, "tournament_grace_fixed", grace=timedelta(hours=1), **ended)
    Tournament.objects.filter(pk=sandbox.pk).update(grace=timedelta(0), **ended)


@pytest.mark.parametrize("end", ["completed", "cancelled"])
@pytest.mark.parametrize(
    "changed",
    [
        {"title": "Other"},
        {"entry_fee": 11},
        {"settled_pool": 18},
        {"rewarded_count": 0},
        {"cancelled_at": timedelta(0)},
        {"scores_paused_at": timedelta(0)},
        {"event_ceiling": 7},
        {"ends_at": timedelta(0)},
    ],
)
def test_the_database_keeps_what_is_over(now, end, changed):
    tournament = TournamentFactory.create(now=now, over=True)
    if end == "completed":
        completed(tournament, now)
    else:
        cancelling.cancel(uid=tournament.uid, now=now)
    ((name, value),) = changed.items()

    refused(
        tournament,
        "tournament_over",
        updated_at=now,
        **{name: now + SECOND if isinstance(value, timedelta) else value},
    )


def test_the_database_lets_refunds_be_complete_once(now):
    tournament = TournamentFactory.create(now=now)
    cancelling.cancel(uid=tournament.uid, now=now)
    cancelling.refund_stakes(uid=tournament.uid, now=now)
    assert Tournament.objects.get().refunded_at == now

    for again in (None, now + SECOND):
        refused(tournament, "tournament_over", refunded_at=again)
