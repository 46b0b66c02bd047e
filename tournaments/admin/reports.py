"""A tournament's report: a page of bars, and a file for a spreadsheet."""

from collections.abc import Iterator
from typing import Final

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from kgen.common import audit
from kgen.common.admin import ConsoleAdmin, Table, badge, duration, kcash, link, moment, panel
from kgen.common.spreadsheets import Cell, csv_lines
from tournaments import reports
from tournaments.models import Tournament
from tournaments.reports import Report

CSV_HEADER: Final = ("tournament", "part", "what", "from", "to", "number")
BAR: Final = 200


def urls_of(page: ConsoleAdmin[Tournament]) -> list[URLPattern]:
    """The report's addresses, below the tournament's own."""

    def tournament_of(request: HttpRequest, object_id: str) -> Tournament:
        tournament = page.get_object(request, unquote(object_id))
        if not page.has_view_permission(request, tournament):
            raise PermissionDenied
        if tournament is None:
            raise Http404
        return tournament

    def show(request: HttpRequest, object_id: str) -> HttpResponse:
        tournament = tournament_of(request, object_id)
        context = {
            **page.admin_site.each_context(request),
            "title": "Report",
            "subtitle": str(tournament),
            "opts": page.opts,
            "row": tournament,
            "back": reverse("admin:tournaments_tournament_change", args=[tournament.pk]),
            "panels": _panels(tournament),
        }
        return TemplateResponse(request, "admin/panels.html", context)

    def export(request: HttpRequest, object_id: str) -> HttpResponseBase:
        tournament = tournament_of(request, object_id)
        audit.record(name="export", label="Exported the report", row=tournament, request=request)
        report = reports.report_of(tournament=tournament, now=timezone.now())
        response = StreamingHttpResponse(
            csv_lines(CSV_HEADER, _cells(tournament, report)),
            content_type="text/csv; charset=utf-8",
        )
        response["Content-Disposition"] = f'attachment; filename="report-{tournament.uid}.csv"'
        response["Cache-Control"] = "no-store"
        return response

    view = page.admin_site.admin_view
    return [
        path("<path:object_id>/report/", view(show), name="tournaments_tournament_report"),
        path("<path:object_id>/report.csv", view(export), name="tournaments_tournament_export"),
    ]


@panel(Tournament, "Report", order=70)
def way_to_report(request: HttpRequest, tournament: Tournament) -> Table:
    address = reverse("admin:tournaments_tournament_report", args=[tournament.pk])
    return Table(
        columns=[],
        rows=[],
        empty="Entries over time, scores, who came back, and where the money went.",
        links=[(address, "Show the report")],
    )


def _panels(tournament: Tournament) -> list[tuple[str, Table]]:
    report = reports.report_of(tournament=tournament, now=timezone.now())
    export = reverse("admin:tournaments_tournament_export", args=[tournament.pk])
    return [
        ("Entries over time", _entries(report)),
        ("Scores", _scores(report)),
        ("Retention", _retention(report)),
        ("Pool and rake", _money(report, export=export)),
    ]


def _entries(report: Report) -> Table:
    steps = report.entries.steps
    top = max((step.seated for step in steps), default=0)
    return Table(
        columns=[f"From (steps of {duration(report.entries.length)})", "Joined", "Left", "In", ""],
        rows=[
            (
                moment(step.since),
                f"{step.joined:,}",
                f"{step.left:,}",
                f"{step.seated:,}",
                _bar(step.seated, top),
            )
            for step in steps
        ],
        empty="Nobody could join yet.",
    )


def _scores(report: Report) -> Table:
    scores = report.scores
    top = max((step.gamers for step in scores.steps), default=0)
    rows: list[tuple[object, ...]] = [
        (f"{step.lowest:,} to {step.highest:,}", f"{step.gamers:,}", _bar(step.gamers, top))
        for step in scores.steps
    ]
    if scores.median is not None:
        rows += [(f"Median {scores.median:,}", "", ""), (f"Highest {scores.highest:,}", "", "")]
    if scores.without:
        rows.append(("No score", f"{scores.without:,}", ""))
    return Table(columns=["Score", "Gamers", ""], rows=rows, empty="Nobody is in.")


def _retention(report: Report) -> Table:
    kept = report.retention
    return Table(
        columns=["Of the entrants", "Gamers", "Share", "Tournament"],
        rows=[
            ("in this tournament", f"{kept.entrants:,}", "", ""),
            (
                "had been in the one before",
                f"{kept.came_back:,}",
                _share(kept.came_back, kept.entrants),
                link(kept.before) if kept.before else "There is none.",
            ),
            (
                "are in the one after",
                f"{kept.stayed:,}",
                _share(kept.stayed, kept.entrants),
                link(kept.after) if kept.after else "There is none yet.",
            ),
        ],
        empty="",
    )


def _money(report: Report, *, export: str) -> Table:
    money, flows = report.money, report.money.flows
    told = (
        badge("the ledger, the seats and the tournament agree", good=True)
        if money.is_confirmed
        else badge("the ledger differs from the seats: tell finance", bad=True)
    )
    return Table(
        columns=["What", "Amount", ""],
        rows=[
            ("Entry fees paid", kcash(flows.stakes), ""),
            ("Given back", kcash(flows.refunds), "to gamers who left unscored, or all of it"),
            ("Sponsor's contribution", kcash(flows.sponsored), ""),
            ("Net pool", kcash(money.pool), "what gamers can win"),
            ("Prizes", kcash(flows.prizes), ""),
            ("Rake of the platform", kcash(flows.platform_rake), ""),
            ("Rake of the developer", kcash(flows.developer_rake), ""),
            ("Remainder", kcash(flows.remainder), "of the pool, to the platform"),
            ("Still in the pool", kcash(flows.in_pool), told),
        ],
        empty="",
        links=[(export, "Export the report as CSV")],
    )


def _cells(tournament: Tournament, report: Report) -> Iterator[tuple[Cell, ...]]:
    title = tournament.title
    for step in report.entries.steps:
        until = step.since + report.entries.length
        for what, number in (("joined", step.joined), ("left", step.left), ("in", step.seated)):
            yield title, "entries", what, step.since, until, number
    for band in report.scores.steps:
        yield title, "scores", "gamers", band.lowest, band.highest, band.gamers
    yield title, "scores", "no score", None, None, report.scores.without
    yield title, "scores", "median", None, None, report.scores.median
    kept, flows = report.retention, report.money.flows
    for part, what, number in (
        ("retention", "entrants", kept.entrants),
        ("retention", "in the one before", kept.came_back),
        ("retention", "in the one after", kept.stayed),
        ("money", "entry fees paid", flows.stakes),
        ("money", "given back", flows.refunds),
        ("money", "sponsored", flows.sponsored),
        ("money", "net pool", report.money.pool),
        ("money", "prizes", flows.prizes),
        ("money", "rake of the platform", flows.platform_rake),
        ("money", "rake of the developer", flows.developer_rake),
        ("money", "remainder", flows.remainder),
        ("money", "still in the pool", flows.in_pool),
    ):
        yield title, part, what, None, None, number


def _bar(number: int, top: int) -> SafeString:
    """Drawn by attributes alone: no style and no script in the page."""
    width = BAR * number // top if top else 0
    return format_html(
        '<svg class="bar" width="{}" height="12" role="img" aria-label="{}">'
        '<rect width="{}" height="12"></rect></svg>',
        BAR,
        number,
        width,
    )


def _share(part: int, whole: int) -> str:
    return f"{part * 100 // whole} %" if whole else "-"
