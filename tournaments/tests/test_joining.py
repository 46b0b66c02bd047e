import uuid

import pytest
from django.db import transaction

from accounts.tests.api import GameClient, error_body
from tournaments import cancelling, joining
from tournaments.models import Participation
from tournaments.tests.factories import TournamentFactory, player, seat
from tournaments.tests.world import buckets, pool_balance, world
from wallet.ledger import Bucket
from wallet.models import WalletTransaction
from wallet.tests.factories import fill

pytestmark = pytest.mark.django_db

LIVE = ["lobby", "live"]
NOT_LIVE = ["scheduled", "locked", "over"]


def made(now, when, **kwargs):
    traits = {} if when == "live" else {when: True}
    return TournamentFactory.create(now=now, **traits, **kwargs)


def call(gamer, tournament, act, body=None, **kwargs):
    client = GameClient(gamer.game).as_gamer(gamer)
    uid = getattr(tournament, "uid", tournament)
    return client.post(f"/tournaments/{uid}/{act}", body, **kwargs)


def test_join_takes_a_seat_and_the_fee(now):
    tournament = made(now, "live")
    gamer = player(tournament.game, bonus=50)

    response = call(gamer, tournament, "_join", {"joiningStake": 10})

    assert response.status_code == 200
    assert response.json() == {"message": "user successfully joined the tournament"}
    taken = Participation.objects.get()
    assert (taken.tournament, taken.gamer, taken.joined_at) == (tournament, gamer, now)
    assert (taken.left_at, taken.score, taken.final_rank) == (None, None, None)
    assert buckets(gamer) == (40, 0, 0, 0)
    assert pool_balance(tournament) == 10
    fee = WalletTransaction.objects.get()
    assert (fee.uid, fee.type, fee.amount) == (taken.fee_posting_id, "JOIN", 10)
    assert fee.description == f"Entry fee for {tournament.title}"


@pytest.mark.parametrize("when", LIVE)
def test_join_is_open_in_lobby_and_while_running(now, when):
    tournament = made(now, when)
    gamer = player(tournament.game)

    assert call(gamer, tournament, "_join", {"joiningStake": 10}).status_code == 200


def test_join_of_a_free_tournament_posts_nothing(now):
    tournament = made(now, "live", entry_fee=0)
    gamer = player(tournament.game, bonus=50)

    response = call(gamer, tournament, "_join", {"joiningStake": 0})

    assert response.status_code == 200
    assert Participation.objects.get().gamer == gamer
    assert buckets(gamer) == (50, 0, 0, 0)
    assert not WalletTransaction.objects.exists()


def test_join_repeated_with_its_key_gives_the_first_answer(now):
    tournament = made(now, "live")
    gamer = player(tournament.game)

    first = call(gamer, tournament, "_join", {"joiningStake": 10}, key="join-1")
    again = call(gamer, tournament, "_join", {"joiningStake": 10}, key="join-1")

    assert (again.status_code, again.content) == (200, first.content)
    assert buckets(gamer) == (40, 0, 0, 0)


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"joiningStake": None},
        {"joiningStake": "10"},
        {"joiningStake": 10.0},
        {"joiningStake": True},
        {"joiningStake": -1},
        {"joiningStake": 2**53},
    ],
)
def test_join_refuses_a_stake_that_is_no_whole_number(now, body):
    tournament = made(now, "live")
    gamer = player(tournament.game)
    before = world()

    response = call(gamer, tournament, "_join", body)

    assert response.status_code == 400
    refused = error_body(response)
    assert refused["error"] == "BAD_REQUEST"
    assert list(refused["details"]["fields"]) == ["joiningStake"]
    assert world() == before


@pytest.mark.parametrize("act", ["_join", "_leave"])
@pytest.mark.parametrize("which", ["unknown", "malformed", "hidden", "draft", "of another game"])
def test_unknown_tournament_is_refused(now, act, which):
    tournament = {
        "unknown": lambda: uuid.uuid4(),
        "malformed": lambda: "no-uuid",
        "hidden": lambda: made(now, "hidden"),
        "draft": lambda: made(now, "live", published=False),
        "of another game": lambda: made(now, "live"),
    }[which]()
    game = getattr(tournament, "game", None)
    if game is None or which == "of another game":
        game = made(now, "live").game
    gamer = player(game)
    before = world()

    response = call(gamer, tournament, act, {"joiningStake": 10} if act == "_join" else None)

    assert response.status_code == 404
    assert error_body(response) == {"error": "TOURNAMENT_NOT_FOUND", "details": {}}
    assert world() == before


