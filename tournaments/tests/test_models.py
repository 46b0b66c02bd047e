from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from accounts.tests.factories import GameFactory
from kgen.common.identifiers import uuid7
from tournaments import lifecycle
from tournaments.models import Tournament
from tournaments.tests.factories import TournamentFactory, seat

pytestmark = pytest.mark.django_db

Status = Tournament.Status


def test_status_follows_the_clock_with_every_bound_included(now):
    tournament = TournamentFactory.create(now=now, starts_at=now)
    moment = timedelta(microseconds=1)

    statuses = [
        (at, tournament.status_at(at - moment), tournament.status_at(at))
        for at in (
            tournament.schedules_at,
            tournament.lobby_at,
            tournament.starts_at,
            tournament.locks_at,
            tournament.ends_at,
            tournament.ends_at + timedelta(seconds=60),
        )
    ]

    assert [(before, after) for _, before, after in statuses] == [
        (Status.PREPARATION, Status.SCHEDULED),
        (Status.SCHEDULED, Status.LOBBY),
        (Status.LOBBY, Status.STARTED),
        (Status.STARTED, Status.LOCKED),
        (Status.LOCKED, Status.LOCKED),
        (Status.LOCKED, Status.REWARDS),
    ]


@pytest.mark.parametrize(
    ("trait", "active", "visible"),
    [
        ("hidden", False, False),
        ("scheduled", True, True),
        ("lobby", True, True),
        ("locked", True, True),
        ("over", False, True),
    ],
)
def test_querysets_agree_with_the_status(now, trait, active, visible):
    tournament = TournamentFactory.create(now=now, **{trait: True})

    assert Tournament.objects.active_at(now).contains(tournament) == active
    assert Tournament.objects.visible_at(now).contains(tournament) == visible
    assert tournament.is_visible_at(now) == visible


def test_a_draft_is_never_visible(now):
    tournament = TournamentFactory.create(now=now, published=False)

    assert tournament.phase == Tournament.Phase.PREPARATION
    assert not Tournament.objects.visible_at(now).exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("PUBLISHED", "SETUP"),
        ("PUBLISHED", "PREPARATION"),
        ("CANCELLED", "PUBLISHED"),
        ("COMPLETED", "CANCELLED"),
        ("COMPLETED", "PUBLISHED"),
    ],
)
def test_the_database_refuses_moves_against_the_life(now, old, new):
    tournament = TournamentFactory.create(now=now)
    with transaction.atomic():
        if old == "CANCELLED":
            lifecycle.cancel(tournament, now=now)
        if old == "COMPLETED":
            lifecycle.complete(
                tournament,
                pool=0,
                rewarded=0,
                finish_posting_id=uuid7(),
                now=now,
            )

    with pytest.raises(IntegrityError, match="cannot go from"), transaction.atomic():
        Tournament.objects.filter(pk=tournament.pk).update(phase=new)

    tournament.refresh_from_db()
    assert tournament.phase == old


@pytest.mark.parametrize(
    "terms", [{"entry_fee": 11}, {"rake_percent": 16}, {"tournament_size": 5}, {"game": "other"}]
)
def test_the_database_fixes_the_terms_of_a_published_tournament(now, terms):
    tournament = TournamentFactory.create(now=now)
    if "game" in terms:
        terms = {"game": GameFactory.create()}

    with pytest.raises(IntegrityError, match="are fixed"), transaction.atomic():
        Tournament.objects.filter(pk=tournament.pk).update(**terms)


@pytest.mark.parametrize(
    "changed",
    [
        {"lobby_at": -timedelta(days=1)},
        {"starts_at": -timedelta(days=1)},
        {"locks_at": timedelta(days=1)},
        {"ends_at": -timedelta(days=1)},
    ],
)
def test_the_database_keeps_times_in_order(now, changed):
    tournament = TournamentFactory.create(now=now, published=False)
    ((name, shift),) = changed.items()

    with (
        pytest.raises(IntegrityError, match="tournament_times_in_order"),
        transaction.atomic(),
    ):
        Tournament.objects.filter(pk=tournament.pk).update(**{name: now + shift})


def test_a_phase_without_its_figures_is_refused(now):
    tournament = TournamentFactory.create(now=now)

    for phase in ("COMPLETED", "CANCELLED"):
        with (
            pytest.raises(IntegrityError, match="tournament_settled_figures"),
            transaction.atomic(),
        ):
            Tournament.objects.filter(pk=tournament.pk).update(phase=phase)


def test_figures_count_seats_and_held_stakes(now):
    tournament = TournamentFactory.create(now=now)
    for _ in range(3):
        seat(tournament)

    counted = Tournament.objects.with_figures().get(pk=tournament.pk)

    assert (counted.entrants, counted.stakes) == (3, 3)
