"""The API contract's table of edge cases, section 4: each row of play by its name, as a game meets it."""

from datetime import timedelta
from functools import partial

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory, SessionFactory, token_for
from tournaments import cancelling, tasks
from tournaments.models import GameEvent, Tournament
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.test_eventing import event, score_event, send
from tournaments.tests.world import buckets, pool_balance, world
from wallet.models import WalletTransaction
from wallet.tests.parallel import in_parallel

GRACE = timedelta(seconds=60)


@pytest.fixture
def play(db: None, now):
    """A running tournament at a fee of 10."""
    return TournamentFactory.create(now=now)


def as_gamer(gamer):
    return GameClient(gamer.game).as_gamer(gamer)


def join(gamer, tournament, *, at=None, stake=10):
    with time_machine.travel(at or timezone.now(), tick=False):
        return as_gamer(gamer).post(f"/tournaments/{tournament.uid}/_join", {"joiningStake": stake})


def told(response):
    """Status, code and reason of a refusal."""
    refused = error_body(response)
    return response.status_code, refused["error"], refused["details"].get("reason")


def answer(response):
    return response.status_code, response.json()


def board_of(gamer, tournament):
    return as_gamer(gamer).get(f"/leaderboards/_byTournament/{tournament.uid}").json()


def standings(gamer, tournament):
    shown = board_of(gamer, tournament)["leaderboard"]
    return [(row["user_id"], row["score"], row["rank"]) for row in shown]


def sweep(at):
    """What the clock does with every tournament whose time has come."""
    with time_machine.travel(at, tick=False):
        tasks.close_due_tournaments()
        tasks.close_due_tournaments()  # refunds follow what the first has cancelled


def history_of(gamer):
    played = as_gamer(gamer).get("/statistics/_historic").json()
    return [(row["result"], row["amountWon"], row["rank"]) for row in played]


# --- Who calls -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [{}, {"x-clientID": "nobody", "x-clientSecret": "none"}], ids=["no", "wrong"]
)
def test_no_or_wrong_client_headers_any_path(play, headers):
    before = world()

    for path in ("/session", "/eventing", f"/tournaments/{play.uid}/_join"):
        response = Client().post(
            f"/api/v1{path}", b"{}", content_type="application/json", headers=headers
        )
        assert told(response) == (401, "UN_AUTHORIZED", "CLIENT_CREDENTIALS")

    assert world() == before


def test_right_client_no_garbled_or_expired_token(play):
    gamer = player(play.game)
    expired = token_for(SessionFactory.create(gamer=gamer), expired=True)
    client, before = GameClient(play.game), world()

    for token, reason in (
        ("", "TOKEN_MISSING"),
        ("garbled", "TOKEN_INVALID"),
        (expired, "TOKEN_EXPIRED"),
    ):
        response = client.with_token(token).post(
            f"/tournaments/{play.uid}/_join", {"joiningStake": 10}
        )
        assert told(response) == (401, "UN_AUTHORIZED", reason)

    assert world() == before
    assert client.post("/session", {"gamer_id": gamer.gamer_id}).status_code == 200


def test_token_made_under_another_client(play):
    stranger, before = player(GameFactory.create()), world()

    response = (
        GameClient(play.game)
        .with_token(token_for(SessionFactory.create(gamer=stranger)))
        .post(f"/tournaments/{play.uid}/_join", {"joiningStake": 10})
    )

    assert told(response) == (401, "UN_AUTHORIZED", "TOKEN_CLIENT_MISMATCH")
    assert world() == before


# --- Joining -------------------------------------------------------------------------------------


def test_tournament_of_another_game_or_hidden(play, now):
    gamer = player(GameFactory.create())
    hidden = TournamentFactory.create(now=now, game=gamer.game, hidden=True)
    before = world()

    for tournament in (play, hidden):
        assert told(join(gamer, tournament)) == (404, "TOURNAMENT_NOT_FOUND", None)
        response = as_gamer(gamer).get(f"/leaderboards/_byTournament/{tournament.uid}")
        assert told(response) == (404, "TOURNAMENT_NOT_FOUND", None)

    assert world() == before


def test_join_before_the_lobby_after_the_lock_after_the_end_cancelled(play, now):
    gamer = player(play.game)
    cancelled = TournamentFactory.create(now=now, game=play.game)
    cancelling.cancel(uid=cancelled.uid, now=now)
    before, instant = world(), timedelta(microseconds=1)

    for tournament, at in (
        (play, play.lobby_at - instant),
        (play, play.locks_at),
        (play, play.ends_at + GRACE),
        (cancelled, now),
    ):
        assert told(join(gamer, tournament, at=at)) == (400, "TOURNAMENT_IS_NOT_LIVE", None)

    assert world() == before


def test_join_twice(play):
    gamer = player(play.game, bonus=50)

    first, second = join(gamer, play), join(gamer, play)

    assert answer(first) == (200, {"message": "user successfully joined the tournament"})
    assert told(second) == (409, "EXISTING_PARTICIPATION_FOUND", None)
    assert buckets(gamer) == (40, 0, 0, 0)


@pytest.mark.usefixtures("committed_database")
def test_two_joins_in_parallel():
    tournament = TournamentFactory.create()
    gamer = player(tournament.game, bonus=50)
    client = as_gamer(gamer)
    call = partial(client.post, f"/tournaments/{tournament.uid}/_join", {"joiningStake": 10})

    answers = in_parallel([call, call])

    assert sorted(response.status_code for response in answers) == [200, 409]
    assert buckets(gamer) == (40, 0, 0, 0)
    assert pool_balance(tournament) == 10


