"""What staff decide about scores held back and about gamers who do not play fair."""

from datetime import timedelta

import pytest
from django.db import transaction

from tournaments import cancelling, joining, leaderboard, previewing, reviewing, settling
from tournaments.joining import AlreadyJoined, NotJoined
from tournaments.lifecycle import AlreadyFinished, Rules
from tournaments.models import Participation, QuarantinedScore, Tournament
from tournaments.previewing import Change
from tournaments.reviewing import AlreadyDecided, QuarantinedScoreNotFound, SumTooLarge
from tournaments.tests.factories import TournamentFactory, player, record_score, seat
from tournaments.tests.world import buckets, pool_balance, world

pytestmark = pytest.mark.django_db

Rule = Tournament.ScoreRule


def held_back(now, **rules) -> QuarantinedScore:
    """A seat with a score of 5, and one of 50 that waits."""
    tournament = TournamentFactory.create(now=now, rules=Rules(event_ceiling=10, **rules))
    taken = seat(tournament, score=5)
    record_score(tournament, taken.gamer, 50, at=now)
    return taken.quarantined.get()


def refused(call, error: type[Exception]) -> None:
    before = world()
    with pytest.raises(error):
        call()
    assert world() == before


@pytest.mark.parametrize(("rule", "score"), [(Rule.LATEST, 50), (Rule.BEST, 50), (Rule.SUM, 55)])
def test_accepted_score_counts_from_when_it_was_reached(now, rule, score):
    waiting = held_back(now, score_rule=rule)

    accepted = reviewing.accept(
        quarantined_id=waiting.pk, by="ada", reason="seen the match", now=now + timedelta(minutes=9)
    )

    taken = Participation.objects.get()
    assert (taken.score, taken.reached_at) == (score, now)
    assert (accepted.state, accepted.decided_by, accepted.decision_reason) == (
        "ACCEPTED",
        "ada",
        "seen the match",
    )


def test_accepted_score_that_is_no_better_changes_nothing(now):
    waiting = held_back(now)
    record_score(waiting.seat.tournament, waiting.seat.gamer, 7, at=now + timedelta(seconds=1))

    reviewing.accept(quarantined_id=waiting.pk, by="ada", reason="fine", now=now)

    assert Participation.objects.get().score == 7


def test_rejected_score_is_kept_and_never_counts(now):
    waiting = held_back(now)

    reviewing.reject(quarantined_id=waiting.pk, by="ada", reason="a bot", now=now)

    waiting.refresh_from_db()
    assert (waiting.state, waiting.value, Participation.objects.get().score) == ("REJECTED", 50, 5)
    refused(
        lambda: reviewing.accept(quarantined_id=waiting.pk, by="bob", reason="no", now=now),
        AlreadyDecided,
    )


def test_unknown_score_is_refused(now):
    refused(
        lambda: reviewing.reject(quarantined_id=1, by="ada", reason="x", now=now),
        QuarantinedScoreNotFound,
    )


def test_sum_that_would_be_too_large_cannot_be_accepted(now):
    tournament = TournamentFactory.create(now=now, rules=Rules(score_rule=Rule.SUM))
    taken = seat(tournament, score=2**53 - 1)
    record_score(tournament, taken.gamer, 1, at=now)

    refused(
        lambda: reviewing.accept(
            quarantined_id=taken.quarantined.get().pk, by="ada", reason="x", now=now
        ),
        SumTooLarge,
    )


def test_nothing_is_decided_once_it_is_settled(now):
    waiting = held_back(now)
    seat(waiting.seat.tournament, score=1)
    over = waiting.seat.tournament.closes_at
    settling.settle(uid=waiting.seat.tournament.uid, now=over)

    for call in (
        lambda: reviewing.accept(quarantined_id=waiting.pk, by="ada", reason="x", now=over),
        lambda: reviewing.disqualify(seat_id=waiting.seat_id, by="ada", reason="x", now=over),
    ):
        refused(call, AlreadyFinished)


# --- Disqualified --------------------------------------------------------------------------------


def board_of_three(now) -> tuple[Tournament, list[Participation]]:
    tournament = TournamentFactory.create(now=now, entry_fee=100)
    return tournament, [seat(tournament, score=score) for score in (30, 20, 10)]


def test_disqualified_gamer_is_off_the_board_and_everybody_below_moves_up(now):
    tournament, (cheat, second, third) = board_of_three(now)

    reviewing.disqualify(seat_id=cheat.pk, by="ada", reason="an aimbot", now=now)

    assert [entry.seat_id for entry in leaderboard.entries(tournament)] == [second.pk, third.pk]
    cheat.refresh_from_db()
    assert (cheat.score, cheat.disqualified_by, cheat.disqualified_reason, cheat.left_at) == (
        30,
        "ada",
        "an aimbot",
        now,
    )


