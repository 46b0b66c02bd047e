"""Whatever is granted, claimed and left to expire, in whatever order, every sum is exact."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import time_machine
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Gamer
from accounts.tests.api import GameClient
from accounts.tests.factories import GameFactory
from rewards import audits, expiring
from rewards.models import Reward
from rewards.tests.factories import prize, promotion, winner
from rewards.tests.test_bulk import grant, upload
from wallet import custody, ledger
from wallet.tests.soundness import assert_sound

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

AMOUNTS = st.integers(1, 2**40)
# Below two: of which gamer.
GAMERS = st.integers(0, 1)
LEFT = st.none() | st.integers(1, 5)
STEPS = st.one_of(
    st.tuples(st.just("promise"), GAMERS, AMOUNTS, LEFT),
    st.tuples(st.just("again"), st.integers(0, 9)),
    st.tuples(st.just("win"), GAMERS, AMOUNTS),
    st.tuples(st.just("file"), st.lists(st.tuples(GAMERS, AMOUNTS, LEFT), min_size=1, max_size=4)),
    st.tuples(st.just("claim all"), GAMERS),
    st.tuples(st.just("claim some"), GAMERS, st.sets(st.integers(0, 9), min_size=1, max_size=3)),
    st.tuples(st.just("pass"), st.integers(1, 3)),
    st.tuples(st.just("expire")),
)


@dataclass
class Promised:
    """A reward as plain values."""

    uid: UUID
    gamer: int
    amount: int
    expires_at: datetime | None
    state: str = "UNCLAIMED"

    def is_open_at(self, now: datetime) -> bool:
        in_time = self.expires_at is None or self.expires_at > now
        return self.state == "UNCLAIMED" and in_time


class Model:
    """The rewards of two gamers of one game, and beside them what should be."""

    def __init__(self) -> None:
        self.now = START
        self.rewards: list[Promised] = []
        self.ends: Counter[str] = Counter()
        game = GameFactory.create()
        self.gamers: list[Gamer] = [winner(game), winner(game)]
        self.clients = [GameClient(game).as_gamer(gamer) for gamer in self.gamers]

    def promise(self, gamer: int, amount: int, left: int | None) -> None:
        until = left and self.now + left * MINUTE
        reward = promotion(
            self.gamers[gamer],
            amount,
            now=self.now,
            reference=f"r/{len(self.rewards)}",
            expires_at=until or None,
        )
        self.rewards.append(Promised(reward.uid, gamer, amount, reward.expires_at))

    def again(self, which: int) -> None:
        """The same grant again: nothing happens, whatever became of the first."""
        if which < len(self.rewards):
            reward = Reward.objects.get(uid=self.rewards[which].uid)
            if reward.source == Reward.Source.PROMOTION:
                again = promotion(
                    reward.gamer, reward.amount, now=self.now, reference=reward.reference
                )
                assert again == reward

    def win(self, gamer: int, amount: int) -> None:
        reward = prize(self.gamers[gamer], amount, now=self.now)
        self.rewards.append(Promised(reward.uid, gamer, amount, None))

    def file(self, rows: list[tuple[int, int, int | None]]) -> None:
        lines = []
        for number, (gamer, amount, left) in enumerate(rows, start=len(self.rewards)):
            until = f"{self.now + left * MINUTE:%Y-%m-%dT%H:%M:%SZ}" if left else ""
            lines.append(f"{self.gamers[gamer].gamer_id},{amount},r/{number},{until}")
        for outcome in ("granted", "already_granted"):
            bulk_grant = grant(upload(self.gamers[0].game, *lines, now=self.now), now=self.now)
            assert getattr(bulk_grant, outcome) == bulk_grant.rows == len(rows)
        made = {
            reward.reference: reward
            for reward in Reward.objects.filter(game=self.gamers[0].game_id, source="PROMOTION")
        }
        for gamer, amount, _ in rows:
            reward = made[f"r/{len(self.rewards)}"]
            self.rewards.append(Promised(reward.uid, gamer, amount, reward.expires_at))

    def claim_all(self, gamer: int) -> None:
        response = self.clients[gamer].post("/rewards/_claim")
        self._claimed(gamer, response, self._open(gamer))

    def claim_some(self, gamer: int, which: set[int]) -> None:
        named = [self.rewards[number] for number in sorted(which) if number < len(self.rewards)]
        if not named:
            return
        uids = [str(one.uid) for one in named]
        response = self.clients[gamer].post("/rewards/_claim", {"reward_ids": uids})
        mine = [one for one in named if one.gamer == gamer]
        good = [one for one in mine if one.is_open_at(self.now) or one.state.startswith("CLAIMED")]
        if len(good) < len(named):
            assert (response.status_code, response.json()["error"]) == (404, "REWARD_NOT_FOUND")
            self.ends["refused"] += 1
        else:
            self._claimed(gamer, response, [one for one in named if one.is_open_at(self.now)])

    def expire(self) -> None:
        due = [
            one for one in self.rewards if one.state == "UNCLAIMED" and not one.is_open_at(self.now)
        ]
        assert expiring.expire_due(now=self.now) == len(due)
        for one in due:
            one.state = "EXPIRED"
            self.ends["expired"] += 1

    def check(self) -> None:
        for gamer, client in enumerate(self.clients):
            mine = [one for one in self.rewards if one.gamer == gamer]
            listed = client.get("/rewards").json()
            to_claim = sum(one.amount for one in mine if one.is_open_at(self.now))
            shown = listed["claimable_rewards_info"]
            assert listed["total_claimable_rewards"] == to_claim
            assert sum(one["reward"] for one in shown) == to_claim
            assert {one["reward_id"] for one in shown} == {
                str(one.uid) for one in mine if one.is_open_at(self.now)
            }
            kept = ledger.balances(custody.wallet_of(self.gamers[gamer]).pk)
            assert kept.claimable == sum(one.amount for one in mine if one.state == "UNCLAIMED")
            assert kept.earned == sum(one.amount for one in mine if one.state[0] == "C")

    def _open(self, gamer: int) -> list[Promised]:
        return [one for one in self.rewards if one.gamer == gamer and one.is_open_at(self.now)]

    def _claimed(self, gamer, response, wanted: list[Promised]) -> None:
        answer = response.json()
        assert response.status_code == 200
        assert answer["claimed_amount"] == sum(one.amount for one in wanted)
        assert sorted(answer["claimed_rewards"]) == sorted(str(one.uid) for one in wanted)
        for one in wanted:
            one.state = "CLAIMED_SUCCESSFULLY"
            self.ends["claimed"] += 1


@pytest.mark.slow
def test_every_sum_is_exact_whatever_happens():
    live_through(examples=10, steps=12)


@pytest.mark.slow
def test_every_sum_is_exact_whatever_happens_for_long():
    ends = live_through(examples=100, steps=25)

    # Of so many lives each end comes about.
    assert set(ends) == {"claimed", "expired", "refused"}


def live_through(*, examples: int, steps: int) -> Counter[str]:
    """How often each end came about."""
    ends = Counter[str]()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(acts=st.lists(STEPS, min_size=steps // 2, max_size=steps))
    def live(acts):
        with transaction.atomic(), time_machine.travel(START, tick=False) as clock:
            model = Model()
            for name, *arguments in acts:
                if name == "pass":
                    model.now += arguments[0] * MINUTE
                    clock.move_to(model.now)
                else:
                    getattr(model, name.replace(" ", "_"))(*arguments)
                model.check()

            for question in (
                audits.claims_without_their_posting,
                audits.expiries_without_their_posting,
                audits.unclaimed_rewards_that_differ_from_balances,
            ):
                assert question() == []
            assert_sound()
            ends.update(model.ends)
            transaction.set_rollback(True)

    live()
    return ends
