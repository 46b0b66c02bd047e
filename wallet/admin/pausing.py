"""The switch that pauses payouts."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from kgen.common.admin import (
    FINANCE,
    Act,
    Done,
    ReadOnlyAdmin,
    Table,
    act,
    badge,
    kcash,
    link,
    moment,
    moment_column,
    panel,
    text_column,
)
from wallet import float_alarm
from wallet.admin.cells import NEWEST, VIEWED_BY_ALL
from wallet.admin.reconciliation import findings_table, run_badge
from wallet.models import PayoutSwitch, ReconciliationRun, SolvencySample
from wallet.settlement import pausing


@admin.register(PayoutSwitch)
class PayoutSwitchAdmin(ReadOnlyAdmin[PayoutSwitch]):
    roles = VIEWED_BY_ALL
    list_display = ["state", "since", "by", "why"]
    sortable_by = ()
    readonly_fields = ["state", "since", "by", "why"]

    since = moment_column("changed_at", "since")
    by = text_column("changed_by", "turned by")
    why = text_column("reason", "reason")

    @admin.display(description="payouts")
    def state(self, switch: PayoutSwitch) -> SafeString:
        return badge("paused", bad=True) if switch.is_paused else badge("on", good=True)


@panel(PayoutSwitch, "Float wallet", order=5)
def float_wallet(request: HttpRequest, switch: PayoutSwitch) -> Table:
    sample = SolvencySample.objects.order_by("-taken_at", "-pk").first()
    rows: list[tuple[object, ...]] = []
    if sample is not None:
        wrong = float_alarm.warnings(sample)
        verdict = badge("low", bad=True) if wrong else badge("enough", good=True)
        rows = [
            (
                moment(sample.taken_at),
                kcash(sample.payable),
                kcash(sample.queued_in),
                format_html_join(" ", "{}", ((part,) for part in (verdict, *wrong))),
            )
        ]
    return Table(
        columns=["When", "Can pay", "To be paid now", "State"],
        rows=rows,
        empty="Not looked at yet.",
    )


@panel(PayoutSwitch, "Newest reconciliation", order=10)
def newest_run(request: HttpRequest, switch: PayoutSwitch) -> Table:
    runs = ReconciliationRun.objects.order_by("-pk")[:NEWEST]
    return Table(
        columns=["Started", "Looked at", "Result", "Findings"],
        rows=[
            (
                link(run, f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC"),
                run.get_scope_display(),
                run_badge(run),
                len(run.findings),
            )
            for run in runs
        ],
        empty="None yet: it runs every 45 s.",
    )


@panel(PayoutSwitch, "Drift of the newest run", order=20)
def newest_drift(request: HttpRequest, switch: PayoutSwitch) -> Table:
    finished = ReconciliationRun.objects.filter(finished_at__isnull=False)
    run = finished.order_by("-pk").first()
    return findings_table(run.findings if run else [], empty="None.")


@act(PayoutSwitch)
class Pause(Act[PayoutSwitch]):
    name, label, roles = "pause", "Pause payouts", (FINANCE,)
    is_dangerous = True

    def is_offered(self, switch: PayoutSwitch) -> bool:
        return not switch.is_paused

    def consequences(self, switch: PayoutSwitch) -> list[str]:
        return [
            "Nothing new is sent to the chain; what is under way is followed to its end.",
            "Gamers play, claim and withdraw as before; their payouts wait.",
        ]

    def perform(self, request: HttpRequest, switch: PayoutSwitch, data: dict[str, Any]) -> Done:
        pausing.pause(reason=data["reason"], by=request.user.get_username(), now=timezone.now())
        return Done("Payouts are paused.")


@act(PayoutSwitch)
class Resume(Act[PayoutSwitch]):
    name, label, roles = "resume", "Resume payouts", (FINANCE,)
    is_dangerous = True

    def is_offered(self, switch: PayoutSwitch) -> bool:
        return switch.is_paused

    def consequences(self, switch: PayoutSwitch) -> list[str]:
        return [
            "What waits is sent to the chain at once.",
            "A drift that is still there pauses payouts again within about a minute.",
        ]

    def perform(self, request: HttpRequest, switch: PayoutSwitch, data: dict[str, Any]) -> Done:
        pausing.resume(reason=data["reason"], by=request.user.get_username(), now=timezone.now())
        return Done("Payouts are on.")
