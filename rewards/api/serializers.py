from rest_framework import serializers

from kgen.common.api.fields import StrictTextField
from rewards.models import Reward


class ClaimRequestSerializer(serializers.Serializer[None]):
    reward_ids = serializers.ListField(
        child=StrictTextField(), min_length=1, max_length=100, required=False
    )


class RewardSerializer(serializers.ModelSerializer[Reward]):
    reward_id = serializers.UUIDField(source="uid")
    user_id = serializers.CharField(source="gamer.gamer_id")
    tournament_id = serializers.UUIDField(source="tournament_uid", allow_null=True)
    claim_status = serializers.CharField(source="status")
    reward = serializers.IntegerField(source="amount")
    wallet_address = serializers.CharField(source="gamer.wallet.address")

    class Meta:
        model = Reward
        fields = [
            "reward_id",
            "user_id",
            "tournament_id",
            "tournament_title",
            "rank",
            "claim_status",
            "reward",
            "wallet_address",
            "created_at",
            "updated_at",
        ]


class GrantedRewardSerializer(RewardSerializer):
    """A reward from another source than a tournament says which; in a list of both it may be absent."""

    class Meta(RewardSerializer.Meta):
        fields = [*RewardSerializer.Meta.fields, "source", "reference", "expires_at"]
        extra_kwargs = {"source": {"required": False}, "reference": {"required": False}}


class RewardListSerializer(serializers.Serializer[None]):
    total_claimable_rewards = serializers.IntegerField(help_text="Their sum in KCash.")
    claimable_rewards_info = GrantedRewardSerializer(many=True)


class ClaimSerializer(serializers.Serializer[None]):
    message = serializers.CharField()
    claimed_amount = serializers.IntegerField()
    claimed_rewards = serializers.ListField(child=serializers.UUIDField())
