"""What the tournaments keep of a gamer, and when they cannot let go of one."""

from typing import Any

from accounts.models import Gamer
from kgen.common.errors import Conflict
from tournaments.models import GameEvent, Participation, Tournament


class InTournament(Conflict):
    code = "GAMER_IN_TOURNAMENT"
    message = "This gamer is in a tournament that is not over, or waits for a refund of one."


def held(*, gamer: Gamer) -> dict[str, Any]:
    """The seats, and the events just as the game sent them."""
    return {
        "seats": list(
            Participation.objects.filter(gamer=gamer)
            .order_by("id")
            .values(
                "tournament__uid",
                "tournament__title",
                "joined_at",
                "left_at",
                "score",
                "final_rank",
                "prize",
                "disqualified_at",
                "disqualified_reason",
            )
        ),
        "events": list(
            GameEvent.objects.filter(gamer=gamer)
            .order_by("received_at")
            .values("occurred_at", "received_at", "metadata", "payload")
        ),
    }


def refuse_erasing(*, gamer: Gamer, forfeits: bool) -> None:
    """Raise `InTournament`, whatever it forfeits: a board in play needs all who are on it."""
    seated = Tournament.objects.filter(participations__gamer=gamer, participations__left_at=None)
    if seated.filter(phase=Tournament.Phase.PUBLISHED).exists():
        raise InTournament
    if seated.owing_refunds().exists():
        raise InTournament
