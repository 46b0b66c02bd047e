"""What operators do with a tournament: each act shows first what will come of it."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from kgen.common.admin import OPERATORS, Act, Done, act, duration
from tournaments import cancelling, leaderboard, lifecycle, settling
from tournaments.admin.tournaments import DRAFTS, HORIZON, STATUS, next_start
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
            "So are the prizes, and how it is scored.",
        ]
        if tournament.sponsor_contribution:
            lines.append(
                f"The sponsor's contribution of {tournament.sponsor_contribution:,} KCash goes from"
                " the treasury into the pool, and back if it is cancelled."
            )
        if tournament.starts_at <= now:
            lines.append("Its start is past: it begins at once.")
        if tournament.locks_at <= now:
            lines.append("Nobody can join any more, so it will be cancelled at once.")
        return lines

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        lifecycle.publish(uid=tournament.uid, now=timezone.now())
        return Done(f"Published: {tournament}.")


@act(Tournament)
class PauseScores(Act[Tournament]):
    name, label, roles = "pause_scores", "Pause scores", (OPERATORS,)

    def is_offered(self, tournament: Tournament) -> bool:
        is_unsettled = tournament.is_unsettled_at(timezone.now())
        return is_unsettled and tournament.scores_paused_at is None

    def consequences(self, tournament: Tournament) -> list[str]:
        return [
            "Games are told that no score is taken; those on the board stay.",
            f"The clock goes on: it still ends at {_at(tournament.ends_at)}.",
            "Scores that are refused meanwhile count only if the game sends them again in time.",
        ]

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        lifecycle.pause_scores(uid=tournament.uid, now=timezone.now())
        return Done(f"Scores are paused: {tournament}.")


@act(Tournament)
class ResumeScores(Act[Tournament]):
    name, label, roles = "resume_scores", "Resume scores", (OPERATORS,)

    def is_offered(self, tournament: Tournament) -> bool:
        is_unsettled = tournament.is_unsettled_at(timezone.now())
        return is_unsettled and tournament.scores_paused_at is not None

    def consequences(self, tournament: Tournament) -> list[str]:
        return [f"Scores count again, until {_at(tournament.ends_at)}."]

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        lifecycle.resume_scores(uid=tournament.uid, now=timezone.now())
        return Done(f"Scores are taken again: {tournament}.")


@act(Tournament)
class LockNow(Act[Tournament]):
    name, label, roles = "lock_now", "Lock now", (OPERATORS,)
    is_dangerous = True

    def is_offered(self, tournament: Tournament) -> bool:
        return tournament.seats_change_at(timezone.now())

    def consequences(self, tournament: Tournament) -> list[str]:
        lines = [
            f"Nobody joins or leaves any more. Participants: {tournament.entrants:,}.",
            f"Scores count until {_at(tournament.ends_at)}, as before.",
        ]
        if tournament.starts_at > timezone.now():
            lines.insert(0, "It starts at once, ahead of its time.")
        needed = tournament.min_registration_start_limit
        if tournament.entrants < needed:
            lines.append(f"It needs {needed:,}: it will be cancelled and refunded at once.")
        return [*lines, "It cannot be undone."]

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        lifecycle.lock_now(uid=tournament.uid, now=timezone.now())
        return Done(f"Locked: {tournament}.")


@act(Tournament)
class EndNow(Act[Tournament]):
    name, label, roles = "end_now", "End now", (OPERATORS,)
    is_dangerous = True

    def is_offered(self, tournament: Tournament) -> bool:
        return tournament.is_under_way_at(timezone.now())

    def consequences(self, tournament: Tournament) -> list[str]:
        if tournament.game.is_sandbox:
            taken = "Nothing is taken any more, and it is settled at once: its game is a sandbox."
        else:
            taken = f"Scores from before are taken for another {duration(tournament.grace)}."
        return [
            f"Participants: {tournament.entrants:,}. What they score from now on does not count.",
            taken,
            "Then ranks become final and prizes go out. It cannot be undone.",
        ]

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        lifecycle.end_now(uid=tournament.uid, now=timezone.now())
        return Done(f"Ended: {tournament}.")


@act(Tournament)
class Settle(Act[Tournament]):
    name, label, roles = "settle", "Settle now", (OPERATORS,)

    def is_offered(self, tournament: Tournament) -> bool:
        return tournament.status_at(timezone.now()) == STATUS.REWARDS

    def consequences(self, tournament: Tournament) -> list[str]:
        pool = leaderboard.price_pool(tournament, stakes=tournament.stakes)
        return [
            f"Ranks become final, and the pool of {pool:,} KCash goes out as rewards to claim.",
            "If no score earns a prize, it is cancelled, and every entry fee is given back.",
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
        sponsored = []
        if tournament.sponsor_posting_id is not None:
            sponsored = [
                f"The sponsor's {tournament.sponsor_contribution:,} KCash go back to the treasury."
            ]
        if not held:
            unpaid = "Nobody has joined: no entry fee is given back."
            return [unpaid, *sponsored, "It cannot be undone."]
        lines = [
            f"Participants: {tournament.entrants:,}. They can neither play on nor win.",
            f"Entry fees to give back: {held:,}, of {tournament.entry_fee:,} KCash each.",
            f"Refund in all: {held * tournament.entry_fee:,} KCash, to where it came from.",
        ]
        if held > tournament.entrants:
            gone = held - tournament.entrants
            lines.insert(2, f"Of these, forfeited by gamers who left: {gone:,}.")
        return [*lines, *sponsored, "Refunds follow within seconds. It cannot be undone."]

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        cancelling.cancel(uid=tournament.uid, now=timezone.now())
        return Done(f"Cancelled: {tournament}. Entry fees are being given back.")


class StartForm(forms.Form):
    starts_at = forms.SplitDateTimeField(
        label="Starts",
        widget=AdminSplitDateTime(),
        help_text="UTC. The other times keep their distance from it.",
    )

    def clean_starts_at(self) -> datetime:
        starts_at: datetime = self.cleaned_data["starts_at"]
        now = timezone.now()
        if not now <= starts_at <= now + HORIZON:
            raise forms.ValidationError("From now on, and within five years.")
        return starts_at


@act(Tournament)
class Clone(Act[Tournament]):
    name, label, roles = "clone", "Clone", (OPERATORS,)
    form_class = StartForm
    asks_why = False

    def form(self, tournament: Tournament, data: QueryDict | None) -> forms.Form:
        return StartForm(data, initial={"starts_at": next_start(timezone.now())})

    def consequences(self, tournament: Tournament) -> list[str]:
        return [
            "A draft with the same title, fee, seats, rules and prizes is made.",
            f"It lasts as long: {duration(tournament.ends_at - tournament.starts_at)}.",
            "Participants and scores stay here. Nobody sees the draft until it is published.",
        ]

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        draft = lifecycle.clone(uid=tournament.uid, starts_at=data["starts_at"], now=timezone.now())
        page = reverse("admin:tournaments_tournament_change", args=[draft.pk])
        return Done(
            format_html('Drafted: <a href="{}">{}, {}</a>.', page, draft, _at(data["starts_at"]))
        )


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