def test_join_twice_is_refused_and_charged_once(now):
    tournament = made(now, "live")
    gamer = seat(tournament).gamer
    before = world()

    response = call(gamer, tournament, "_join", {"joiningStake": 10})

    assert response.status_code == 409
    assert error_body(response) == {"error": "EXISTING_PARTICIPATION_FOUND", "details": {}}
    assert world() == before


@pytest.mark.parametrize("when", NOT_LIVE)
def test_join_outside_of_lobby_and_start_is_refused(now, when):
    tournament = made(now, when)
    gamer = player(tournament.game)
    before = world()

    response = call(gamer, tournament, "_join", {"joiningStake": 10})

    assert response.status_code == 400
    assert error_body(response) == {"error": "TOURNAMENT_IS_NOT_LIVE", "details": {}}
    assert world() == before


def test_join_of_a_cancelled_tournament_is_refused(now):
    tournament = made(now, "live")
    cancelling.cancel(uid=tournament.uid, now=now)
    gamer = player(tournament.game)

    response = call(gamer, tournament, "_join", {"joiningStake": 10})

    assert response.status_code == 400
    assert error_body(response) == {"error": "TOURNAMENT_IS_NOT_LIVE", "details": {}}
    assert buckets(gamer) == (50, 0, 0, 0)


def test_join_of_a_full_tournament_is_refused(now):
    tournament = made(now, "live", tournament_size=1)
    seat(tournament)
    gamer = player(tournament.game)
    before = world()

    response = call(gamer, tournament, "_join", {"joiningStake": 10})

    assert response.status_code == 409
    assert error_body(response) == {"error": "TOURNAMENT_IS_FULL", "details": {}}
    assert world() == before


@pytest.mark.parametrize("stake", [0, 9, 11])
def test_join_with_another_stake_is_refused(now, stake):
    tournament = made(now, "live")
    gamer = player(tournament.game)
    before = world()

    response = call(gamer, tournament, "_join", {"joiningStake": stake})

    assert response.status_code == 400
    assert error_body(response) == {
        "error": "TOURNAMENT_INVALID_JOINING_STAKE",
        "details": {"buy_in_price": 10},
    }
    assert world() == before


def test_join_that_cannot_be_paid_is_refused(now):
    tournament = made(now, "live")
    gamer = player(tournament.game, bonus=5)
    before = world()

    response = call(gamer, tournament, "_join", {"joiningStake": 10})

    assert response.status_code == 400
    assert error_body(response) == {
        "error": "INSUFFICIENT_BALANCE",
        "details": {"lazy_balance": 5, "required": 10},
    }
    assert world() == before


def test_join_refuses_in_the_order_of_the_contract(now):
    locked = made(now, "locked", tournament_size=1)
    inside = seat(locked).gamer
    outside = player(locked.game, bonus=5)
    full = made(now, "live", game=locked.game, tournament_size=1)
    seat(full)
    roomy = made(now, "live", game=locked.game)

    codes = [
        error_body(call(inside, locked, "_join", {"joiningStake": 1}))["error"],
        error_body(call(outside, locked, "_join", {"joiningStake": 1}))["error"],
        error_body(call(outside, full, "_join", {"joiningStake": 1}))["error"],
        error_body(call(outside, roomy, "_join", {"joiningStake": 1}))["error"],
        error_body(call(outside, roomy, "_join", {"joiningStake": 10}))["error"],
    ]

    assert codes == [
        "EXISTING_PARTICIPATION_FOUND",
        "TOURNAMENT_IS_NOT_LIVE",
        "TOURNAMENT_IS_FULL",
        "TOURNAMENT_INVALID_JOINING_STAKE",
        "INSUFFICIENT_BALANCE",
    ]


@pytest.mark.parametrize(("size", "queries"), [(None, 12), (3, 14)])
def test_join_makes_few_queries(now, django_assert_num_queries, size, queries):
    tournament = made(now, "live", tournament_size=size)
    gamer = player(tournament.game)
    client = GameClient(gamer.game).as_gamer(gamer)

    with django_assert_num_queries(queries):
        client.post(f"/tournaments/{tournament.uid}/_join", {"joiningStake": 10})


