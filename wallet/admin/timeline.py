"""The timeline on a wallet's page, and its export."""

from collections.abc import Iterator
from datetime import date
from typing import Any, Final

from django import forms
from django.http import HttpRequest, QueryDict, StreamingHttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from kgen.common.admin import Table, moment, panel
from kgen.common.spreadsheets import Cell, csv_lines
from wallet import timeline
from wallet.admin.cells import BUCKETS
from wallet.models import Wallet
from wallet.timeline import GROUPS, Key, Line, Wanted

LINES_PER_PAGE: Final = 50

CSV_HEADER: Final = ("when_utc", "kind", "what", "spendable", *BUCKETS, "posting_id")

# What the page adds up; the three spendable buckets are told apart in the words, and in the export.
COLUMNS: Final = ("claimable", "hold", "onchain")


class TimelineForm(forms.Form):
    kind = forms.ChoiceField(
        required=False,
        choices=[("", "Everything"), *((group, words) for group, (words, _) in GROUPS.items())],
    )
    since = forms.DateField(
        required=False,
        label="From",
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages={"invalid": "This is no date: write it as 2026-01-31."},
    )
    until = forms.DateField(
        required=False,
        label="To (UTC)",
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages={"invalid": "This is no date: write it as 2026-01-31."},
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        since, until = data.get("since"), data.get("until")
        if since and until and since > until:
            raise forms.ValidationError("“From” is later than “To”: nothing lies between.")
        return data

    @property
    def wanted(self) -> Wanted:
        data = self.cleaned_data
        since: date | None = data["since"]
        until: date | None = data["until"]
        return Wanted(group=data["kind"], since=since, until=until)

    @property
    def query(self) -> dict[str, str]:
        """What was chosen, as the address says it."""
        return {name: str(value) for name, value in self.cleaned_data.items() if value}


def form_of(query: QueryDict) -> TimelineForm:
    return TimelineForm({name: query.get(name, "") for name in TimelineForm.base_fields})


@panel(Wallet, "Timeline", order=30)
def timeline_of_wallet(request: HttpRequest, wallet: Wallet) -> Table:
    """One page; the address carries what was chosen, and the line next to which the page lies."""
    columns = ["When", "What happened", "Spendable", *(BUCKETS[name][0] for name in COLUMNS)]
    form = form_of(request.GET)
    if not form.is_valid():
        return Table(columns, [], empty="Nothing is shown until this is put right.", form=form)
    page = timeline.page_of(
        wallet=wallet,
        wanted=form.wanted,
        size=LINES_PER_PAGE,
        older_than=Key.read(request.GET.get("before", "")),
        newer_than=Key.read(request.GET.get("after", "")),
    )
    links = []
    if page.newer_than:
        links.append((_address(form), "Newest"))
        links.append((_address(form, after=page.newer_than), "Newer"))
    if page.older_than:
        links.append((_address(form, before=page.older_than), "Older"))
    if page.lines:
        export = reverse("admin:wallet_wallet_timeline", args=[wallet.pk])
        links.append((f"{export}?{urlencode(form.query)}", "Export all of these as CSV"))
    return Table(
        columns=columns,
        rows=[
            (
                moment(line.key.moment),
                _linked(line),
                _change(line.lazy),
                *(_change(line.changes.get(bucket, 0)) for bucket in COLUMNS),
            )
            for line in page.lines
        ],
        empty="Nothing matches: choose another kind, or other days."
        if form.query
        else "Nothing has moved yet: it begins with the welcome bonus, or the first deposit.",
        links=links,
        form=form,
    )


def export_of(wallet: Wallet, wanted: Wanted) -> StreamingHttpResponse:
    """Every wanted line as CSV, sent as it is read."""
    response = StreamingHttpResponse(
        csv_lines(CSV_HEADER, _cells(wallet, wanted)), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="timeline-{wallet.address}.csv"'
    response["Cache-Control"] = "no-store"
    return response


def _cells(wallet: Wallet, wanted: Wanted) -> Iterator[tuple[Cell, ...]]:
    for line in timeline.lines_of(wallet=wallet, wanted=wanted):
        changes = (line.changes.get(bucket, 0) for bucket in BUCKETS)
        posting_id = str(line.key.posting_id)
        yield line.key.moment, line.kind, line.text, line.lazy, *changes, posting_id


def _address(form: TimelineForm, **keys: Key) -> str:
    return (
        f"?{urlencode({**form.query, **{name: str(key) for name, key in keys.items()}})}#timeline"
    )


def _linked(line: Line) -> str | SafeString:
    if line.transaction_uid is None:
        return line.text
    page = reverse("admin:wallet_wallettransaction_change", args=[line.transaction_uid])
    return format_html('<a href="{}">{}</a>', page, line.text)


def _change(amount: int) -> str | SafeString:
    return format_html('<span class="number">{}</span>', f"{amount:+,}") if amount else ""
