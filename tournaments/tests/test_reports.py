import csv
from datetime import timedelta

import pytest
from django.urls import reverse

from accounts.tests.staff import staff_client
from kgen.common.admin import FINANCE, OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from tournaments import cancelling, joining, reports, settling
from tournaments.lifecycle import Rules
from tournaments.models import Participation
from tournaments.reports import EntryStep, Money, Retention, ScoreStep
from tournaments.tests.factories import TournamentFactory, player, seat
from wallet.prize_pools import Flows

pytestmark = pytest.mark.django_db


def report_of(tournament, now):
    tournament.refresh_from_db()
    return reports.report_of(tournament=tournament, now=now)


def page(tournament, what="report"):
    return reverse(f"admin:tournaments_tournament_{what}", args=[tournament.pk])


# --- Entries -------------------------------------------------------------------------------------


def test_entries_are_counted_in_steps_and_added_up(now):
    tournament = TournamentFactory.create(now=now)
    first = tournament.lobby_at
    minute = timedelta(minutes=1)
    taken = [
        seat(tournament, joined_at=first + after) for after in (0 * minute, minute, 6 * minute)
    ]
    joining.leave(gamer=taken[0].gamer, tournament_uid=tournament.uid, now=first + 5 * minute)

    entries = report_of(tournament, now).entries

    # From the lobby to now it is eleven minutes; from the lobby to the lock 59, so of 5 minutes.
    assert entries.length == 5 * minute
    assert entries.steps == [
        EntryStep(since=first, joined=2, left=0, seated=2),
        EntryStep(since=first + 5 * minute, joined=1, left=1, seated=2),
        EntryStep(since=first + 10 * minute, joined=0, left=0, seated=2),
    ]


def test_a_tournament_that_nobody_could_join_has_no_entries(now):
    tournament = TournamentFactory.create(now=now, scheduled=True)

    assert report_of(tournament, now).entries.steps == []


@pytest.mark.parametrize(
    ("span", "length"),
    [
        (timedelta(minutes=48), timedelta(minutes=1)),
        (timedelta(minutes=49), timedelta(minutes=5)),
        (timedelta(hours=24), timedelta(minutes=30)),
        (timedelta(days=30), timedelta(days=1)),
        (timedelta(days=365 * 500), timedelta(days=365)),
    ],
)
def test_steps_are_few(span, length):
    assert reports._length_of_step(span) == length


# --- Scores --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "steps"),
    [
        ([], []),
        ([7], [(7, 7, 1)]),
        ([3, 5, 3], [(3, 3, 2), (4, 4, 0), (5, 5, 1)]),
        (
            [0, 1, 40],
            [(0, 2, 2), *((low, low + 2, 0) for low in range(3, 39, 3)), (39, 41, 1)],
        ),
        ([0, 2**53 - 1], None),
    ],
)
def test_scores_fall_into_equal_steps(now, scores, steps):
    tournament = TournamentFactory.create(now=now)
    for score in scores:
        seat(tournament, score=score)
    seat(tournament)

    told = report_of(tournament, now).scores

    assert (told.without, told.lowest, told.highest) == (
        1,
        min(scores, default=None),
        max(scores, default=None),
    )
    assert sum(step.gamers for step in told.steps) == len(scores)
    assert len(told.steps) <= reports.MOST_SCORE_STEPS
    if steps is not None:
        assert told.steps == [ScoreStep(*step) for step in steps]


def test_those_who_left_have_no_place_among_the_scores(now):
    tournament = TournamentFactory.create(now=now)
    seat(tournament, score=1)
    gone = seat(tournament, score=9)
    joining.leave(gamer=gone.gamer, tournament_uid=tournament.uid, now=now)

    told = report_of(tournament, now).scores

    assert (told.lowest, told.median, told.highest) == (1, 1, 1)


# --- Retention -----------------------------------------------------------------------------------


def test_retention_looks_at_the_tournaments_before_and_after(now):
    hour = timedelta(hours=1)
    first = TournamentFactory.create(now=now - 10 * hour)
    game = first.game
    middle = TournamentFactory.create(now=now - 5 * hour, game=game)
    called_off = TournamentFactory.create(now=now - 4 * hour, game=game)
    last = TournamentFactory.create(now=now, game=game)
    TournamentFactory.create(now=now - 4 * hour)
    loyal, gone, fresh, quitter = (player(game) for _ in range(4))
    for tournament, gamers in (
        (first, (loyal, gone, quitter)),
        (middle, (loyal, fresh, gone, quitter)),
        (called_off, (fresh,)),
        (last, (loyal, quitter)),
    ):
        for gamer in gamers:
            seat(tournament, gamer=gamer)
    joining.leave(gamer=quitter, tournament_uid=last.uid, now=now)
    cancelling.cancel(uid=called_off.uid, now=now)

    assert report_of(middle, now).retention == Retention(
        entrants=4, before=first, came_back=3, after=last, stayed=1
    )
    assert report_of(first, now).retention == Retention(
        entrants=3, before=None, came_back=0, after=middle, stayed=3
    )


# --- Money ---------------------------------------------------------------------------------------


def test_money_of_a_running_tournament(now):
    tournament = TournamentFactory.create(now=now)
    seats = [seat(tournament) for _ in range(3)]
    joining.leave(gamer=seats[0].gamer, tournament_uid=tournament.uid, now=now)

    money = report_of(tournament, now).money

    assert money == Money(
        flows=Flows(stakes=30, refunds=10, in_pool=20), pool=17, held_stakes=20, prizes=0
    )
    assert money.is_confirmed


