"""A frozen wallet stops claims and withdrawals; the gamer plays on."""

import pytest

from accounts.tests.api import GameClient, error_body
from rewards.tests.factories import prize
from tournaments.models import Participation
from tournaments.tests.factories import TournamentFactory, player
from tournaments.tests.world import buckets, world
from wallet import freezing

pytestmark = pytest.mark.django_db


@pytest.fixture
def gamer(now):
    game = TournamentFactory.create(now=now).game
    gamer = player(game, bonus=50)
    freezing.freeze(wallet=gamer.wallet, reason="stolen phone", by="sam", now=now)
    return gamer


def test_gamer_with_a_frozen_wallet_plays_on(now, gamer):
    first, second = (TournamentFactory.create(now=now, game=gamer.game) for _ in range(2))
    client = GameClient(gamer.game)

    session = client.post("/session", {"gamer_id": gamer.gamer_id})
    client = client.with_token(session.json()["token"])
    answers = [
        session,
        *(
            client.post(f"/tournaments/{one.uid}/_join", {"joiningStake": 10})
            for one in (first, second)
        ),
        client.post(
            "/eventing",
            {
                "timestamp": int(now.timestamp() * 1000),
                "metadata": {"playerId": gamer.gamer_id, "tournamentId": str(first.uid)},
                "payload": {"score": {"value": 24}},
            },
        ),
        client.get(f"/leaderboards/_byTournament/{first.uid}"),
        client.post(f"/tournaments/{second.uid}/_leave"),
        client.get("/wallet/lazyChain/balance"),
        client.get(f"/wallet/lazyChain/transactions/{gamer.wallet.address}"),
        client.get("/rewards"),
    ]

    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert buckets(gamer) == (40, 0, 0, 0)
    scored = Participation.objects.get(tournament=first)
    left = Participation.objects.get(tournament=second)
    assert (scored.score, left.left_at) == (24, now)


@pytest.mark.parametrize("path", ["/rewards/_claim", "/wallet/_withdraw"])
def test_gamer_with_a_frozen_wallet_takes_nothing_out(now, gamer, path):
    prize(gamer, 60, now=now)
    before = world()

    answer = GameClient(gamer.game).as_gamer(gamer).post(path)

    assert answer.status_code == 403
    assert error_body(answer) == {
        "error": "GAMER_BLOCKED",
        "details": {"reason": "WALLET_FROZEN"},
    }
    assert world() == before


def test_claim_goes_through_once_the_freeze_is_lifted(now, gamer):
    prize(gamer, 60, now=now)
    freezing.unfreeze(wallet=gamer.wallet, reason="phone is back", by="sam", now=now)

    answer = GameClient(gamer.game).as_gamer(gamer).post("/rewards/_claim")

    assert answer.status_code == 200
    assert buckets(gamer) == (50, 0, 60, 0)
