"""The console's pages of scores held back, of who is disqualified, and of results."""

import pytest
from django.urls import reverse

from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from tournaments import settling
from tournaments.lifecycle import Rules
from tournaments.models import Participation, QuarantinedScore
from tournaments.tests.factories import TournamentFactory, player, record_score, seat
from tournaments.tests.test_admin import page
from tournaments.tests.test_admin_formats import panel, texts
from tournaments.tests.world import world

pytestmark = pytest.mark.django_db


def address(row, act="change"):
    return reverse(f"admin:tournaments_{row._meta.model_name}_{act}", args=[row.pk])


def held_back(now) -> QuarantinedScore:
    tournament = TournamentFactory.create(now=now, rules=Rules(event_ceiling=10))
    taken = seat(tournament, gamer=player(tournament.game, gamer_id="ann"), score=5)
    record_score(tournament, taken.gamer, 5000, at=now)
    return taken.quarantined.get()


def test_scores_held_back_are_listed_with_what_stands(now):
    score = held_back(now)
    support = staff_client(SUPPORT)

    listed = support.get(reverse("admin:tournaments_quarantinedscore_changelist"))
    shown = support.get(address(score))
    table = panel(support.get(page(score.seat.tournament)), "Scores held back")

    assert listed.status_code == shown.status_code == 200
    assert "above the ceiling of a score" in listed.content.decode()
    assert "score that stands" in shown.content.decode().lower()
    assert [row[2:4] for row in table.rows] == [("5", "above the ceiling of a score")]


@pytest.mark.parametrize(
    ("act", "score", "state"), [("accept", 5000, "ACCEPTED"), ("reject", 5, "REJECTED")]
)
def test_operator_decides_with_a_reason(now, act, score, state):
    waiting = held_back(now)
    operator = staff_client(OPERATORS)

    assert operator.get(address(waiting, act)).status_code == 200
    operator.post(address(waiting, act), {"reason": "seen the match"})

    waiting.refresh_from_db()
    assert (waiting.state, waiting.decision_reason) == (state, "seen the match")
    assert waiting.decided_by
    assert Participation.objects.get().score == score
    assert "seen the match" in StaffAct.objects.get().line()


def test_others_may_not_decide(now):
    waiting = held_back(now)
    before = world()

    for role in (SUPPORT, FINANCE):
        for row, act in ((waiting, "accept"), (waiting, "reject"), (waiting.seat, "disqualify")):
            answer = staff_client(role).post(address(row, act), {"reason": "please"})
            assert answer.status_code == 403

    assert world() == before


def test_disqualifying_says_first_what_would_happen(now):
    tournament = TournamentFactory.create(now=now)
    names = ["ann", "bob", "cyd", "dan", "eve"]
    seats = [
        seat(tournament, gamer=player(tournament.game, gamer_id=name), score=90 - place)
        for place, name in enumerate(names)
    ]
    operator = staff_client(OPERATORS)
    before = world()

    asked = operator.get(address(seats[0], "disqualify")).content.decode()
    table = panel(operator.get(address(seats[0])), "Prizes without this gamer")

    assert "Others whose prize would change as the board is now: 1." in asked
    assert texts(table) == [
        ["ann", "1", "32", "-", "0"],
        ["bob", "2", "10", "1", "42"],
    ]
    assert world() == before


def test_operator_disqualifies_with_a_reason(now):
    tournament = TournamentFactory.create(now=now)
    cheat = seat(tournament, score=9)
    operator = staff_client(OPERATORS)

    operator.post(address(cheat, "disqualify"), {"reason": "an aimbot"})

    cheat.refresh_from_db()
    assert (cheat.disqualified_reason, cheat.left_at) == ("an aimbot", now)
    assert "disqualified" in operator.get(address(cheat)).content.decode()


def test_result_is_worked_out_again_from_its_page(now):
    tournament = TournamentFactory.create(now=now, over=True)
    for score in (5, 4):
        seat(tournament, score=score)
    settling.settle(uid=tournament.uid, now=now)
    support = staff_client(SUPPORT)

    right = support.post(page(tournament, "verify"), follow=True).content.decode()
    Participation.objects.filter(score=5).update(prize=1)
    wrong = support.post(page(tournament, "verify"), follow=True).content.decode()

    assert f"Right: all of {tournament} comes out as it was settled." in right
    assert "It does not come out as it was settled. the seats&#x27; prizes" in wrong
    [record] = panel(support.get(page(tournament)), "Result record").rows
    assert len(record[0]) == 64