def test_money_of_a_settled_tournament_is_what_was_stored(now):
    tournament = TournamentFactory.create(
        now=now, over=True, entry_fee=7, rules=Rules(sponsor_contribution=100)
    )
    for score in (9, 5, 0):
        seat(tournament, score=score)
    settled = settling.settle(uid=tournament.uid, now=now)

    money = report_of(tournament, now).money

    won = sum(taken.prize or 0 for taken in Participation.objects.all())
    # 21 staked, 17 of them to the pool; of the rake of 4 each half gets 2.
    assert money == Money(
        flows=Flows(
            stakes=21,
            sponsored=100,
            prizes=won,
            platform_rake=2,
            developer_rake=2,
            remainder=117 - won,
        ),
        pool=117,
        held_stakes=21,
        prizes=won,
    )
    assert settled.settled_pool == 117
    assert won > 0
    assert money.is_confirmed


def test_money_of_a_cancelled_tournament_is_given_back(now):
    tournament = TournamentFactory.create(now=now, rules=Rules(sponsor_contribution=100))
    for _ in range(2):
        seat(tournament)
    cancelling.cancel(uid=tournament.uid, now=now)
    cancelling.refund_stakes(uid=tournament.uid, now=now)

    money = report_of(tournament, now).money

    assert money == Money(flows=Flows(stakes=20, refunds=20), pool=0, held_stakes=0, prizes=0)
    assert money.is_confirmed


def test_a_draft_has_no_money(now):
    tournament = TournamentFactory.create(now=now, published=False)

    assert report_of(tournament, now).money.flows == Flows()


def test_seats_that_say_other_than_the_ledger_are_told(now):
    tournament = TournamentFactory.create(now=now, over=True)
    for score in (9, 5):
        seat(tournament, score=score)
    settling.settle(uid=tournament.uid, now=now)
    Participation.objects.filter(final_rank=1).update(prize=16)

    assert not report_of(tournament, now).money.is_confirmed
    assert (
        b"the ledger differs from the seats"
        in staff_client(OPERATORS).get(page(tournament)).content
    )


# --- The console ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "status"), [(OPERATORS, 200), (SUPPORT, 200), (FINANCE, 403)])
@pytest.mark.parametrize("what", ["report", "export"])
def test_who_sees_tournaments_sees_their_reports(now, role, status, what):
    tournament = TournamentFactory.create(now=now)

    assert staff_client(role).get(page(tournament, what)).status_code == status


def test_a_report_of_nothing_is_not_found(db):
    operator = staff_client(OPERATORS)

    assert operator.get("/admin/tournaments/tournament/1/report/").status_code == 404
    assert operator.get("/admin/tournaments/tournament/1/report.csv").status_code == 404


def test_page_draws_bars_without_style_or_script(now):
    tournament = TournamentFactory.create(now=now)
    for score in (1, 1, 2):
        seat(tournament, score=score)

    response = staff_client(OPERATORS).get(page(tournament))

    panels = dict(response.context["panels"])
    assert list(panels) == ["Entries over time", "Scores", "Retention", "Pool and rake"]
    scores = panels["Scores"].rows
    assert [row[:2] for row in scores[:2]] == [("1 to 1", "2"), ("2 to 2", "1")]
    assert 'rect width="200"' in scores[0][2]
    assert 'rect width="100"' in scores[1][2]
    content = response.content.decode()
    assert "style=" not in content[content.index('id="content-main"') :]
    assert "the ledger, the seats and the tournament agree" in content


def test_the_tournaments_page_leads_to_the_report(now):
    tournament = TournamentFactory.create(now=now)

    response = staff_client(SUPPORT).get(page(tournament, "change"))

    assert f'href="{page(tournament)}"' in response.content.decode()


def test_export_has_every_number_and_no_formula(now):
    tournament = TournamentFactory.create(now=now, title="=1+1")
    for score in (1, 3):
        seat(tournament, score=score)

    response = staff_client(OPERATORS).get(page(tournament, "export"))

    lines = list(csv.reader(response.getvalue().decode().splitlines()))
    assert lines[0] == ["tournament", "part", "what", "from", "to", "number"]
    assert {line[0] for line in lines[1:]} == {"'=1+1"}
    told = {(part, what): number for _, part, what, start, _, number in lines if not start}
    assert told == {
        ("scores", "no score"): "0",
        ("scores", "median"): "1",
        ("retention", "entrants"): "2",
        ("retention", "in the one before"): "0",
        ("retention", "in the one after"): "0",
        ("money", "entry fees paid"): "20",
        ("money", "given back"): "0",
        ("money", "sponsored"): "0",
        ("money", "net pool"): "17",
        ("money", "prizes"): "0",
        ("money", "rake of the platform"): "0",
        ("money", "rake of the developer"): "0",
        ("money", "remainder"): "0",
        ("money", "still in the pool"): "20",
    }
    assert ["'=1+1", "scores", "gamers", "2", "2", "0"] in lines
    assert response["Content-Disposition"] == (
        f'attachment; filename="report-{tournament.uid}.csv"'
    )
    assert StaffAct.objects.get().line() == "Exported the report"


@pytest.mark.parametrize("entrants", [1, 3])
def test_a_report_makes_few_queries(now, entrants, django_assert_num_queries):
    tournament = TournamentFactory.create(now=now)
    for number in range(entrants):
        seat(tournament, score=number)

    # Entries, scores, before, after, retention, pool's account, its flows, seats.
    with django_assert_num_queries(8):
        report_of_loaded = reports.report_of(tournament=tournament, now=now)

    assert report_of_loaded.retention.entrants == entrants