def test_balance_5_fee_10(play):
    gamer = player(play.game, bonus=5)
    before = world()

    response = join(gamer, play)

    assert (response.status_code, error_body(response)) == (
        400,
        {"error": "INSUFFICIENT_BALANCE", "details": {"lazy_balance": 5, "required": 10}},
    )
    assert world() == before


# --- Scores --------------------------------------------------------------------------------------


def test_score_without_having_joined(play, now):
    gamer = player(play.game)
    before = world()

    response = send(gamer, event(gamer, {"score": {"value": 5}}, at=now, tournament=play))

    assert told(response) == (404, "TOURNAMENT_PARTICIPATION_NOT_FOUND", None)
    assert world() == before


def test_score_stamped_before_the_end_received_40_s_after(play):
    taken = seat(play)
    body = score_event(taken, 24, at=play.ends_at - timedelta(seconds=5))

    response = send(taken.gamer, body, at=play.ends_at + timedelta(seconds=40))

    taken.refresh_from_db()
    assert answer(response) == (200, True)
    assert (taken.score, taken.reached_at) == (24, play.ends_at - timedelta(seconds=5))


def test_score_received_61_s_after_the_end_or_stamped_after_it(play):
    taken, end = seat(play), play.ends_at
    before = world()

    for stamped, received in ((-5, 61), (1, 30)):
        body = score_event(taken, 24, at=end + timedelta(seconds=stamped))
        response = send(taken.gamer, body, at=end + timedelta(seconds=received))
        assert told(response) == (400, "TOURNAMENT_IS_NOT_LIVE", None)

    assert world() == before


def test_same_event_twice(play, now):
    taken = seat(play)
    body = score_event(taken, 24, at=now)

    first, second = send(taken.gamer, body), send(taken.gamer, body)

    assert (answer(first), answer(second)) == ((200, True), (200, True))
    assert GameEvent.objects.count() == 1


def test_older_event_after_a_newer_one(play, now):
    taken = seat(play)
    send(taken.gamer, score_event(taken, 24, at=now))

    response = send(taken.gamer, score_event(taken, 99, at=now - timedelta(seconds=1)))

    taken.refresh_from_db()
    assert answer(response) == (200, True)
    assert (taken.score, taken.reached_at) == (24, now)
    assert GameEvent.objects.count() == 2


def test_clock_90_s_fast(play, now):
    taken = seat(play)

    response = send(taken.gamer, score_event(taken, 24, at=now + timedelta(seconds=90)))

    taken.refresh_from_db()
    assert answer(response) == (200, True)
    assert (taken.score, taken.reached_at) == (24, now)


def test_clock_10_min_fast(play, now):
    taken = seat(play)
    before = world()

    response = send(taken.gamer, score_event(taken, 24, at=now + timedelta(minutes=10)))

    assert told(response) == (400, "BAD_REQUEST", "TIMESTAMP_IN_FUTURE")
    assert world() == before


def test_score_for_another_player(play, now):
    taken, other = seat(play), seat(play)
    before = world()

    response = send(taken.gamer, score_event(other, 24, at=now))

    assert told(response) == (403, "PLAYER_MISMATCH", None)
    assert world() == before


def test_equal_scores(play, now):
    late, early = (player(play.game, gamer_id=name) for name in ("a-late", "b-early"))
    for gamer, seconds in ((early, 1), (late, 2)):
        seat(play, gamer=gamer, score=24, reached_at=play.starts_at + timedelta(seconds=seconds))

    assert standings(early, play) == [("b-early", 24, 1), ("a-late", 24, 2)]


def test_empty_leaderboard(play):
    shown = board_of(player(play.game), play)

    del shown["as_of"]
    assert shown == {
        "leaderboard": [],
        "price_pool": 0,
        "winners": [],
        "total": 0,
        "tournament_status": "STARTED",
        "me": None,
    }


# --- The end -------------------------------------------------------------------------------------


def test_one_participant_at_the_lock(play):
    taken = seat(play, score=5)

    sweep(play.locks_at)

    play.refresh_from_db()
    assert play.phase == Tournament.Phase.CANCELLED
    assert (buckets(taken.gamer), pool_balance(play)) == ((10, 0, 0, 0), 0)
    assert history_of(taken.gamer) == [("Refunded", 0, None)]


def test_all_scores_0(play):
    seats = [seat(play, score=0) for _ in range(3)]

    sweep(play.ends_at + GRACE)

    play.refresh_from_db()
    assert play.phase == Tournament.Phase.CANCELLED
    assert pool_balance(play) == 0
    for taken in seats:
        assert buckets(taken.gamer) == (10, 0, 0, 0)
        assert history_of(taken.gamer) == [("Refunded", 0, None)]


def test_rank_outside_40_percent_or_score_0(play):
    first, second, third, fourth, nothing = (seat(play, score=score) for score in (9, 8, 7, 6, 0))

    sweep(play.ends_at + GRACE)

    # Of five the first two are within 40 %; the first is topped up.
    assert history_of(first.gamer) == [("Won", 32, 1)]
    assert history_of(second.gamer) == [("Won", 10, 2)]
    for rank, taken in ((3, third), (4, fourth), (5, nothing)):
        assert history_of(taken.gamer) == [("You Lost", 0, rank)]
        assert as_gamer(taken.gamer).get("/rewards").json()["total_claimable_rewards"] == 0


def test_zero_rewards_read_and_claim(play):
    gamer = player(play.game)
    before = WalletTransaction.objects.count()

    read, claimed = as_gamer(gamer).get("/rewards"), as_gamer(gamer).post("/rewards/_claim")

    assert answer(read) == (200, {"total_claimable_rewards": 0, "claimable_rewards_info": []})
    assert answer(claimed) == (
        200,
        {"message": "No rewards to claim", "claimed_amount": 0, "claimed_rewards": []},
    )
    assert WalletTransaction.objects.count() == before
