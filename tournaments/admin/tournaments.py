"""Where operators run tournaments, and support sees what a gamer played."""

from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import Gamer
from kgen.common.admin import (
    OPERATORS,
    SUPPORT,
    ConsoleAdmin,
    Table,
    badge,
    duration,
    kcash,
    kcash_column,
    link,
    link_column,
    moment_column,
    panel,
)
from tournaments import leaderboard, lifecycle, tickets
from tournaments.admin import reports
from tournaments.admin.formats import RULES, FormatForm, table_text
from tournaments.lifecycle import Rules, Schedule
from tournaments.models import Tournament, TournamentQuerySet

TOP_OF_BOARD: Final = 20

# The usual rhythm (API contract, section 1).
LENGTH: Final = timedelta(hours=24)
SHOWN_BEFORE_START: Final = timedelta(minutes=3)
LOBBY_BEFORE_START: Final = timedelta(minutes=1)
LOCK_BEFORE_END: Final = timedelta(minutes=2)
# So that a form filled in from its defaults is still in time when it is published.
TIME_TO_PUBLISH: Final = timedelta(minutes=10)
HORIZON: Final = timedelta(days=5 * 366)

DRAFTS: Final = (Tournament.Phase.SETUP, Tournament.Phase.PREPARATION)
STATUS: Final = Tournament.Status

TIMES: Final = ("schedules_at", "lobby_at", "starts_at", "locks_at", "ends_at")
IN_ORDER: Final = (
    ("schedules_at", "lobby_at", "Gamers must see the tournament before its lobby opens."),
    ("lobby_at", "starts_at", "The lobby opens before the start, or with it."),
    ("starts_at", "ends_at", "It must end after it starts."),
    ("starts_at", "locks_at", "It locks after its start, or with it."),
    ("locks_at", "ends_at", "It locks before its end, or with it."),
)


# --- The form ------------------------------------------------------------------------------------


