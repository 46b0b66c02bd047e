"""Where operators set up tournaments that come again."""

from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any, Final
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from kgen.common.admin import (
    OPERATORS,
    SUPPORT,
    Act,
    ConsoleAdmin,
    Done,
    Table,
    act,
    badge,
    link,
    link_column,
    minute_column,
    moment,
    panel,
    text_column,
)
from kgen.common.errors import Refusal
from tournaments import recurrence
from tournaments import series as subject
from tournaments.admin.formats import RULES, FormatForm
from tournaments.admin.tournaments import status_badge
from tournaments.models import Series
from tournaments.recurrence import BadRule

NEWEST: Final = 20
SHOWN_DATES: Final = 5
USUAL_ZONE: Final = "Asia/Kolkata"

FIELDS: Final = [
    "game",
    "title",
    "entry_fee",
    "tournament_size",
    "min_registration_start_limit",
    "rule",
    "time_zone",
    "first_date",
    "start_time",
    "length_minutes",
    "shown_minutes",
    "lobby_minutes",
    "lock_minutes",
    "horizon_days",
    "publishes",
    "description",
    "theme",
    *RULES,
]


# --- The form ------------------------------------------------------------------------------------


@cache
def _zones() -> list[tuple[str, str]]:
    return [(name, name) for name in sorted(available_timezones()) if name != "localtime"]


class DatesWidget(forms.Widget):
    """The next dates, the button that asks for them, and for which rule they are shown."""

    dates: list[str] = []

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        return format_html(
            '<div><input type="hidden" name="{}" value="{}"><ul class="dates">{}</ul>'
            '<input type="submit" name="_dates" value="Show dates"></div>',
            name,
            value or "",
            format_html_join("", "<li>{}</li>", ((date,) for date in self.dates)),
        )


