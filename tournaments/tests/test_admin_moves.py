from datetime import timedelta

import pytest
from django.urls import reverse

from accounts.tests.factories import GameFactory
from accounts.tests.staff import staff_client
from kgen.common.admin import OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from tournaments import cancelling, lifecycle
from tournaments.admin.tournaments import next_start
from tournaments.models import Setback, Tournament
from tournaments.tests.factories import TournamentFactory, seat
from tournaments.tests.world import world

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def page(tournament, act="change"):
    return reverse(f"admin:tournaments_tournament_{act}", args=[tournament.pk])


def offered(client, tournament):
    return {act.name for act, _ in client.get(page(tournament)).context["acts"]}


@pytest.mark.parametrize(
    ("made", "acts"),
    [
        ({"published": False}, {"publish", "cancel"}),
        ({"hidden": True}, {"cancel", "pause_scores"}),
        ({"lobby": True}, {"cancel", "pause_scores", "lock_now"}),
        ({}, {"cancel", "pause_scores", "lock_now", "end_now"}),
        ({"locked": True}, {"cancel", "pause_scores", "end_now"}),
        ({"over": True}, {"cancel", "settle"}),
    ],
)
def test_moves_are_offered_when_they_are_possible(now, made, acts):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(now=now, **made)

    moves = {"publish", "cancel", "settle", "pause_scores", "resume_scores", "lock_now", "end_now"}
    assert offered(operator, tournament) & moves == acts
    assert "clone" in offered(operator, tournament)


def test_scores_are_paused_and_resumed_with_a_reason(now):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(now=now)

    operator.post(page(tournament, "pause_scores"), {"reason": "a bug in the game"})
    tournament.refresh_from_db()
    assert tournament.scores_paused_at == now
    assert "scores paused since" in operator.get(page(tournament)).content.decode().lower()
    assert {"resume_scores"} <= offered(operator, tournament)

    operator.post(page(tournament, "resume_scores"), {"reason": "mended"})
    tournament.refresh_from_db()
    assert tournament.scores_paused_at is None
    assert [entry.line() for entry in StaffAct.objects.order_by("pk")] == [
        "Pause scores: a bug in the game",
        "Resume scores: mended",
    ]


def test_lock_now_says_whom_it_would_leave_alone(now):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(now=now, lobby=True)
    seat(tournament, joined_at=now)

    asked = operator.get(page(tournament, "lock_now")).context["consequences"]
    operator.post(page(tournament, "lock_now"), {"reason": "a private round"})

    assert asked == [
        "It starts at once, ahead of its time.",
        "Nobody joins or leaves any more. Participants: 1.",
        f"Scores count until {tournament.ends_at:%Y-%m-%d %H:%M:%S} UTC, as before.",
        "It needs 2: it will be cancelled and refunded at once.",
        "It cannot be undone.",
    ]
    tournament.refresh_from_db()
    assert (tournament.starts_at, tournament.locks_at) == (now, now)


@pytest.mark.parametrize(
    ("is_sandbox", "sentence"),
    [
        (False, "Scores from before are taken for another 1 min."),
        (True, "Nothing is taken any more, and it is settled at once: its game is a sandbox."),
    ],
)
def test_end_now_tells_what_becomes_of_late_scores(now, is_sandbox, sentence):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(now=now, game=GameFactory(is_sandbox=is_sandbox))

    asked = operator.get(page(tournament, "end_now")).context["consequences"]
    operator.post(page(tournament, "end_now"), {"reason": "the servers go down"})

    assert sentence in asked
    tournament.refresh_from_db()
    assert tournament.ends_at == now
    assert StaffAct.objects.get().line() == "End now: the servers go down"


def test_a_clone_is_drafted_at_the_next_start_that_is_offered(now):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(now=now)
    start = next_start(now)

    form = operator.get(page(tournament, "clone")).context["form"]
    sent = {"starts_at_0": f"{start:%Y-%m-%d}", "starts_at_1": f"{start:%H:%M:%S}"}
    response = operator.post(page(tournament, "clone"), sent, follow=True)

    assert form.initial["starts_at"] == start
    clone = Tournament.objects.exclude(pk=tournament.pk).get()
    assert (clone.title, clone.starts_at, clone.phase) == (tournament.title, start, "PREPARATION")
    assert page(clone) in response.content.decode()


@pytest.mark.parametrize("shift", [-MINUTE, timedelta(days=3000)])
def test_a_clone_in_the_past_or_far_away_is_refused(now, shift):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(now=now)
    start = now + shift

    sent = {"starts_at_0": f"{start:%Y-%m-%d}", "starts_at_1": f"{start:%H:%M:%S}"}
    response = operator.post(page(tournament, "clone"), sent)

    assert list(response.context["form"].errors) == ["starts_at"]
    assert Tournament.objects.count() == 1


def test_a_cancelled_tournament_tells_how_far_its_refunds_are(now, monkeypatch):
    support = staff_client(SUPPORT)
    monkeypatch.setattr(cancelling, "CHUNK", 2)
    tournament = TournamentFactory(now=now)
    for _ in range(5):
        seat(tournament)
    cancelling.cancel(uid=tournament.uid, now=now)

    def told():
        return support.get(page(tournament)).content.decode()

    assert "0 of 5, of 10 KCash each; it goes on by itself" in told()
    cancelling._refund_chunk(uid=tournament.uid, now=now)
    assert "2 of 5, of 10 KCash each; it goes on by itself" in told()
    cancelling.refund_stakes(uid=tournament.uid, now=now)
    assert "5 of 5, of 10 KCash each<" in told()


def test_a_stuck_tournament_says_why_and_is_found(now):
    support = staff_client(SUPPORT)
    tournament, _well = TournamentFactory(now=now, over=True), TournamentFactory(now=now, over=True)
    Setback.objects.create(
        tournament=tournament,
        problem="Could not settle it: OperationalError: out of disk.",
        tries=3,
        since=now,
        last_at=now,
        next_try_at=now + MINUTE,
    )

    told = support.get(page(tournament)).content.decode()
    found = support.get("/admin/tournaments/tournament/", {"status": "stuck"})

    assert "Could not settle it: OperationalError: out of disk. Tried 3 times since" in told
    assert list(found.context["cl"].result_list) == [tournament]


def test_support_moves_nothing(now):
    support = staff_client(SUPPORT)
    tournament = TournamentFactory(now=now)
    before = world()

    assert offered(support, tournament) == set()
    for act in ("pause_scores", "resume_scores", "lock_now", "end_now", "clone"):
        assert support.post(page(tournament, act), {"reason": "no"}).status_code == 403

    assert world() == before


def test_a_move_that_came_too_late_is_told_and_changes_nothing(now):
    operator = staff_client(OPERATORS)
    tournament = TournamentFactory(now=now)
    lifecycle.end_now(uid=tournament.uid, now=now)
    before = world()

    response = operator.post(page(tournament, "lock_now"), {"reason": "late"}, follow=True)

    assert "is not possible any more" in response.content.decode()
    assert world() == before
