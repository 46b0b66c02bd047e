"""Seats: of a tournament, of a gamer, and each alone."""

from typing import Final

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts.models import Gamer
from kgen.common.admin import (
    OPERATORS,
    SUPPORT,
    ReadOnlyAdmin,
    Table,
    badge,
    kcash,
    kcash_column,
    link,
    link_column,
    moment,
    moment_column,
    panel,
)
from tournaments.admin.tournaments import status_badge
from tournaments.models import Participation, Tournament

NEWEST: Final = 20


@admin.register(Participation)
class ParticipationAdmin(ReadOnlyAdmin[Participation]):
    roles = {OPERATORS: ("view",), SUPPORT: ("view",)}
    list_display = ["whose", "in_what", "state", "points", "final_rank", "won", "joined", "went"]
    list_display_links = ["joined"]
    list_select_related = ["gamer", "tournament"]
    search_fields = ["gamer__gamer_id__exact", "tournament__uid__exact"]
    search_help_text = "Gamer id or tournament id"
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = [
        "whose",
        "in_what",
        "state",
        "points",
        "reached",
        "final_rank",
        "won",
        "joined",
        "went",
        "disqualified_by",
        "disqualified_reason",
        "fee_posting_id",
        "refund_posting_id",
    ]

    whose = link_column("gamer")
    in_what = link_column("tournament")
    won = kcash_column("prize", "prize")
    joined = moment_column("joined_at", "joined")
    went = moment_column("left_at", "left")
    reached = moment_column("reached_at", "score reached")

    def title_of(self, row: Participation) -> str:
        return f"{row.gamer} in {row.tournament}"

    @admin.display(description="state")
    def state(self, seat: Participation) -> SafeString:
        return seat_badge(seat)

    @admin.display(description="score")
    def points(self, seat: Participation) -> str:
        return "-" if seat.score is None else f"{seat.score:,}"


@panel(Gamer, "Tournaments", order=20)
def tournaments_of_gamer(request: HttpRequest, gamer: Gamer) -> Table:
    seats = gamer.participations.select_related("tournament").order_by("-joined_at")[:NEWEST]
    every = reverse("admin:tournaments_participation_changelist")
    return Table(
        columns=["Tournament", "Status", "State", "Entry fee", "Score", "Rank", "Prize", "Joined"],
        rows=[
            (
                link(seat.tournament),
                status_badge(seat.tournament),
                seat_badge(seat),
                kcash(seat.tournament.entry_fee),
                "-" if seat.score is None else f"{seat.score:,}",
                seat.final_rank or "-",
                kcash(seat.prize),
                moment(seat.joined_at),
            )
            for seat in seats
        ],
        empty="None joined yet.",
        links=[(f"{every}?{urlencode({'gamer__id__exact': gamer.pk})}", "All tournaments")],
    )


@panel(Tournament, "Newest participations", order=20)
def participations_of_tournament(request: HttpRequest, tournament: Tournament) -> Table:
    newest = tournament.participations.select_related("gamer").order_by("-id")[:NEWEST]
    every = reverse("admin:tournaments_participation_changelist")
    rewards = reverse("admin:rewards_reward_changelist")
    pool = reverse("admin:wallet_ledgeraccount_changelist")
    return Table(
        columns=["Gamer", "State", "Joined", "Left", "Score", "Rank", "Prize"],
        rows=[
            (
                link(seat.gamer),
                seat_badge(seat),
                moment(seat.joined_at),
                moment(seat.left_at),
                "-" if seat.score is None else f"{seat.score:,}",
                seat.final_rank or "-",
                kcash(seat.prize),
            )
            for seat in newest
        ],
        empty="Nobody has joined yet.",
        links=[
            (
                f"{every}?{urlencode({'tournament__id__exact': tournament.pk})}",
                "All participations",
            ),
            (f"{rewards}?{urlencode({'tournament_uid': str(tournament.uid)})}", "Rewards"),
            (f"{pool}?{urlencode({'q': str(tournament.uid)})}", "Pool in the ledger"),
        ],
    )


def seat_badge(seat: Participation) -> SafeString:
    if seat.disqualified_at is not None:
        return badge("disqualified", bad=True)
    if seat.refund_posting_id is not None:
        return badge("refunded")
    if seat.left_at is not None:
        return badge("left, stake forfeited", bad=True)
    return badge("in", good=True)
