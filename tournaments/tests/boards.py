"""Seats and scores set down as they are wanted: for tests that look at the order alone."""

from datetime import timedelta

from django.utils import timezone

from accounts.models import Gamer
from tournaments import lifecycle
from tournaments.models import Participation, Tournament
from tournaments.tests.factories import TournamentFactory


def tournament_of(*, sort=Tournament.Sort.HIGH, **fields):
    now = timezone.now()
    draft = TournamentFactory.create(now=now, published=False, **fields)
    Tournament.objects.filter(pk=draft.pk).update(sort=sort)
    return lifecycle.publish(uid=draft.uid, now=draft.created_at)


def sit(tournament, name, *, joined=0, score=None, reached=0):
    """A seat as it is once the money has been seen to; times in microseconds after the start."""
    gamer, _ = Gamer.objects.get_or_create(
        game=tournament.game, gamer_id=name, defaults={"created_at": tournament.starts_at}
    )
    seat = Participation(
        tournament=tournament,
        gamer=gamer,
        tiebreak=name,
        joined_at=tournament.starts_at + timedelta(microseconds=joined),
    )
    _set(seat, score, reached)
    seat.save(force_insert=True)
    return seat


def _set(seat, score, reached):
    if score is None:
        return
    seat.score = score
    seat.standing_key = score if seat.tournament.sort == Tournament.Sort.LOW else -score
    seat.reached_at = seat.tournament.starts_at + timedelta(microseconds=reached)
    seat.applied_hash = bytes(32)


def score(seat, points, *, reached=0):
    _set(seat, points, reached)
    seat.save(update_fields=["score", "standing_key", "reached_at", "applied_hash"])


def leave(seat):
    seat.left_at = timezone.now()
    seat.save(update_fields=["left_at"])
