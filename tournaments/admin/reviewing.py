"""Scores held back for review, gamers who are disqualified, and results worked out again."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from kgen.common.admin import (
    OPERATORS,
    SUPPORT,
    Act,
    Done,
    ReadOnlyAdmin,
    Table,
    act,
    badge,
    kcash,
    link,
    link_column,
    moment,
    moment_column,
    panel,
    text_column,
)
from tournaments import previewing, results, reviewing
from tournaments.models import Participation, QuarantinedScore, ResultRecord, Tournament

State = QuarantinedScore.State
NEWEST = 20
REASONS = {
    QuarantinedScore.Reason.EVENT_CEILING: "above the ceiling of a score",
    QuarantinedScore.Reason.MINUTE_CEILING: "rose too fast within a minute",
    QuarantinedScore.Reason.TOO_LARGE: "the sum would be too large",
}


def state_badge(score: QuarantinedScore) -> SafeString:
    match score.state:
        case State.ACCEPTED:
            return badge("accepted", good=True)
        case State.REJECTED:
            return badge("rejected", bad=True)
        case _:
            return badge("waits for review", busy=True)


@admin.register(QuarantinedScore)
class QuarantinedScoreAdmin(ReadOnlyAdmin[QuarantinedScore]):
    roles = {OPERATORS: ("view",), SUPPORT: ("view",)}
    list_display = ["points", "whose", "in_what", "why", "state_now", "received", "decider"]
    list_filter = ["state", "reason"]
    search_fields = ["seat__gamer__gamer_id__exact", "seat__tournament__uid__exact"]
    search_help_text = "Gamer id or tournament id"
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = [
        "points",
        "standing",
        "whose",
        "in_what",
        "of_seat",
        "why",
        "state_now",
        "reached",
        "received",
        "decider",
        "decided",
        "why_decided",
    ]

    whose = link_column("seat__gamer", "gamer")
    in_what = link_column("seat__tournament", "tournament")
    of_seat = link_column("seat", "participation")
    reached = moment_column("reached_at", "reached")
    received = moment_column("received_at", "received")
    decider = text_column("decided_by", "decided by")
    decided = moment_column("decided_at", "decided")
    why_decided = text_column("decision_reason", "reason of the decision")

    def get_queryset(self, request: HttpRequest) -> QuerySet[QuarantinedScore]:
        return super().get_queryset(request).select_related("seat__gamer", "seat__tournament")

    def title_of(self, row: QuarantinedScore) -> str:
        return f"{row.value:,} of {row.seat.gamer} in {row.seat.tournament}"

    @admin.display(description="score")
    def points(self, score: QuarantinedScore) -> str:
        return f"{score.value:,}"

    @admin.display(description="score that stands")
    def standing(self, score: QuarantinedScore) -> str:
        return "none yet" if score.seat.score is None else f"{score.seat.score:,}"

    @admin.display(description="held back as it is")
    def why(self, score: QuarantinedScore) -> str:
        return REASONS[QuarantinedScore.Reason(score.reason)]

    @admin.display(description="state")
    def state_now(self, score: QuarantinedScore) -> SafeString:
        return state_badge(score)


class _Decision(Act[QuarantinedScore]):
    roles = (OPERATORS,)

    def is_offered(self, score: QuarantinedScore) -> bool:
        is_running = score.seat.tournament.phase == Tournament.Phase.PUBLISHED
        return is_running and score.state == State.WAITING and score.seat.left_at is None


@act(QuarantinedScore)
class Accept(_Decision):
    name, label = "accept", "Accept the score"

    def consequences(self, score: QuarantinedScore) -> list[str]:
        return [
            f"It counts as of {score.reached_at:%Y-%m-%d %H:%M:%S} UTC, as if never held back.",
            f"The rule of the tournament decides what stands then: {score.seat.tournament.score_rule}.",
        ]

    def perform(self, request: HttpRequest, score: QuarantinedScore, data: dict[str, Any]) -> Done:
        reviewing.accept(
            quarantined_id=score.pk, by=_who(request), reason=data["reason"], now=timezone.now()
        )
        return Done(f"Accepted: {score.value:,} of {score.seat.gamer}.")


@act(QuarantinedScore)
class Reject(_Decision):
    name, label = "reject", "Reject the score"

    def consequences(self, score: QuarantinedScore) -> list[str]:
        return ["It never counts. The gamer plays on with the score that stands."]

    def perform(self, request: HttpRequest, score: QuarantinedScore, data: dict[str, Any]) -> Done:
        reviewing.reject(
            quarantined_id=score.pk, by=_who(request), reason=data["reason"], now=timezone.now()
        )
        return Done(f"Rejected: {score.value:,} of {score.seat.gamer}.")


@panel(Tournament, "Scores held back", order=15)
def held_back(request: HttpRequest, tournament: Tournament) -> Table:
    waiting = QuarantinedScore.objects.filter(
        seat__tournament=tournament, seat__left_at=None, state=State.WAITING
    )
    every = reverse("admin:tournaments_quarantinedscore_changelist")
    return Table(
        columns=["Score", "Gamer", "Score that stands", "As it is", "Received"],
        rows=[
            (
                link(score, f"{score.value:,}"),
                link(score.seat.gamer),
                "-" if score.seat.score is None else f"{score.seat.score:,}",
                REASONS[QuarantinedScore.Reason(score.reason)],
                moment(score.received_at),
            )
            for score in waiting.select_related("seat__gamer").order_by("-id")[:NEWEST]
        ],
        empty="None waits for review.",
        links=[(f"{every}?{urlencode({'q': str(tournament.uid)})}", "All that were held back")],
    )


# --- Without a gamer -----------------------------------------------------------------------------


@act(Participation)
class Disqualify(Act[Participation]):
    name, label, roles = "disqualify", "Disqualify", (OPERATORS,)
    is_dangerous = True

    def is_offered(self, seat: Participation) -> bool:
        return seat.left_at is None and seat.tournament.phase == Tournament.Phase.PUBLISHED

    def consequences(self, seat: Participation) -> list[str]:
        found = previewing.without(seat_id=seat.pk)
        lines = [
            f"{seat.gamer} leaves the board for good, and cannot join it again.",
            f"The entry fee of {seat.tournament.entry_fee:,} KCash stays in the pool.",
        ]
        if found.would_pay is None:
            lines.append("As it stands nobody would win: it would be cancelled and refunded.")
        others = [change for change in found.changes if change.gamer_id != found.gamer_id]
        lines.append(f"Others whose prize would change as the board is now: {len(others):,}.")
        return [*lines, "It cannot be undone."]

    def perform(self, request: HttpRequest, seat: Participation, data: dict[str, Any]) -> Done:
        reviewing.disqualify(
            seat_id=seat.pk, by=_who(request), reason=data["reason"], now=timezone.now()
        )
        return Done(f"Disqualified: {seat.gamer} in {seat.tournament}.")


@panel(Participation, "Prizes without this gamer", order=10)
def what_if(request: HttpRequest, seat: Participation) -> Table:
    """As the board is now; nothing of it is saved."""
    columns = ["Gamer", "Rank now", "Prize now", "Rank then", "Prize then"]
    is_live = seat.left_at is None and seat.tournament.phase == Tournament.Phase.PUBLISHED
    if not is_live:
        return Table(
            columns=columns, rows=[], empty="Only while it is on a board that still moves."
        )
    found = previewing.without(seat_id=seat.pk)
    if found.would_pay is None:
        return Table(
            columns=columns,
            rows=[],
            empty="As it stands it would be cancelled, and every entry fee given back.",
        )
    shown = found.changes[:NEWEST]
    return Table(
        columns=columns,
        rows=[
            (
                change.gamer_id,
                change.rank,
                kcash(change.prize),
                change.new_rank or "-",
                kcash(change.new_prize),
            )
            for change in shown
        ],
        empty="Nothing would change.",
    )


# --- Results -------------------------------------------------------------------------------------


@act(Tournament)
class Verify(Act[Tournament]):
    name, label, roles = "verify", "Work the result out again", (OPERATORS, SUPPORT)
    form_class = forms.Form
    asks_why = False

    def is_offered(self, tournament: Tournament) -> bool:
        return tournament.phase == Tournament.Phase.COMPLETED

    def consequences(self, tournament: Tournament) -> list[str]:
        return [
            "Ranks and prizes are worked out again from the record alone.",
            "The record is compared with the seats, the events, the rewards and the ledger.",
            "Nothing is changed.",
        ]

    def perform(self, request: HttpRequest, tournament: Tournament, data: dict[str, Any]) -> Done:
        results.refuse_different(uid=tournament.uid)
        return Done(f"Right: all of {tournament} comes out as it was settled.")


@panel(Tournament, "Result record", order=12)
def result_record(request: HttpRequest, tournament: Tournament) -> Table:
    # The record itself may be megabytes long.
    kept = ResultRecord.objects.filter(tournament=tournament).values_list("sha256", "created_at")
    return Table(
        columns=["SHA-256", "Kept"],
        rows=[(sha256, moment(created_at)) for sha256, created_at in kept],
        empty="It is made when the tournament is settled.",
    )


def _who(request: HttpRequest) -> str:
    return request.user.get_username()
