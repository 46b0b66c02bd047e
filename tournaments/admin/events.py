"""The events that games have sent: all of them, and the newest of a gamer or a tournament."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts.models import Gamer
from kgen.common.admin import (
    OPERATORS,
    SUPPORT,
    ReadOnlyAdmin,
    Table,
    link,
    moment,
    panel,
)
from kgen.common.identifiers import uuid_of
from tournaments import event_log
from tournaments.event_log import KINDS, Key, Wanted
from tournaments.models import GameEvent, Tournament

PER_PAGE: Final = 50
NEWEST: Final = 20
# Of one name in several games.
MOST_NAMESAKES: Final = 20
MAY_VIEW: Final = "tournaments.view_gameevent"

NO_DATE: Final = {"invalid": "This is no date: write it as 2026-01-31."}


class EventsForm(forms.Form):
    gamer = forms.CharField(required=False, max_length=128, label="Gamer or account id")
    tournament = forms.CharField(required=False, max_length=36, label="Tournament id")
    kind = forms.ChoiceField(
        required=False, choices=[("", "Every kind"), *((kind, kind) for kind in KINDS)]
    )
    since = forms.DateField(
        required=False,
        label="Received from",
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages=NO_DATE,
    )
    until = forms.DateField(
        required=False,
        label="To (UTC)",
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages=NO_DATE,
    )

    # Accounts in several games that go by the name that was asked for.
    namesakes: Sequence[Gamer] = ()

    def clean_gamer(self) -> Gamer | None:
        name: str = self.cleaned_data["gamer"]
        if not name:
            return None
        if "\x00" in name:
            raise forms.ValidationError("No such gamer.")
        uid = uuid_of(name)
        found = list(
            Gamer.objects.filter(gamer_id=name).select_related("game")[: MOST_NAMESAKES + 1]
        )
        if uid is not None:
            found += Gamer.objects.filter(uid=uid)
        if not found:
            raise forms.ValidationError("No such gamer.")
        if len(found) > 1:
            self.namesakes = found[:MOST_NAMESAKES]
            raise forms.ValidationError("Several games know a gamer of this id: choose one below.")
        return found[0]

    def clean_tournament(self) -> Tournament | None:
        name: str = self.cleaned_data["tournament"].strip()
        if not name:
            return None
        uid = uuid_of(name)
        found = None if uid is None else Tournament.objects.filter(uid=uid).first()
        if found is None:
            raise forms.ValidationError("No such tournament.")
        return found

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        since, until = data.get("since"), data.get("until")
        if since and until and since > until:
            raise forms.ValidationError("“From” is later than “To”: nothing lies between.")
        return data

    @property
    def wanted(self) -> Wanted:
        data = self.cleaned_data
        since, until = data["since"], data["until"]
        return Wanted(
            gamer=data["gamer"],
            tournament=data["tournament"],
            kind=data["kind"],
            since=since and datetime.combine(since, time.min, UTC),
            until=until and datetime.combine(until, time.min, UTC) + timedelta(days=1),
        )

    @property
    def query(self) -> dict[str, str]:
        """What was chosen, as the address says it."""
        return {name: self.data[name] for name in self.fields if self.data.get(name)}


class EventsAdmin(ReadOnlyAdmin[GameEvent]):
    """One list of all events in place of Django's, which knows no row with a key of three parts."""

    roles = {OPERATORS: ("view",), SUPPORT: ("view",)}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="tournaments_gameevent_changelist")]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Events",
            "opts": self.opts,
            "panels": [("Newest events", _found(request))],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/panels.html", context)


# Django registers no such model by itself, having no page for one of its rows. There is none here.
admin.site._registry[GameEvent] = EventsAdmin(GameEvent, admin.site)


def _found(request: HttpRequest) -> Table:
    form = EventsForm({name: request.GET.get(name, "") for name in EventsForm.base_fields})
    if not form.is_valid():
        return Table(
            columns=["Gamer", "Game"],
            rows=[
                (format_html('<a href="{}">{}</a>', address_of(gamer=gamer), gamer), gamer.game)
                for gamer in form.namesakes
            ],
            empty="Nothing is shown until this is put right.",
            form=form,
        )
    older_than = Key.read(request.GET.get("before", ""))
    page = event_log.page_of(form.wanted, size=PER_PAGE, older_than=older_than)
    links = []
    if older_than is not None:
        links.append((f"?{urlencode(form.query)}", "Newest"))
    if page.older_than is not None:
        older = {**form.query, "before": str(page.older_than)}
        links.append((f"?{urlencode(older)}", "Older"))
    if page.older_than is not None and not page.events:
        empty = f"None among these {event_log.LONGEST_LOOK:,}: look at older ones."
    else:
        empty = "Nothing matches." if form.query else "No game has sent any yet."
    return _table(page.events, empty=empty, links=links, form=form)


@panel(Gamer, "Newest events", order=30, permission=MAY_VIEW)
def events_of_gamer(request: HttpRequest, gamer: Gamer) -> Table:
    page = event_log.page_of(Wanted(gamer=gamer), size=NEWEST)
    return _table(page.events, empty="None yet.", links=[(address_of(gamer=gamer), "All events")])


@panel(Tournament, "Newest events", order=60, permission=MAY_VIEW)
def events_of_tournament(request: HttpRequest, tournament: Tournament) -> Table:
    page = event_log.page_of(Wanted(tournament=tournament), size=NEWEST)
    address = address_of(tournament=tournament)
    return _table(page.events, empty="None yet.", links=[(address, "All events")])


def address_of(*, gamer: Gamer | None = None, tournament: Tournament | None = None) -> str:
    """Where all events of the gamer or the tournament are listed."""
    chosen = {"gamer": gamer, "tournament": tournament}
    query = urlencode({name: str(row.uid) for name, row in chosen.items() if row is not None})
    return f"{reverse('admin:tournaments_gameevent_changelist')}?{query}"


def _table(
    events: Sequence[GameEvent],
    *,
    empty: str,
    links: Sequence[tuple[str, str]],
    form: forms.Form | None = None,
) -> Table:
    return Table(
        columns=["Received", "Stamped", "Gamer", "Tournament", "What", "As it was sent"],
        rows=[
            (
                moment(event.received_at),
                moment(event.occurred_at),
                link(event.gamer),
                link(event.tournament),
                ", ".join(
                    _said(kind, event.payload[kind]) for kind in KINDS if kind in event.payload
                ),
                _folded({"metadata": event.metadata, "payload": event.payload}),
            )
            for event in events
        ],
        empty=empty,
        links=links,
        form=form,
    )


def _said(kind: str, told: dict[str, Any]) -> str:
    value = told["value"]
    if isinstance(value, list):
        return f"{kind} ({len(value)})"
    return f"{kind} {value:,}" if isinstance(value, int) else f"{kind} {value[:40]}"


def _folded(sent: dict[str, Any]) -> SafeString:
    """Games put what they like into it, also of persons: it is shown to who asks for it."""
    text = json.dumps(sent, indent=2, ensure_ascii=False)
    return format_html("<details><summary>show</summary><pre>{}</pre></details>", text)
