"""What operators do with a tournament: each act shows first what will come of it."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from kgen.common.admin import OPERATORS, Act, Done, act
from tournaments import cancelling, leaderboard, lifecycle, settling
from tournaments.admin.tournaments import DRAFTS, STATUS
from tournaments.models import Tournament


@act(Tournament)
class Publish(Act[Tournament]):
    name, label, roles = "publish", "Publish", (OPERATORS,)

    def is_offered(self, tournament: Tournament) -> bool:
        return tournament.phase in DRAFTS

    def consequences(self, tournament: Tournament) -> list[str]:
        now = timezone.now()
        lines = [
            f"Gamers of {tournament.game} see it from {_at(tournament.schedules_at)} on.",
            f"They may join from {_at(tournament.lobby_at)} to {_at(tournament.locks_at)}.",
            f"Scores count from {_at(tournament.starts_at)} to {_at(tournament.ends_at)}.",
            f"Entry fee ({tournament.entry_fee:,} KCash), seats and times are fixed from then on.",
        ]
        if tournament.starts_at <= now:
            lines.append("Its start is past: it begins at once.")
        if tournament.locks_at <= now:
            lines.append("Nobody can join any more, so it will be cancelled at once.")
        return lines

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        lifecycle.publish(uid=tournament.uid, now=timezone.now())
        return Done(f"Published: {tournament}.")


@act(Tournament)
class Settle(Act[Tournament]):
    name, label, roles = "settle", "Settle now", (OPERATORS,)

    def is_offered(self, tournament: Tournament) -> bool:
        return tournament.status_at(timezone.now()) == STATUS.REWARDS

    def consequences(self, tournament: Tournament) -> list[str]:
        pool = leaderboard.price_pool(tournament, stakes=tournament.stakes)
        return [
            f"Ranks become final, and the pool of {pool:,} KCash goes out as rewards to claim.",
            "Without any score above 0 it is cancelled, and every entry fee is given back.",
            "It happens by itself within seconds of the end; do it here if it has not.",
        ]

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        settled = settling.settle(uid=tournament.uid, now=timezone.now())
        return Done(f"{settled.get_phase_display().capitalize()}: {tournament}.")


@act(Tournament)
class Cancel(Act[Tournament]):
    name, label, roles = "cancel", "Cancel and refund", (OPERATORS,)
    is_dangerous = True

    def is_offered(self, tournament: Tournament) -> bool:
        return tournament.phase in {*DRAFTS, Tournament.Phase.PUBLISHED}

    def consequences(self, tournament: Tournament) -> list[str]:
        held = tournament.stakes
        if not held:
            return ["Nobody has joined: nothing is given back.", "It cannot be undone."]
        lines = [
            f"Participants: {tournament.entrants:,}. They can neither play on nor win.",
            f"Entry fees to give back: {held:,}, of {tournament.entry_fee:,} KCash each.",
            f"Refund in all: {held * tournament.entry_fee:,} KCash, to where it came from.",
        ]
        if held > tournament.entrants:
            gone = held - tournament.entrants
            lines.insert(2, f"Of these, forfeited by gamers who left: {gone:,}.")
        return [*lines, "Refunds follow within seconds. It cannot be undone."]

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        cancelling.cancel(uid=tournament.uid, now=timezone.now())
        return Done(f"Cancelled: {tournament}. Entry fees are being given back.")


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