def next_start(now: datetime) -> datetime:
    """The next full quarter of an hour that leaves time to publish."""
    earliest = now + TIME_TO_PUBLISH
    quarter = earliest.replace(minute=earliest.minute // 15 * 15, second=0, microsecond=0)
    return quarter + timedelta(minutes=15)


def _instant(label: str, help_text: str, *, required: bool = False) -> forms.SplitDateTimeField:
    return forms.SplitDateTimeField(
        label=label, required=required, widget=AdminSplitDateTime(), help_text=f"UTC. {help_text}"
    )


class TournamentForm(FormatForm):
    """Two times to give; the other three follow from them unless they are given too."""

    starts_at = _instant("Starts", "Scores count from here on.", required=True)
    ends_at = _instant("Ends", "Empty: 24 hours after the start.")
    schedules_at = _instant(
        "Shown from", "Gamers see it from here on. Empty: 3 minutes before the start."
    )
    lobby_at = _instant(
        "Lobby opens", "Gamers may join from here on. Empty: 1 minute before the start."
    )
    locks_at = _instant(
        "Locks", "Nobody joins or leaves any more. Empty: 2 minutes before the end."
    )

    class Meta:
        model = Tournament
        fields = [
            "game",
            "title",
            "description",
            "theme",
            "entry_fee",
            "tournament_size",
            "min_registration_start_limit",
            "starts_at",
            "ends_at",
            "schedules_at",
            "lobby_at",
            "locks_at",
            *RULES,
        ]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if any(name in self.errors for name in TIMES):
            return data
        now, given = timezone.now(), [name for name in TIMES if data[name] is not None]
        for name in given:
            if abs(data[name] - now) > HORIZON:
                self.add_error(name, "This is more than five years away.")
                return data
        data |= {name: at for name, at in rhythm(data).items() if name not in given}
        for earlier, later, wrong in IN_ORDER:
            if data[earlier] > data[later]:
                at_fault = [
                    name for name in (later, earlier) if name in given and name != "starts_at"
                ]
                self.add_error((at_fault or ["starts_at"])[0], wrong)
                return data
        if data["locks_at"] <= now:
            self.add_error("starts_at", "This lies in the past: nobody could join any more.")
        return data


def rhythm(times: dict[str, Any]) -> dict[str, datetime]:
    """The usual times around those that are given; `starts_at` is."""
    starts_at: datetime = times["starts_at"]
    ends_at = times["ends_at"] or starts_at + LENGTH
    lobby_at = times["lobby_at"] or starts_at - LOBBY_BEFORE_START
    return {
        "ends_at": ends_at,
        "lobby_at": lobby_at,
        "schedules_at": min(starts_at - SHOWN_BEFORE_START, lobby_at),
        "locks_at": max(starts_at, ends_at - LOCK_BEFORE_END),
    }


# --- Tournaments ---------------------------------------------------------------------------------


class StatusFilter(admin.SimpleListFilter):
    """By what the clock makes of a tournament, in the words of the day's work."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("draft", "Draft"),
            ("upcoming", "Upcoming"),
            ("live", "Live"),
            ("due", "Waiting to be settled"),
            ("stuck", "Stuck"),
            ("completed", "Completed"),
            ("cancelled", "Cancelled"),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Tournament]
    ) -> QuerySet[Tournament]:
        now, phase = timezone.now(), Tournament.Phase
        published = queryset.filter(phase=phase.PUBLISHED)
        over = Tournament.objects.due_to_settle(now).values("pk")
        match self.value():
            case "draft":
                return queryset.filter(phase__in=DRAFTS)
            case "upcoming":
                return published.filter(starts_at__gt=now)
            case "live":
                return published.filter(starts_at__lte=now).exclude(pk__in=over)
            case "due":
                return published.filter(pk__in=over)
            case "stuck":
                return queryset.filter(setback__isnull=False)
            case "completed":
                return queryset.filter(phase=phase.COMPLETED)
            case "cancelled":
                return queryset.filter(phase=phase.CANCELLED)
            case _:
                return queryset


@admin.register(Tournament)
class TournamentAdmin(ConsoleAdmin[Tournament]):
    roles = {OPERATORS: ("view", "add", "change"), SUPPORT: ("view",)}
    form = TournamentForm
    list_display = ["title", "game_link", "status", "fee", "fill", "pool", "when", "left"]
    list_select_related = ["game"]
    list_filter = [StatusFilter, "game"]
    search_fields = ["title__icontains", "uid__exact"]
    search_help_text = "Title or tournament id"
    ordering = ["-starts_at", "-id"]
    sortable_by = ["when"]

    fee = kcash_column("entry_fee", "entry fee")
    starts = moment_column("starts_at", "starts")
    ends = moment_column("ends_at", "ends")
    shown = moment_column("schedules_at", "gamers see it from")
    lobby = moment_column("lobby_at", "lobby opens")
    locks = moment_column("locks_at", "locks")
    settled = moment_column("settled_at", "settled")
    cancelled = moment_column("cancelled_at", "cancelled")
    contribution = kcash_column("sponsor_contribution", "sponsor's contribution")
    paused = moment_column("scores_paused_at", "scores paused since")
    game_link = link_column("game")
    series_link = link_column("series")

    def get_queryset(self, request: HttpRequest) -> TournamentQuerySet:
        tournaments: TournamentQuerySet = Tournament.objects.with_figures().select_related(
            "game", "setback"
        )
        return tournaments.order_by(*self.ordering)

    def get_urls(self) -> list[URLPattern]:
        ticket = path(
            "<path:object_id>/ticket/",
            self.admin_site.admin_view(self.ticket_view),
            name="tournaments_tournament_ticket",
        )
        return [ticket, *reports.urls_of(self), *super().get_urls()]

    def ticket_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Where the page's board is sent as it changes, for the next minute."""
        tournament = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, tournament):
            raise PermissionDenied
        if tournament is None:
            raise Http404
        address = tickets.stream_address(tournament, token=tickets.issue(tournament))
        return JsonResponse({"address": address})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {
            "starts_at": next_start(timezone.now()),
            **super().get_changeform_initial_data(request),
        }

    def has_change_permission(self, request: HttpRequest, obj: Tournament | None = None) -> bool:
        if obj is not None and obj.phase not in DRAFTS:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Tournament | None = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Tournament | None = None) -> Any:
        if obj is None or self.has_change_permission(request, obj):
            what = ["game", "title", "entry_fee", "tournament_size", "min_registration_start_limit"]
            return [
                (None, {"fields": [*what, "starts_at", "ends_at"]}),
                (
                    "Other times: left empty, they follow the usual rhythm",
                    {"classes": ["collapse"], "fields": ["schedules_at", "lobby_at", "locks_at"]},
                ),
                (
                    "Prizes and sponsor: bands unless you choose otherwise",
                    {
                        "classes": ["collapse"],
                        "fields": ["prize_structure", "prize_table", "sponsor_contribution"],
                    },
                ),
                (
                    "Scores: the latest counts and the highest wins unless you choose otherwise",
                    {
                        "classes": ["collapse"],
                        "fields": ["score_rule", "sort", "event_ceiling", "minute_ceiling"],
                    },
                ),
                (
                    "Description and theme",
                    {"classes": ["collapse"], "fields": ["description", "theme"]},
                ),
            ]
        over = ["settled"] if obj.settled_at else []
        over += ["cancelled", "given_back"] if obj.cancelled_at else []
        over += ["paused"] if obj.scores_paused_at else []
        over += ["trouble"] if hasattr(obj, "setback") else []
        over += ["series_link"] if obj.series_id else []
        return [
            (
                None,
                {
                    "fields": [
                        "title",
                        "game_link",
                        "status",
                        "left",
                        "fee",
                        "fill",
                        "pool",
                        "fewest",
                        "tournament_id",
                        *over,
                    ]
                },
            ),
            ("Times", {"fields": ["shown", "lobby", "starts", "locks", "ends"]}),
            ("Scores and prizes", {"fields": ["scored", "ceilings", "paid", "contribution"]}),
            (
                "Description and theme",
                {"classes": ["collapse"], "fields": ["description", "theme"]},
            ),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Tournament | None = None) -> list[str]:
        if obj is None or self.has_change_permission(request, obj):
            return []
        return [
            name for _, options in self.get_fieldsets(request, obj) for name in options["fields"]
        ]

    def response_add(
        self, request: HttpRequest, obj: Tournament, post_url_continue: str | None = None
    ) -> HttpResponse:
        self.message_user(request, f"Drafted: {obj}. Look it over, then publish it.")
        return HttpResponseRedirect(reverse("admin:tournaments_tournament_change", args=[obj.pk]))

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Tournament:
        if change:
            draft: Tournament = super().save_form(request, form, change)
            return draft
        fields, now = form.cleaned_data, timezone.now()
        form.save_m2m = form._save_m2m
        return lifecycle.create(
            game=fields["game"],
            title=fields["title"],
            description=fields["description"] or None,
            theme=fields["theme"] or None,
            entry_fee=fields["entry_fee"],
            tournament_size=fields["tournament_size"],
            min_registration_start_limit=fields["min_registration_start_limit"],
            schedule=Schedule(**{name: fields[name] for name in TIMES}),
            rules=Rules(**{name: fields[name] for name in RULES}),
            now=now,
        )

    def save_model(self, request: HttpRequest, obj: Tournament, form: Any, change: bool) -> None:
        if not change:
            return
        # Only while it is a draft still: somebody else may have published it since the page opened.
        changed = {name: form.cleaned_data[name] for name in form.Meta.fields}
        drafts = Tournament.objects.filter(pk=obj.pk, phase__in=DRAFTS)
        if not drafts.update(**changed, updated_at=timezone.now()):
            raise lifecycle.AlreadyPublished

    @admin.display(description="scored by")
    def scored(self, tournament: Tournament) -> str:
        counted = {"LATEST": "the latest score", "BEST": "the best score", "SUM": "the sum"}
        best = "highest" if tournament.sort == Tournament.Sort.HIGH else "lowest"
        return f"{counted[tournament.score_rule]} of each gamer; the {best} wins"

    @admin.display(description="held back for review")
    def ceilings(self, tournament: Tournament) -> str:
        above = {"": tournament.event_ceiling, " within a minute": tournament.minute_ceiling}
        said = [f"above {most:,}{where}" for where, most in above.items() if most is not None]
        return ", ".join(said) or "none"

    @admin.display(description="prizes")
    def paid(self, tournament: Tournament) -> str:
        unit = " %" if tournament.prize_structure == Tournament.PrizeStructure.SHARES else " KCash"
        lines = [f"{line}{unit}" for line in table_text(tournament).splitlines()]
        return ", ".join(lines) or "bands of entry fees"

    @admin.display(description="status")
    def status(self, tournament: Tournament) -> SafeString:
        return status_badge(tournament)

    @admin.display(description="entrants")
    def fill(self, tournament: Tournament) -> str:
        if tournament.tournament_size is None:
            return f"{tournament.entrants:,}"
        return f"{tournament.entrants:,} of {tournament.tournament_size:,}"

    @admin.display(description="fewest entrants")
    def fewest(self, tournament: Tournament) -> str:
        return (
            f"{tournament.min_registration_start_limit:,}; with fewer it is cancelled at the lock"
        )

    @admin.display(description="entry fees given back")
    def given_back(self, tournament: Tournament) -> str:
        if not tournament.entry_fee:
            return "None to give: it was free."
        paid = tournament.participations.count()
        back = paid - tournament.stakes
        done = "" if tournament.refunded_at else "; it goes on by itself"
        return f"{back:,} of {paid:,}, of {tournament.entry_fee:,} KCash each{done}"

    @admin.display(description="stuck")
    def trouble(self, tournament: Tournament) -> str:
        setback = tournament.setback
        return (
            f"{setback.problem} Tried {setback.tries:,} times since {setback.since:%Y-%m-%d %H:%M}"
            f" UTC, again at {setback.next_try_at:%H:%M:%S} UTC."
        )

    @admin.display(description="tournament id")
    def tournament_id(self, tournament: Tournament) -> str:
        return str(tournament.uid)

    @admin.display(description="from and to (UTC)", ordering="starts_at")
    def when(self, tournament: Tournament) -> SafeString:
        return format_html(
            '<span class="moment">{}<br>{}</span>',
            f"{tournament.starts_at:%Y-%m-%d %H:%M}",
            f"{tournament.ends_at:%Y-%m-%d %H:%M}",
        )

    @admin.display(description="prize pool")
    def pool(self, tournament: Tournament) -> str:
        return kcash(leaderboard.price_pool(tournament, stakes=tournament.stakes))

    @admin.display(description="time left")
    def left(self, tournament: Tournament) -> str:
        return time_left(tournament, timezone.now())


