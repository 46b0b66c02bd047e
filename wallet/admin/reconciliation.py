"""Runs of the audits and what they found: for reading."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from kgen.common.admin import ReadOnlyAdmin, Table, badge, moment_column, panel, text_column
from wallet.admin.cells import VIEWED_BY_ALL
from wallet.models import ReconciliationRun


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(ReadOnlyAdmin[ReconciliationRun]):
    roles = VIEWED_BY_ALL
    list_display = ["started", "what", "result", "found"]
    list_filter = ["scope"]
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = ["started", "finished", "what", "result", "incomplete"]

    started = moment_column("started_at", "started")
    finished = moment_column("finished_at", "finished")
    incomplete = text_column("problem", "left out")

    def title_of(self, row: ReconciliationRun) -> str:
        return f"Run of {row.started_at:%Y-%m-%d %H:%M:%S} UTC"

    @admin.display(description="looked at")
    def what(self, run: ReconciliationRun) -> str:
        return run.get_scope_display()

    @admin.display(description="result")
    def result(self, run: ReconciliationRun) -> SafeString:
        return run_badge(run)

    @admin.display(description="findings")
    def found(self, run: ReconciliationRun) -> int:
        return len(run.findings)


@panel(ReconciliationRun, "Drift: found in both looks")
def findings_of_run(request: HttpRequest, run: ReconciliationRun) -> Table:
    return findings_table(run.findings, empty="None.")


@panel(ReconciliationRun, "Suspected in the first look")
def suspects_of_run(request: HttpRequest, run: ReconciliationRun) -> Table:
    return findings_table(run.suspects, empty="Nothing.")


def run_badge(run: ReconciliationRun) -> SafeString:
    if run.finished_at is None:
        return badge("suspects something; looks again", busy=True)
    if run.findings:
        return badge("drift", bad=True)
    return badge("chain not compared", busy=True) if run.problem else badge("right", good=True)


def findings_table(findings: list[dict[str, str]], *, empty: str) -> Table:
    return Table(
        columns=["Audit", "Where", "What is wrong"],
        rows=[(one["audit"], one["subject"], one["problem"]) for one in findings],
        empty=empty,
    )
