"""Many rewards from one file: uploaded, looked at row by row, then granted."""

from typing import Any, Final, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from kgen.common.admin import (
    OPERATORS,
    SUPPORT,
    Act,
    ConsoleAdmin,
    Done,
    ReasonForm,
    Table,
    act,
    badge,
    kcash,
    link_column,
    minute_column,
    moment,
    moment_column,
    panel,
    text_column,
)
from rewards import bulk
from rewards.admin.rewards import SOURCES
from rewards.bulk import Outcome, Verdict
from rewards.models import BulkGrant, Reward

State = BulkGrant.State

ROWS_PER_PAGE: Final = 100


class UploadForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    source = forms.ChoiceField(choices=SOURCES, initial=Reward.Source.PROMOTION)
    file = forms.FileField(
        help_text="CSV in UTF-8 with the columns gamer_id, amount, reference and, if wanted, "
        f"expires_at (2026-12-31T23:59:59Z); up to {bulk.MOST_ROWS:,} rows and 1 MiB. The game "
        "never pays the same reference twice.",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )
    reason = forms.CharField(
        max_length=500,
        help_text="Kept in the history with your name.",
        widget=forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"}),
    )

    class Meta:
        model = BulkGrant
        fields = ("game", "source", "reason")

    def clean_file(self) -> bytes:
        file = self.cleaned_data["file"]
        # Nothing larger is even read.
        content: bytes = file.read(bulk.MOST_BYTES + 1)
        try:
            bulk.read(content)
        except bulk.BadFile as refusal:
            raise forms.ValidationError(str(refusal)) from refusal
        return content


@admin.register(BulkGrant)
class BulkGrantAdmin(ConsoleAdmin[BulkGrant]):
    roles = {OPERATORS: ("view", "add"), SUPPORT: ("view",)}
    form = UploadForm
    list_display = ["what", "of_game", "source", "state_now", "progress", "uploader", "uploaded_on"]
    list_filter = ["state", "source"]
    list_select_related = ["game", "uploaded_by"]
    search_fields = ["digest__exact"]
    search_help_text = "SHA-256 of the file"
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = [
        "what",
        "of_game",
        "source",
        "state_now",
        "progress",
        "why",
        "sha256",
        "uploader",
        "uploaded",
        "confirmer",
        "confirmed",
        "done",
    ]

    of_game = link_column("game")
    why = text_column("reason", "reason")
    sha256 = text_column("digest", "SHA-256 of the file")
    uploader = text_column("uploaded_by", "uploaded by")
    uploaded = moment_column("uploaded_at", "uploaded")
    uploaded_on = minute_column("uploaded_at", "uploaded")
    confirmer = text_column("confirmed_by", "confirmed by")
    confirmed = moment_column("confirmed_at", "confirmed")
    done = moment_column("done_at", "done")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BulkGrant]:
        """Without the files themselves, which a list must not load."""
        return super().get_queryset(request).defer("content")

    @admin.display(description="what")
    def what(self, bulk_grant: BulkGrant) -> str:
        return str(bulk_grant)

    @admin.display(description="state")
    def state_now(self, bulk_grant: BulkGrant) -> SafeString:
        return badge(
            bulk_grant.get_state_display(),
            good=bulk_grant.state == State.DONE,
            busy=bulk_grant.state != State.DONE,
        )

    @admin.display(description="so far")
    def progress(self, bulk_grant: BulkGrant) -> str:
        return (
            f"{bulk_grant.position:,} of {bulk_grant.rows:,} rows: {bulk_grant.granted:,} granted,"
            f" {bulk_grant.already_granted:,} granted before, {bulk_grant.refused:,} refused"
        )

    def get_fieldsets(self, request: HttpRequest, obj: BulkGrant | None = None) -> Any:
        fields = ["game", "source", "file", "reason"] if obj is None else self.readonly_fields
        return [(None, {"fields": fields})]

    def get_readonly_fields(self, request: HttpRequest, obj: BulkGrant | None = None) -> list[str]:
        return [] if obj is None else self.readonly_fields

    def has_change_permission(self, request: HttpRequest, obj: BulkGrant | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: BulkGrant | None = None) -> bool:
        return False

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> BulkGrant:
        fields = form.cleaned_data
        form.save_m2m = form._save_m2m
        return bulk.upload(
            game=fields["game"],
            source=Reward.Source(fields["source"]),
            content=fields["file"],
            reason=fields["reason"],
            by=_who(request),
            now=timezone.now(),
        )

    def save_model(self, request: HttpRequest, obj: BulkGrant, form: Any, change: bool) -> None:
        """It is saved already."""

    def response_add(
        self, request: HttpRequest, obj: BulkGrant, post_url_continue: str | None = None
    ) -> HttpResponse:
        self.message_user(request, "Nothing is granted yet: look at the rows, then grant them.")
        return HttpResponseRedirect(reverse("admin:rewards_bulkgrant_change", args=[obj.pk]))


