from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.views import GamerViewSet
from kgen.common.api.schema import leads_to, refuses
from kgen.common.identifiers import uuid_of
from rewards import claiming
from rewards.api.serializers import (
    ClaimRequestSerializer,
    ClaimSerializer,
    GrantedRewardSerializer,
    RewardListSerializer,
    RewardSerializer,
)
from rewards.models import Reward
from wallet import freezing


class RewardViewSet(GamerViewSet):
    counted_actions = frozenset({"claim"})

    def admit(self) -> None:
        super().admit()
        if self.action == "claim":
            claiming.refuse_frozen(gamer=self.caller.gamer, now=timezone.now())

    @extend_schema(operation_id="list_rewards", responses=RewardListSerializer)
    @leads_to(
        claim_rewards={
            "body": {"reward_ids": ["$response.body#/claimable_rewards_info/0/reward_id"]}
        }
    )
    def claimable(self, request: Request) -> Response:
        """Rewards that wait to be claimed, newest first."""
        rewards = claiming.claimable(gamer=self.caller.gamer, now=timezone.now())
        return Response(
            {
                "total_claimable_rewards": sum(reward.amount for reward in rewards),
                "claimable_rewards_info": [_shown(reward) for reward in rewards],
            }
        )

    @extend_schema(
        operation_id="claim_rewards", request=ClaimRequestSerializer, responses=ClaimSerializer
    )
    @refuses(freezing.WalletFrozen, claiming.RewardNotFound)
    def claim(self, request: Request) -> Response:
        """Claim the rewards named, or all: each is credited to the earned balance once."""
        named = self.parse(ClaimRequestSerializer).get("reward_ids")
        rewards = claiming.claim(
            gamer=self.caller.gamer,
            reward_uids=named if named is None else [_reward_uid(text) for text in named],
            now=timezone.now(),
        )
        return Response(
            {
                "message": "Rewards claimed successfully" if rewards else "No rewards to claim",
                "claimed_amount": sum(reward.amount for reward in rewards),
                "claimed_rewards": [reward.uid for reward in rewards],
            }
        )


def _reward_uid(text: str) -> UUID:
    uid = uuid_of(text)
    if uid is None:
        raise claiming.RewardNotFound
    return uid


def _shown(reward: Reward) -> object:
    is_prize = reward.source == Reward.Source.TOURNAMENT
    serializer = RewardSerializer if is_prize else GrantedRewardSerializer
    return serializer(reward).data