class SeriesForm(FormatForm):
    """Saved only when the next dates were shown for just this rule."""

    title = forms.CharField(
        max_length=150,
        help_text="{date}, {time} and {number} are filled in: “Daily Carrom {date}”.",
    )
    rule = forms.CharField(
        max_length=recurrence.LONGEST_RULE,
        initial="FREQ=DAILY",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=(
            "As in calendars (RFC 5545): FREQ=DAILY, FREQ=WEEKLY;BYDAY=MO,FR, "
            "FREQ=MONTHLY;BYDAY=1SU; it may end with COUNT=10 or UNTIL=20271231."
        ),
    )
    time_zone = forms.ChoiceField(
        choices=_zones,
        initial=USUAL_ZONE,
        help_text="The date and time below are local, and stay so when the clocks change.",
    )
    dates = forms.CharField(required=False, widget=DatesWidget(), label="Next dates")

    class Meta:
        model = Series
        fields = FIELDS
        labels = {
            "length_minutes": "Length in minutes",
            "shown_minutes": "Shown, minutes before the start",
            "lobby_minutes": "Lobby opens, minutes before the start",
            "lock_minutes": "Locks, minutes before the end",
            "horizon_days": "Made ahead, days",
            "publishes": "Publish by itself",
        }
        help_texts = {
            "horizon_days": f"At most {subject.MOST_AHEAD} are made ahead at any time.",
            "publishes": "Otherwise each is a draft that you publish.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and not self.is_bound:
            self._show_dates(self.instance)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        self._check_minutes(data)
        if not self._check_when(data):
            return data
        if not self.errors:
            self._check_rest(data)
        shown = self._show_dates(self._series_of(data))
        sent: Any = self.data
        redrawn = sent.copy()
        redrawn[self.add_prefix("dates")] = shown
        self.data = redrawn
        if "_dates" in sent:
            self.add_error("dates", "Nothing is saved yet. If these are right, save.")
        elif sent.get(self.add_prefix("dates")) != shown:
            self.add_error("dates", "These are its next dates. If they are right, save again.")
        return data

    def _check_minutes(self, data: dict[str, Any]) -> None:
        for shorter, longer, wrong in (
            ("lock_minutes", "length_minutes", "It cannot lock before it starts."),
            ("lobby_minutes", "shown_minutes", "Gamers must see it before its lobby opens."),
        ):
            if shorter in data and longer in data and data[shorter] > data[longer]:
                self.add_error(shorter, wrong)

    def _check_when(self, data: dict[str, Any]) -> bool:
        """Whether there are dates to show; what is wrong with the rule is said beside it."""
        if any(name not in data for name in subject.WHEN):
            return False
        now = timezone.now()
        if abs(data["first_date"] - now.date()) > timedelta(days=5 * 366):
            self.add_error("first_date", "This is more than five years away.")
            return False
        try:
            recurrence.refuse_absurd(
                subject.recurrence_of(self._series_of(data)),
                now=now,
                horizon=timedelta(days=data.get("horizon_days") or 1),
            )
        except BadRule as refusal:
            self.add_error("rule", str(refusal))
            return False
        return True

    def _check_rest(self, data: dict[str, Any]) -> None:
        fields = {name: data[name] for name in FIELDS}
        try:
            subject.refuse_wrong(Series(**fields), now=timezone.now())
        except subject.BadTitle as refusal:
            self.add_error("title", str(refusal))
        except Refusal as refusal:
            self.add_error(None, str(refusal))

    def _series_of(self, data: dict[str, Any]) -> Series:
        when = {name: data[name] for name in subject.WHEN}
        made_through = None
        if self.instance.pk:
            saved = Series.objects.get(pk=self.instance.pk)
            made_through = subject.made_through_under(saved, when)
        return Series(**when, made_through=made_through)

    def _show_dates(self, series: Series) -> str:
        """Put the next dates on the form; returns what they belong to."""
        dates = subject.next_dates(series, now=timezone.now(), most=SHOWN_DATES)
        shown = sha256(
            repr([str(getattr(series, name)) for name in subject.WHEN]).encode()
        ).hexdigest()
        widget = self.fields["dates"].widget
        widget.dates = [in_both(at, series) for at in dates] or ["No more: all of them are made."]
        self.initial["dates"] = shown
        return shown


def in_both(at: datetime, series: Series) -> str:
    """A date by the clock of its zone and in UTC."""
    local = at.astimezone(series.zone)
    return f"{local:%a %Y-%m-%d %H:%M} {series.time_zone} = {at:%Y-%m-%d %H:%M} UTC"


# --- Series --------------------------------------------------------------------------------------


@admin.register(Series)
class SeriesAdmin(ConsoleAdmin[Series]):
    roles = {OPERATORS: ("view", "add", "change"), SUPPORT: ("view",)}
    form = SeriesForm
    list_display = ["title", "game_link", "state", "when", "next_start", "made", "trouble"]
    list_select_related = ["game"]
    list_filter = ["is_active", "game"]
    search_fields = ["title__icontains"]
    ordering = ["-is_active", "next_at", "-id"]
    sortable_by = ()
    readonly_fields = ["state", "next_start", "made", "trouble"]

    game_link = link_column("game")
    when = text_column("rule", "rule")
    next_start = minute_column("next_at", "next to be made for")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Series]:
        return super().get_queryset(request).select_related("game")

    def has_delete_permission(self, request: HttpRequest, obj: Series | None = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Series | None = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return [(None, {"fields": [*self.readonly_fields, *FIELDS]})]
        more = ["description", "theme"]
        now = [(None, {"fields": self.readonly_fields})] if obj else []
        return [
            *now,
            (
                None,
                {"fields": [*(name for name in FIELDS if name not in {*more, *RULES}), "dates"]},
            ),
            ("How it is scored and paid", {"classes": ["collapse"], "fields": RULES}),
            ("Description and theme", {"classes": ["collapse"], "fields": more}),
        ]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        tomorrow = timezone.now().date() + timedelta(days=1)
        return {
            "first_date": tomorrow,
            "start_time": "20:00",
            **super().get_changeform_initial_data(request),
        }

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Series:
        form.save_m2m = form._save_m2m
        fields = {name: form.cleaned_data[name] for name in FIELDS}
        now = timezone.now()
        if change:
            return subject.change(pk=form.instance.pk, fields=fields, now=now)
        return subject.create(**fields, now=now)

    def save_model(self, request: HttpRequest, obj: Series, form: Any, change: bool) -> None:
        """Saved already, by the subject's own functions."""

    def response_add(
        self, request: HttpRequest, obj: Series, post_url_continue: str | None = None
    ) -> HttpResponse:
        self.message_user(request, f"Set up: {obj}. Its tournaments are made within a minute.")
        return HttpResponseRedirect(reverse("admin:tournaments_series_change", args=[obj.pk]))

    @admin.display(description="state")
    def state(self, series: Series) -> SafeString:
        if not series.is_active:
            return badge("STOPPED", bad=True)
        return badge("RUNNING", good=True) if series.next_at else badge("OVER")

    @admin.display(description="made")
    def made(self, series: Series) -> SafeString:
        return format_html('<a href="{}">{}</a>', _all_of(series), f"{series.made_count:,}")

    @admin.display(description="trouble")
    def trouble(self, series: Series) -> str:
        return series.problem or "-"


@panel(Series, "Tournaments made", order=10)
def tournaments_of_series(request: HttpRequest, series: Series) -> Table:
    made = series.tournaments.order_by("-made_for")[:NEWEST]
    return Table(
        columns=["Tournament", "Status", "Starts"],
        rows=[(link(one), status_badge(one), moment(one.starts_at)) for one in made],
        empty="None made yet.",
        links=[(_all_of(series), "All tournaments of the series")],
    )


@act(Series)
class Stop(Act[Series]):
    name, label, roles = "stop", "Stop", (OPERATORS,)

    def is_offered(self, series: Series) -> bool:
        return series.is_active

    def consequences(self, series: Series) -> list[str]:
        return [
            "No more tournaments are made.",
            "Those made already stay as they are: cancel them one by one if they shall not be.",
        ]

    def perform(self, request: HttpRequest, series: Series, data: dict[str, Any]) -> Done:
        subject.stop(pk=series.pk, now=timezone.now())
        return Done(f"Stopped: {series}.")


@act(Series)
class Resume(Act[Series]):
    name, label, roles = "resume", "Start again", (OPERATORS,)

    def is_offered(self, series: Series) -> bool:
        return not series.is_active

    def consequences(self, series: Series) -> list[str]:
        dates = subject.next_dates(series, now=timezone.now(), most=SHOWN_DATES)
        return [
            "It goes on with its next dates; those that have passed are left out.",
            *(in_both(at, series) for at in dates),
        ]

    def perform(self, request: HttpRequest, series: Series, data: dict[str, Any]) -> Done:
        subject.resume(pk=series.pk, now=timezone.now())
        return Done(f"Running again: {series}.")


def _all_of(series: Series) -> str:
    every = reverse("admin:tournaments_tournament_changelist")
    return f"{every}?{urlencode({'series__id__exact': series.pk})}"
