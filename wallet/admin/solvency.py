"""Can we pay? What is owed, held and under way, as numbers and over time; for reading."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Min, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from kgen.common.admin import (
    ReadOnlyAdmin,
    Table,
    badge,
    duration,
    kcash,
    link,
    moment,
    moment_column,
    short,
)
from wallet import float_alarm, solvency
from wallet.admin.cells import BUCKETS, VIEWED_BY_ALL
from wallet.admin.lanes import lane_badge
from wallet.admin.reconciliation import run_badge
from wallet.models import (
    ChainCursor,
    ChainEvent,
    Operator,
    Payout,
    PayoutSwitch,
    ReconciliationRun,
    Reorg,
    Slot,
    SolvencySample,
)

POINTS: Final = 240
WIDTH: Final = 600
HEIGHT: Final = 120

# What is said of a sample that is older than this is not believed any more.
STALE: Final = timedelta(minutes=5)


class PeriodForm(forms.Form):
    days = forms.TypedChoiceField(
        choices=[(1, "the last day"), (7, "a week"), (30, "a month"), (90, "a quarter")],
        coerce=int,
        label="Show",
    )


@dataclass(frozen=True)
class Line:
    label: str
    # Of an SVG polyline, in pixels from its upper left corner.
    points: str
    last: str


@dataclass(frozen=True)
class Chart:
    title: str
    lines: Sequence[Line]
    top: str
    begins: str
    ends: str
    width: int = WIDTH
    height: int = HEIGHT


@admin.register(SolvencySample)
class SolvencyAdmin(ReadOnlyAdmin[SolvencySample]):
    roles = VIEWED_BY_ALL
    readonly_fields = ["taken", "block_number"]

    taken = moment_column("taken_at", "taken")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One page about all of it in place of a list of samples."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now, sample = timezone.now(), solvency.newest()
        form = PeriodForm(request.GET if "days" in request.GET else {"days": 1})
        days = form.cleaned_data["days"] if form.is_valid() else 1
        samples = solvency.history(since=now - timedelta(days=days), until=now, points=POINTS)
        context = {
            **self.admin_site.each_context(request),
            "title": "Solvency",
            "opts": self.opts,
            "sample": sample,
            "verdict": _verdict(sample, now=now),
            "form": form,
            "charts": _charts(samples),
            "panels": [
                ("Owed to gamers", _owed(sample)),
                ("Held for it", _held(sample)),
                ("Payouts that are not over", _queue(now)),
                ("Lanes", _lanes(sample)),
                ("Chain and books", _books()),
            ],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/solvency.html", context)


# --- Numbers -------------------------------------------------------------------------------------


def _verdict(sample: SolvencySample | None, *, now: datetime) -> SafeString:
    if sample is None:
        return badge("not looked at yet", busy=True)
    badges = [
        badge(f"{sample.shortfall:,} KCash short: no tournament is published", bad=True)
        if sample.shortfall
        else badge("the float covers what is owed", good=True)
    ]
    badges += [badge(warning, bad=True) for warning in float_alarm.warnings(sample)]
    if solvency.is_chain_stale(sample):
        age = duration(sample.taken_at - sample.block_made_at)
        badges.append(badge(f"settlement waits: the newest final block is {age} old", bad=True))
    if now - sample.taken_at > STALE:
        badges.append(badge(f"as of {duration(now - sample.taken_at)} ago", bad=True))
    if PayoutSwitch.objects.filter(is_paused=True).exists():
        badges.append(badge("payouts are paused", bad=True))
    return _beside(badges)


def _owed(sample: SolvencySample | None) -> Table:
    rows: list[tuple[object, ...]] = []
    if sample is not None:
        for bucket in ("bonus", "bought", "earned", "claimable", "hold"):
            title, meaning = BUCKETS[bucket]
            rows.append((title, kcash(getattr(sample, bucket)), meaning))
        rows += [
            ("Pools", kcash(sample.pools), "entry fees and sponsors' money that is played for"),
            ("Together", kcash(sample.owed), "all that gamers have, and all that they can win"),
        ]
    return Table(columns=["What", "KCash", ""], rows=rows, empty="Not looked at yet.")


def _held(sample: SolvencySample | None) -> Table:
    rows: list[tuple[object, ...]] = []
    if sample is not None:
        rows = [
            ("Custodial wallets", kcash(sample.custodial), "final on the chain"),
            ("Float wallet", kcash(sample.float_balance), f"in block {sample.block_number:,}"),
            ("It lets the contract spend", kcash(sample.float_allowance), ""),
            ("The float has to cover", kcash(sample.to_cover), "owed and not in custodial wallets"),
            ("The float can pay", kcash(sample.payable), "the lesser of balance and permission"),
            ("It is short of", kcash(sample.shortfall), "with what is leaving it just now"),
            ("Gas of the day's payouts", _coins(sample.gas_spent), "made in the last 24 h"),
        ]
    return Table(columns=["What", "How much", ""], rows=rows, empty="Not looked at yet.")


def _queue(now: datetime) -> Table:
    by_state = (
        Payout.objects.exclude(state__in=[Payout.State.COMPLETED, Payout.State.VOIDED])
        .values("state")
        .annotate(
            number=Count("pk"),
            total=Sum("amount"),
            withdrawn=Sum("amount", filter=Q(kind=Payout.Kind.WITHDRAW), default=0),
            oldest=Min("created_at"),
        )
        .order_by("oldest")
    )
    return Table(
        columns=["State", "Payouts", "Amount", "Of it withdrawals", "The oldest is"],
        rows=[
            (
                one["state"],
                f"{one['number']:,}",
                kcash(int(one["total"])),
                kcash(int(one["withdrawn"])),
                f"{duration(now - one['oldest'])} old",
            )
            for one in by_state
        ],
        empty="None: the chain has followed everything.",
    )


def _lanes(sample: SolvencySample | None) -> Table:
    seen = {lane["address"]: lane for lane in sample.lanes} if sample else {}
    lanes = Operator.objects.annotate(
        open_slots=Count("slots", filter=Q(slots__state=Slot.State.OPEN)),
        oldest=Min("slots__created_at", filter=Q(slots__state=Slot.State.OPEN)),
    ).order_by("pk")
    return Table(
        columns=["Lane", "State", "Next nonce", "On the chain", "Open slots", "Since", "Gas left"],
        rows=[
            (
                link(lane, short(lane.address)),
                lane_badge(lane),
                f"{lane.next_nonce:,}",
                seen.get(lane.address, {}).get("nonce", "-"),
                lane.open_slots,
                moment(lane.oldest),
                _coins(seen.get(lane.address, {}).get("gas")),
            )
            for lane in lanes
        ],
        empty="None yet: the settlement worker opens its own when it starts.",
    )


def _books() -> Table:
    run = ReconciliationRun.objects.order_by("-pk").first()
    cursor = ChainCursor.objects.order_by("-pk").first()
    unknown = ChainEvent.objects.filter(
        meaning=ChainEvent.Meaning.UNKNOWN, explained_at__isnull=True, dropped_at__isnull=True
    ).count()
    reorg = Reorg.objects.filter(confirmed_at__isnull=True).first()
    return Table(
        columns=["What", "", ""],
        rows=[
            (
                "Newest reconciliation",
                link(run, moment(run.started_at)) if run else "-",
                _beside([run_badge(run), kcash(run.drift), "apart"]) if run else "None yet.",
            ),
            (
                "Events are read up to block",
                f"{cursor.next_block - 1:,}" if cursor else "-",
                f"went back {cursor.rewinds} times" if cursor and cursor.rewinds else "",
            ),
            (
                "Events that nobody ordered",
                badge(str(unknown), bad=True) if unknown else "none",
                "They pause payouts until somebody explains them." if unknown else "",
            ),
            (
                "Reorg past finality",
                link(reorg) if reorg else "none",
                badge("waits for somebody's word", bad=True) if reorg else "",
            ),
        ],
        empty="",
    )


def _coins(amount: int | None) -> str:
    """Gas money, of which one reads more easily than of wei."""
    return "-" if amount is None else f"{amount // 10**18:,}.{amount % 10**18 // 10**12:06} coins"


def _beside(cells: Iterable[object]) -> SafeString:
    return format_html_join(" ", "{}", ((cell,) for cell in cells))


# --- Charts --------------------------------------------------------------------------------------


def _charts(samples: Sequence[SolvencySample]) -> list[Chart]:
    if len(samples) < 2:
        return []
    return [
        _chart(
            "What the float can pay, in KCash",
            samples,
            {"can pay": lambda one: one.payable, "has to cover": lambda one: one.to_cover},
        ),
        _chart(
            "Owed to gamers, in KCash",
            samples,
            {"owed": lambda one: one.owed, "in custodial wallets": lambda one: one.custodial},
        ),
        _chart("Payouts that are not over", samples, {"payouts": lambda one: one.queued}),
        _chart(
            "Gas left in all lanes, in thousandths of a coin",
            samples,
            {"gas": lambda one: sum(lane["gas"] for lane in one.lanes) // 10**15},
        ),
    ]


def _chart(
    title: str,
    samples: Sequence[SolvencySample],
    lines: dict[str, Callable[[SolvencySample], int]],
) -> Chart:
    values = {label: [value(sample) for sample in samples] for label, value in lines.items()}
    top = max(1, *(max(line) for line in values.values()))
    first, last = samples[0].taken_at, samples[-1].taken_at
    span = max(1, int((last - first).total_seconds()))
    across = [int((one.taken_at - first).total_seconds()) * WIDTH // span for one in samples]
    return Chart(
        title=title,
        lines=[
            Line(
                label=label,
                points=" ".join(
                    f"{x},{HEIGHT - value * HEIGHT // top}"
                    for x, value in zip(across, line, strict=True)
                ),
                last=f"{line[-1]:,}",
            )
            for label, line in values.items()
        ],
        top=f"{top:,}",
        begins=f"{first:%Y-%m-%d %H:%M} UTC",
        ends=f"{last:%Y-%m-%d %H:%M} UTC",
    )
