"""What the rewards keep of a gamer."""

from typing import Any

from accounts.models import Gamer
from rewards.models import Reward


def held(*, gamer: Gamer) -> dict[str, Any]:
    return {
        "rewards": list(
            Reward.objects.filter(gamer=gamer)
            .order_by("id")
            .values(
                "uid",
                "amount",
                "source",
                "reference",
                "tournament_title",
                "rank",
                "status",
                "created_at",
                "claimed_at",
                "expires_at",
            )
        )
    }
