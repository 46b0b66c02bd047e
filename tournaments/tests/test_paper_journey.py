"""The API contract's section 5: from a new gamer to KCash in their own wallet on the chain."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from accounts.models import Game
from accounts.tests.api import GameClient, error_body
from accounts.tests.factories import GameFactory
from accounts.tests.outbox import sent_to
from tournaments import tasks
from tournaments.models import Tournament
from tournaments.tests.crowds import crowd_of
from tournaments.tests.factories import TournamentFactory
from tournaments.tests.world import pool_balance
from wallet.models import Transfer
from wallet.tests.chain import Bench
from wallet.tests.settling import Engine

pytestmark = pytest.mark.django_db

PHONE = {"phone_number": "2025550143", "countryCode": "+1"}


class Walk:
    """One gamer on their way, through the API alone; the clock moves when a step says so."""

    def __init__(self, game: Game, clock: Any) -> None:
        self.client = GameClient(game)
        self.clock = clock

    def open_session(self) -> Any:
        answer = self.client.post("/session", {"gamer_id": "g-481"})
        self.client = self.client.with_token(answer.json()["token"])
        return answer

    def wallet(self) -> tuple[int, int, int, int, int]:
        """Bonus, earned, lazy, on chain, delta."""
        shown = self.client.get("/wallet/lazyChain/balance").json()
        names = ("bonus_balance", "earned_balance", "lazy_balance", "on_chain_balance")
        return (*(shown[name] for name in names), shown["lazy_balance_delta"])

    def start_tournament(self) -> Tournament:
        """A tournament that starts now, with 99 others who score 23 at best."""
        tournament: Tournament = TournamentFactory.create(
            now=timezone.now(), starts_at=timezone.now(), game=self.client.game
        )
        crowd_of(99, tournament, best=23)
        return tournament

    def join(self, tournament: Tournament) -> Any:
        return self.client.post(f"/tournaments/{tournament.uid}/_join", {"joiningStake": 10})

    def score(self, tournament: Tournament) -> Any:
        self.pass_time(timedelta(minutes=5))
        body = {
            "timestamp": int(timezone.now().timestamp() * 1000),
            "metadata": {"playerId": "g-481", "tournamentId": str(tournament.uid)},
            "payload": {"score": {"value": 24}},
        }
        return self.client.post("/eventing", body), self.client.post("/eventing", body)

    def finish(self, tournament: Tournament) -> None:
        self.clock.move_to(tournament.closes_at)
        tasks.close_due_tournaments()

    def claim(self) -> int:
        claimed: int = self.client.post("/rewards/_claim").json()["claimed_amount"]
        return claimed

    def withdraw(self) -> Any:
        return self.client.post("/wallet/_withdraw")

    def settle(self, engine: Engine) -> None:
        """The chain follows all that has happened until now."""
        engine.now = timezone.now()
        engine.settle_all()

    def pass_time(self, length: timedelta) -> None:
        self.clock.shift(length)


@pytest.fixture
def walk() -> Iterator[Walk]:
    yesterday = timezone.now().replace(microsecond=0) - timedelta(hours=23)
    with time_machine.travel(yesterday, tick=False) as clock:
        yield Walk(GameFactory.create(game_uid="carrom-01"), clock)


def test_the_paper_journey(walk: Walk, bench: Bench, settings, tmp_path):
    settings.SMS_OUTBOX = tmp_path / "sms.jsonl"
    engine = Engine(bench)

    # 1: a new gamer has a wallet with the welcome bonus
    opened = walk.open_session()
    assert opened.status_code == 201
    assert opened.json()["is_new_user"] is True
    address = opened.json()["wallet_address"]
    assert walk.wallet() == (50, 0, 50, 0, 50)

    # 2: the bonus reaches the chain
    walk.settle(engine)
    assert walk.wallet() == (50, 0, 50, 50, 0)
    assert walk.client.get("/wallet/lazyChain/balance").json()["is_lazy_balance_updated"] is True
    assert bench.balance(address) == 50

    # 3 to 5: a running tournament is joined
    tournament = walk.start_tournament()
    (listed,) = walk.client.get("/tournaments/_active").json()
    assert listed["tournament_uid"] == str(tournament.uid)
    assert (listed["tournament_status"], listed["buy_in_price"]) == ("STARTED", 10)
    assert listed["joined"] is False
    assert walk.join(tournament).status_code == 200
    assert walk.wallet() == (40, 0, 40, 50, -10)
    assert walk.client.get("/tournaments/_session").json() == [str(tournament.uid)]

    # 6 and 7: one score, sent twice, leads the board
    assert [answer.json() for answer in walk.score(tournament)] == [True, True]
    board = walk.client.get(f"/leaderboards/_byTournament/{tournament.uid}").json()
    assert board["leaderboard"][0] == {
        "user_id": "g-481",
        "score": 24,
        "rank": 1,
        "username": None,
    }
    assert (board["price_pool"], board["total"], board["winners"]) == (850, 100, [])
    assert board["me"] == {"rank": 1, "score": 24, "reward": 0}

    # 8: settled 60 s after the end
    walk.finish(tournament)
    tournament.refresh_from_db()
    assert tournament.phase == Tournament.Phase.COMPLETED
    paid = Transfer.objects.filter(posting_id=str(tournament.finish_posting_id))
    by_kind: dict[str, list[int]] = {}
    for kind, amount in paid.order_by("leg").values_list("kind", "amount"):
        by_kind.setdefault(kind, []).append(amount)
    assert by_kind == {
        "RAKE_PLATFORM": [75],
        "RAKE_DEVELOPER": [75],
        "PRIZE": [60, *[40] * 10, *[15] * 20, *[10] * 9],
    }
    assert pool_balance(tournament) == 0

    # 9 and 10: the prize is seen, then claimed once
    rewards = walk.client.get("/rewards").json()
    assert rewards["total_claimable_rewards"] == 60
    assert rewards["claimable_rewards_info"][0]["claim_status"] == "UNCLAIMED"
    assert walk.wallet()[:3] == (40, 0, 40)
    assert (walk.claim(), walk.claim()) == (60, 0)
    assert walk.wallet()[:3] == (40, 60, 100)

    # 11: too little to withdraw
    refused = walk.withdraw()
    assert refused.status_code == 400
    assert error_body(refused) == {
        "error": "MIN_WITHDRAW_BALANCE_NOT_MET",
        "details": {"earned_balance": 60, "minWalletBalToWithdraw": 1000},
    }

    # 12: eighteen more such wins
    for _ in range(18):
        tournament = walk.start_tournament()
        assert walk.join(tournament).status_code == 200
        walk.score(tournament)
        walk.finish(tournament)
        assert walk.claim() == 60
    assert walk.wallet()[:3] == (0, 1000, 1000)

    # 13 and 14: a phone must be linked first
    refused = walk.withdraw()
    assert refused.status_code == 409
    assert error_body(refused) == {"error": "KGEN_WALLET_NOT_LINKED", "details": {}}
    asked = walk.client.post("/verification/otp/_request", PHONE).json()
    assert asked["isNewUser"] is True
    _, code = sent_to(settings.SMS_OUTBOX)[-1]
    verified = walk.client.post(
        "/verification/otp/_verify", {**PHONE, "authCode": asked["authCode"], "otp": code}
    )
    assert verified.json() == {"message": "Phone number verified successfully"}

    # 15: the withdrawal, at once on the balance and then on the chain
    walk.settle(engine)
    assert walk.wallet() == (0, 1000, 1000, 1000, 0)
    withdrawn = walk.withdraw()
    assert withdrawn.status_code == 200
    assert (withdrawn.json()["status"], withdrawn.json()["earnedBalance"]) == ("SUCCESS", 1000)
    assert walk.wallet() == (0, 0, 0, 1000, -1000)
    walk.settle(engine)
    assert walk.wallet() == (0, 0, 0, 0, 0)
    assert bench.balance(withdrawn.json()["userKGeNWalletAddr"]) == 1000
    assert bench.balance(address) == 0

    # 16: every movement is there, and adds up
    page = walk.client.get(f"/wallet/lazyChain/transactions/{address}", {"limit": 200}).json()
    assert kinds(page["toTransactions"]) == {"WELCOME_BONUS": [50], "REWARD_CLAIM": [60] * 19}
    assert kinds(page["fromTransactions"]) == {"WITHDRAW": [1000], "JOIN": [10] * 19}
    moved = page["toTransactions"] + page["fromTransactions"]
    assert {one["sync_status"] for one in moved} == {"COMPLETED"}
    assert all(one["tx_hash"] and one["block_number"] for one in moved)

    # 17: nineteen wins
    played = walk.client.get("/statistics/_historic").json()
    assert [one["typeValue"] for one in played] == list(range(19, 0, -1))
    assert {(one["result"], one["amountWon"], one["rank"]) for one in played} == {("Won", 60, 1)}


def kinds(transactions: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The amounts by the kind of transaction."""
    amounts: dict[str, list[int]] = {}
    for one in transactions:
        amounts.setdefault(one["description"]["type"], []).append(one["amount"])
    return amounts