class RowsForm(forms.Form):
    show = forms.ChoiceField(
        required=False,
        choices=[("", "all rows"), *((one.name, f"{one.value} ones") for one in Outcome)],
    )
    since = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput, label="")


@panel(BulkGrant, "What granting it does now", order=10)
def totals_of_bulk_grant(request: HttpRequest, bulk_grant: BulkGrant) -> Table:
    totals = bulk.totals(bulk.verdicts_of(bulk_grant, now=timezone.now()))
    return Table(
        columns=["Rows", "How many", "Together"],
        rows=[
            (outcome_badge(outcome), f"{total.rows:,}", kcash(total.amount))
            for outcome, total in totals.items()
        ],
        empty="No rows.",
    )


@panel(BulkGrant, "Rows", order=20)
def rows_of_bulk_grant(request: HttpRequest, bulk_grant: BulkGrant) -> Table:
    columns = ["Line", "Gamer", "Reward", "Reference", "Expires", "Granting it now", "Why not"]
    form = RowsForm({name: request.GET.get(name, "") for name in RowsForm.base_fields})
    if not form.is_valid():
        return Table(columns, [], empty="There are no such rows.")
    shown, since = form.cleaned_data["show"], form.cleaned_data["since"] or 0
    found = [
        verdict
        for verdict in bulk.verdicts_of(bulk_grant, now=timezone.now())
        if not shown or verdict.outcome.name == shown
    ]
    links = [
        (f"?{urlencode({'show': shown, 'since': place})}#rows", text)
        for place, text in (
            (max(0, since - ROWS_PER_PAGE), "Earlier"),
            (since + ROWS_PER_PAGE, "Later"),
        )
        if place != since and place < len(found)
    ]
    return Table(
        columns=columns,
        rows=[_cells(verdict) for verdict in found[since : since + ROWS_PER_PAGE]],
        empty="There are no such rows.",
        links=links,
        # Another choice begins at its first row.
        form=RowsForm({"show": shown}),
    )


def _cells(verdict: Verdict) -> tuple[object, ...]:
    row = verdict.row
    return (
        row.line,
        row.gamer_id,
        kcash(row.amount or None),
        row.reference,
        moment(row.expires_at),
        outcome_badge(verdict.outcome),
        verdict.problem or "-",
    )


def outcome_badge(outcome: Outcome) -> SafeString:
    return badge(
        outcome.value,
        good=outcome is Outcome.NEW,
        busy=outcome is Outcome.ALREADY_GRANTED,
        bad=outcome is Outcome.REFUSED,
    )


class ConfirmForm(ReasonForm):
    skip_refused = forms.BooleanField(
        required=False,
        help_text="Otherwise nothing at all is granted while a row is refused.",
    )
    field_order = ["skip_refused", "reason"]


@act(BulkGrant)
class ConfirmBulkGrant(Act[BulkGrant]):
    name, label, roles = "confirm", "Grant these rewards", (OPERATORS,)
    form_class = ConfirmForm
    is_dangerous = True

    def is_offered(self, bulk_grant: BulkGrant) -> bool:
        return bulk_grant.state == State.CHECKED

    def consequences(self, bulk_grant: BulkGrant) -> list[str]:
        totals = bulk.totals(bulk.verdicts_of(bulk_grant, now=timezone.now()))
        new, known, refused = (totals[outcome] for outcome in Outcome)
        lines = [
            f"New rewards for gamers of {bulk_grant.game}: {new.rows:,}.",
            f"Set aside from the treasury for them: {new.amount:,} KCash. It cannot be undone.",
            f"The file is the one with the SHA-256 {bulk_grant.digest}, and no other.",
        ]
        if known.rows:
            lines.append(f"Granted before, and left as they are: {known.rows:,}.")
        if refused.rows:
            lines.append(f"Refused: {refused.rows:,}. The page of the file says why.")
        return lines

    def perform(self, request: HttpRequest, bulk_grant: BulkGrant, data: dict[str, Any]) -> Done:
        bulk.confirm(
            bulk_grant=bulk_grant,
            skips_refused=data["skip_refused"],
            by=_who(request),
            now=timezone.now(),
        )
        return Done("It is being granted: this page says how far it is.")


def _who(request: HttpRequest) -> User:
    """Whoever is signed in: the console lets nobody else in."""
    return cast(User, request.user)