@pytest.mark.parametrize("when", LIVE)
def test_leave_before_the_first_score_refunds_the_stake(now, when):
    tournament = made(now, when)
    gamer = player(tournament.game, bonus=4)
    with transaction.atomic():
        fill(gamer.wallet, Bucket.EARNED, 20)
    seat(tournament, gamer=gamer, joined_at=now)

    response = call(gamer, tournament, "_leave")

    assert response.status_code == 200
    assert response.json() == {
        "message": "user left the tournament successfully",
        "refunded_amount": 10,
    }
    left = Participation.objects.get()
    assert left.left_at == now
    assert buckets(gamer) == (4, 0, 20, 0)
    assert pool_balance(tournament) == 0
    refund = WalletTransaction.objects.get(type="REFUND")
    assert (refund.uid, refund.amount) == (left.refund_posting_id, 10)
    assert refund.reverses_id == left.fee_posting_id


def test_leave_after_the_first_score_forfeits_the_stake(now):
    tournament = made(now, "live")
    gamer = seat(tournament, score=0).gamer

    response = call(gamer, tournament, "_leave")

    assert response.status_code == 200
    assert response.json()["refunded_amount"] == 0
    left = Participation.objects.get()
    assert (left.left_at, left.refund_posting_id) == (now, None)
    assert pool_balance(tournament) == 10


def test_leave_ignores_a_body(now):
    tournament = made(now, "live")
    gamer = seat(tournament).gamer

    assert call(gamer, tournament, "_leave", b"not json").status_code == 200


def test_leave_of_a_free_tournament_refunds_nothing(now):
    tournament = made(now, "live", entry_fee=0)
    gamer = player(tournament.game)
    seat(tournament, gamer=gamer)

    response = call(gamer, tournament, "_leave")

    assert response.json()["refunded_amount"] == 0
    assert Participation.objects.get().left_at == now


def test_leave_without_a_seat_is_refused(now):
    tournament = made(now, "live")
    gamer = seat(tournament).gamer
    stranger = player(tournament.game)
    call(gamer, tournament, "_leave")
    before = world()

    responses = [call(one, tournament, "_leave") for one in (gamer, stranger)]

    for response in responses:
        assert response.status_code == 404
        assert error_body(response) == {
            "error": "TOURNAMENT_PARTICIPATION_NOT_FOUND",
            "details": {},
        }
    assert world() == before


@pytest.mark.parametrize("when", ["locked", "over"])
def test_leave_after_the_lock_is_refused(now, when):
    tournament = made(now, when)
    gamer = seat(tournament).gamer
    before = world()

    response = call(gamer, tournament, "_leave")

    assert response.status_code == 400
    assert error_body(response) == {"error": "TOURNAMENT_IS_NOT_LIVE", "details": {}}
    assert world() == before


def test_rejoin_pays_again_and_starts_anew(now):
    tournament = made(now, "live")
    gamer = player(tournament.game, bonus=50)
    seat(tournament, gamer=gamer, score=24)
    call(gamer, tournament, "_leave")

    response = call(gamer, tournament, "_join", {"joiningStake": 10})

    assert response.status_code == 200
    assert buckets(gamer) == (30, 0, 0, 0)
    assert pool_balance(tournament) == 20
    seats = Participation.objects.order_by("id").values_list("score", "left_at")
    assert list(seats) == [(24, now), (None, None)]


def test_rejoin_takes_the_seat_that_was_left(now):
    tournament = made(now, "live", tournament_size=1)
    gamer = seat(tournament).gamer
    call(gamer, tournament, "_leave")

    response = call(player(tournament.game), tournament, "_join", {"joiningStake": 10})

    assert response.status_code == 200


def test_ensure_joined_charges_each_tournament_once(now):
    one = made(now, "live")
    other = made(now, "live", game=one.game)
    gamer = player(one.game, bonus=50)
    seat(one, gamer=gamer)

    with transaction.atomic():
        joining.ensure_joined(gamer=gamer, tournament_uids=[other.uid, one.uid, other.uid], now=now)

    assert buckets(gamer) == (30, 0, 0, 0)
    assert Participation.objects.seated().filter(gamer=gamer).count() == 2