def status_badge(tournament: Tournament) -> SafeString:
    status = tournament.status_at(timezone.now())
    is_draft = tournament.phase in DRAFTS
    return badge(
        "DRAFT" if is_draft else "TO BE SHOWN" if status == STATUS.PREPARATION else status,
        good=status in {STATUS.LOBBY, STATUS.STARTED, STATUS.COMPLETED},
        busy=status in {STATUS.LOCKED, STATUS.REWARDS},
        bad=status == STATUS.CANCELLED,
    )


def time_left(tournament: Tournament, now: datetime) -> str:
    """Until the start, then until the end; nothing once it is over."""
    if tournament.phase != Tournament.Phase.PUBLISHED or now >= tournament.closes_at:
        return "-"
    if now < tournament.starts_at:
        return f"starts in {duration(tournament.starts_at - now)}"
    if now < tournament.ends_at:
        return f"ends in {duration(tournament.ends_at - now)}"
    return f"last scores, {duration(tournament.closes_at - now)}"


@panel(Tournament, "Leaderboard", order=10)
def top_of_board(request: HttpRequest, tournament: Tournament) -> Table:
    # Nobody's own place: the board as a spectator sees it.
    board = leaderboard.read(
        tournament=tournament, gamer=Gamer(), limit=TOP_OF_BOARD, offset=0, now=timezone.now()
    )
    prizes = {winner.rank: winner.prize for winner in board.winners}
    gamers = {
        gamer.gamer_id: gamer
        for gamer in Gamer.objects.filter(
            game_id=tournament.game_id,
            gamer_id__in=[standing.gamer_id for standing in board.standings],
        )
    }
    rows = [
        (
            standing.rank,
            link(gamers[standing.gamer_id]),
            standing.username or "-",
            f"{standing.score:,}",
            kcash(prizes.get(standing.rank)),
        )
        for standing in board.standings
    ]
    return Table(
        columns=["Rank", "Gamer", "Username", "Score", "Prize"],
        rows=rows,
        empty="Nobody has joined yet.",
        live=_ticket_page(tournament),
    )


def _ticket_page(tournament: Tournament) -> str:
    """Where a page gets its tickets; nowhere while nothing changes."""
    if not settings.STREAM_URL or tournament.phase != Tournament.Phase.PUBLISHED:
        return ""
    return reverse("admin:tournaments_tournament_ticket", args=[tournament.pk])