def test_disqualified_gamer_neither_plays_nor_comes_back_nor_pays_again(now):
    tournament, (cheat, *_) = board_of_three(now)
    reviewing.disqualify(seat_id=cheat.pk, by="ada", reason="an aimbot", now=now)
    gamer = cheat.gamer

    refused(
        lambda: joining.join(gamer=gamer, tournament_uid=tournament.uid, stake=100, now=now),
        AlreadyJoined,
    )
    refused(lambda: joining.leave(gamer=gamer, tournament_uid=tournament.uid, now=now), NotJoined)
    refused(
        lambda: reviewing.disqualify(seat_id=cheat.pk, by="bob", reason="again", now=now),
        NotJoined,
    )
    with pytest.raises(NotJoined), transaction.atomic():
        record_score(tournament, gamer, 99, at=now)
    with transaction.atomic():
        joining.ensure_joined(gamer=gamer, tournament_uids=[tournament.uid], now=now)
    assert tournament.participations.filter(gamer=gamer).count() == 1


def test_stake_of_a_disqualified_gamer_is_won_by_the_others(now):
    tournament, (cheat, second, _) = board_of_three(now)
    reviewing.disqualify(seat_id=cheat.pk, by="ada", reason="an aimbot", now=now)

    settling.settle(uid=tournament.uid, now=tournament.closes_at)

    # 85 % of three stakes, of which two gamers leave the whole to the first.
    assert (buckets(second.gamer)[3], buckets(cheat.gamer)[3]) == (255, 0)
    assert pool_balance(tournament) == 0


def test_stake_of_a_disqualified_gamer_comes_back_when_it_is_cancelled(now):
    tournament, (cheat, *_) = board_of_three(now)
    reviewing.disqualify(seat_id=cheat.pk, by="ada", reason="an aimbot", now=now)

    cancelling.cancel(uid=tournament.uid, now=now)
    cancelling.refund_stakes(uid=tournament.uid, now=now)

    assert buckets(cheat.gamer) == (100, 0, 0, 0)
    assert pool_balance(tournament) == 0


# --- What if -------------------------------------------------------------------------------------


def test_what_if_says_whose_prize_changes_and_saves_nothing(now):
    tournament = TournamentFactory.create(now=now, entry_fee=10)
    names = ["a", "b", "c", "d", "e"]
    seats = {
        name: seat(tournament, gamer=player(tournament.game, gamer_id=name), score=90 - place)
        for place, name in enumerate(names)
    }
    before = world()

    found = previewing.without(seat_id=seats["a"].pk)

    # Of five, 32 and 10; of four with the stakes of five, up to six fees for the first alone.
    assert found.changes == [
        Change("a", 1, 32, None, 0),
        Change("b", 2, 10, 1, 42),
    ]
    assert (found.paid, found.would_pay) == (42, 42)
    assert world() == before


def test_what_if_agrees_with_what_happens(now):
    tournament, (cheat, second, third) = board_of_three(now)
    foreseen = previewing.without(seat_id=cheat.pk)

    reviewing.disqualify(seat_id=cheat.pk, by="ada", reason="an aimbot", now=now)
    settling.settle(uid=tournament.uid, now=tournament.closes_at)

    won = {taken.tiebreak: buckets(taken.gamer)[3] for taken in (cheat, second, third)}
    assert {change.gamer_id: change.new_prize for change in foreseen.changes} == {
        gamer_id: prize for gamer_id, prize in won.items() if gamer_id != third.tiebreak
    }


def test_what_if_foresees_a_cancellation(now):
    tournament = TournamentFactory.create(now=now)
    first, _ = seat(tournament, score=5), seat(tournament, score=4)

    found = previewing.without(seat_id=first.pk)

    assert (found.paid, found.would_pay) == (17, None)
    with pytest.raises(NotJoined):
        previewing.without(seat_id=0)


def test_who_leaves_with_a_score_held_back_forfeits_the_stake(now):
    tournament = TournamentFactory.create(now=now, rules=Rules(event_ceiling=10))
    taken = seat(tournament)
    record_score(tournament, taken.gamer, 50, at=now)

    refunded = joining.leave(gamer=taken.gamer, tournament_uid=tournament.uid, now=now)

    assert refunded == 0
    assert (buckets(taken.gamer)[0], pool_balance(tournament)) == (0, 10)
