"""What every page of the staff console is made of: bases, columns, panels, acts and roles.

An upper app adds to a lower app's page with `@panel` and `@act`, so that a gamer's page can show
wallet, rewards and tournaments without `accounts` knowing of them.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.contrib.auth import get_permission_codename
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Field, Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from kgen.common import audit
from kgen.common.errors import Refusal
from kgen.common.models import StaffAct

OPERATORS = "Operators"
SUPPORT = "Support"
FINANCE = "Finance"
ADMINS = "Admins"
# No list counts or pages further than this; a search finds what lies deeper.
LONGEST_LIST = 10_000
LONGEST_HISTORY = 200

M = TypeVar("M", bound=Model)

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin
else:

    class ModelAdmin(admin.ModelAdmin):
        def __class_getitem__(cls, _model):
            return cls


# --- Cells ---------------------------------------------------------------------------------------


def kcash(amount: int | None) -> str | SafeString:
    """An amount with its unit."""
    if amount is None:
        return "-"
    return format_html('<span class="number">{} KCash</span>', f"{amount:,}")


def moment(at: datetime | None) -> str | SafeString:
    """An instant in UTC, to the second."""
    if at is None:
        return "-"
    return format_html('<span class="moment">{}</span>', f"{at:%Y-%m-%d %H:%M:%S} UTC")


def duration(length: timedelta) -> str:
    """A length of time in its two largest units: `2 d 3 h`, `4 min 10 s`."""
    seconds = max(0, int(length.total_seconds()))
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    parts = [
        f"{seconds % larger // size} {unit}"
        for larger, (size, unit) in zip((seconds + 1, 86_400, 3_600, 60), units, strict=True)
    ]
    while len(parts) > 1 and parts[0].startswith("0 "):
        parts.pop(0)
    return " ".join(part for part in parts[:2] if not part.startswith("0 ")) or "0 s"


def short(text: str | None) -> str | SafeString:
    """An address or a hash cut in its middle; the whole of it shows under the pointer."""
    if not text:
        return "-"
    return format_html('<span class="address" title="{}">{}…{}</span>', text, text[:8], text[-6:])


def badge(text: str, *, good: bool = False, busy: bool = False, bad: bool = False) -> SafeString:
    """A state, its border telling whether all is well."""
    tone = "good" if good else "busy" if busy else "bad" if bad else ""
    return format_html('<span class="status {}">{}</span>', tone, text)


# A column knows its row alone, and not who reads it.
_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


@contextmanager
def made_for(request: HttpRequest) -> Iterator[None]:
    """Cells that are made meanwhile are for whoever has sent this request."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def link(row: Model | None, text: object = None) -> str | SafeString:
    """A link to the row's page in the console; the text alone for who may not open that page."""
    if row is None:
        return "-"
    shown = str(row) if text is None else text
    request, page = _request.get(), admin.site.get_model_admin(type(row))
    if request is None or not page.has_view_permission(request, row):
        return format_html("{}", shown)
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(name, args=[quote(row.pk)]), shown)


def mask_phone(phone: str) -> str:
    """`+919876543210` as `+91******3210`; of what is no phone even less is left."""
    if not phone:
        return "-"
    if len(phone) < 9:
        return "*" * len(phone)
    return f"{phone[:3]}{'*' * (len(phone) - 7)}{phone[-4:]}"


def mask_email(email: str) -> str:
    """`swift@example.com` as `s****@example.com`; without a domain nothing is left."""
    name, at, domain = email.rpartition("@")
    if not at:
        return "*" * len(email) or "-"
    return f"{name[:1]}{'*' * len(name[1:])}@{domain}"


def _column(name: str, show: Callable[[Any], object], description: str) -> Callable[..., object]:
    @admin.display(ordering=name, description=description or name.replace("_", " "))
    def column(_self: object, row: Model) -> object:
        value: Any = row
        for part in name.split("__"):
            value = getattr(value, part, None)
        return show(value)

    return column


def text_column(name: str, description: str) -> Callable[..., object]:
    """A column or read-only field under a name of its own."""
    return _column(name, lambda value: "-" if value in (None, "") else str(value), description)


def kcash_column(name: str, description: str = "") -> Callable[..., object]:
    """A column or read-only field showing an amount with its unit."""
    return _column(name, kcash, description)


def moment_column(name: str, description: str = "") -> Callable[..., object]:
    """A column or read-only field showing an instant in UTC."""
    return _column(name, moment, description)


def minute_column(name: str, description: str) -> Callable[..., object]:
    """A narrow column for lists: an instant in UTC to the minute, said in its heading."""
    return _column(name, lambda at: f"{at:%Y-%m-%d %H:%M}" if at else "-", f"{description} (UTC)")


def short_column(name: str, description: str = "") -> Callable[..., object]:
    """A column showing an address or a hash, cut in its middle."""
    return _column(name, short, description)


def link_column(name: str, description: str = "") -> Callable[..., object]:
    """A column or read-only field linking to the page of a related row."""
    return _column(name, link, description)


# --- Panels: tables on the page of a row ---------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Rows shown on a page; `empty` is the sentence in their place when there are none."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    empty: str
    # (address, text) of the pages before and after, or of the list that has it all.
    links: Sequence[tuple[str, str]] = field(default=())
    # Sent back to the same page by GET; what the rows are chosen by.
    form: forms.Form | None = None
    # Where the page asks for the address of a stream that keeps the rows as they are now.
    live: str = ""


@dataclass(frozen=True)
class _Panel:
    title: str
    order: int
    rows_of: Callable[[HttpRequest, Any], Table]
    permission: str


_panels: dict[type[Model], list[_Panel]] = {}


def panel(
    model: type[M], title: str, *, order: int = 100, permission: str = ""
) -> Callable[[Callable[[HttpRequest, M], Table]], Callable[[HttpRequest, M], Table]]:
    """Show the decorated function's table on the page of each row of `model`.

    Whoever sees the page sees it, or those alone who have `permission`.
    """

    def register(
        rows_of: Callable[[HttpRequest, M], Table],
    ) -> Callable[[HttpRequest, M], Table]:
        panels = _panels.setdefault(model, [])
        panels.append(_Panel(title, order, rows_of, permission))
        panels.sort(key=lambda panel: panel.order)
        return rows_of

    return register


# --- Acts: what staff do to a row, with a reason -------------------------------------------------


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=500,
        help_text="Kept in the history with your name.",
        widget=forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"}),
    )


@dataclass(frozen=True)
class Done:
    """What the act says when it is done; a secret is shown on its own page, this once.

    So is what was revealed, in lines of a name and a value each. A file is sent to whoever acted.
    """

    message: str
    secret: str = ""
    # (what it is, the secret itself), where the page of a game's secret does not fit.
    handed: Sequence[tuple[str, str]] = ()
    revealed: Sequence[tuple[str, str]] = ()
    file: "Download | None" = None


@dataclass(frozen=True)
class Download:
    name: str
    content: bytes
    content_type: str = "application/json"


class Act(Generic[M]):
    """Something staff do to one row: first says what will happen, asks for a reason, is logged.

    `perform` makes one call of a subject function. A refusal is shown on the form.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    roles: ClassVar[Collection[str]]
    form_class: type[forms.Form] = ReasonForm
    is_dangerous: ClassVar[bool] = False
    # False for what changes nothing that anybody sees.
    asks_why: ClassVar[bool] = True

    def is_offered(self, row: M) -> bool:
        return True

    def form(self, row: M, data: QueryDict | None) -> forms.Form:
        return self.form_class(data)

    def consequences(self, row: M) -> Sequence[str]:
        raise NotImplementedError

    def perform(self, request: HttpRequest, row: M, data: dict[str, Any]) -> Done:
        raise NotImplementedError

    def state(self, row: M) -> dict[str, Any]:
        """What the history compares: the row itself, or what else the act changes."""
        return audit.state_of(row)


_acts: dict[type[Model], list[Act[Any]]] = {}


def act(model: type[M]) -> Callable[[type[Act[M]]], type[Act[M]]]:
    """Offer the decorated act on the page of each row of `model`."""

    def register(kind: type[Act[M]]) -> type[Act[M]]:
        _acts.setdefault(model, []).append(kind())
        return kind

    return register


# --- Pages ---------------------------------------------------------------------------------------


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Counts no further than the longest list: a full count of a table of money takes minutes."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Model] = self.object_list  # type: ignore[assignment]  # of a list page
        return rows.order_by()[:LONGEST_LIST].count()


class AuditedAdmin(ModelAdmin[M]):
    """A page whose every saved form is written down, in the transaction that saves it."""

    def state_of(self, row: Model) -> dict[str, Any]:
        return audit.state_of(row)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method != "POST":
            return super().changeform_view(request, object_id, form_url, extra_context)
        with transaction.atomic():
            row = self.get_object(request, unquote(object_id)) if object_id else None
            before = self.state_of(row) if row is not None else {}
            request.state_before = before  # type: ignore[attr-defined]  # a plain attribute of ours
            return super().changeform_view(request, object_id, form_url, extra_context)

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        changed = ", ".join(name for name in form.changed_data if name != "reason")
        return {
            "label": "Made" if add else f"Changed {changed}",
            "reason": form.cleaned_data.get("reason") or "",
        }

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        audit.record(name="add", row=obj, after=self.state_of(obj), request=request, **message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        before = getattr(request, "state_before", {})
        after = self.state_of(obj)
        audit.record(name="change", row=obj, before=before, after=after, request=request, **message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[M]) -> Any:
        for row in queryset:
            before = self.state_of(row)
            audit.record(name="delete", label="Deleted", row=row, before=before, request=request)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        kept = StaffAct.objects.filter(object_type=self.opts.label_lower, object_pk=str(row.pk))
        history = Table(
            columns=["When", "Who", "What, and why"],
            rows=[
                (moment(one.at), one.by_name, one.line())
                for one in kept.order_by("-id")[:LONGEST_HISTORY]
            ],
            empty="Staff have done nothing here.",
        )
        context = {
            **self.admin_site.each_context(request),
            "title": "History",
            "opts": self.opts,
            "row": row,
            "back": reverse(
                f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[quote(row.pk)]
            ),
            "panels": [("What staff did", history)],
        }
        return TemplateResponse(request, "admin/panels.html", context)


class ConsoleAdmin(AuditedAdmin[M]):
    """A page of the console, with its panels and acts, and with who may do what on it."""

    # Of view, add, change and delete; each act names its own roles.
    roles: ClassVar[dict[str, Collection[str]]] = {}

    change_form_template = "admin/row_page.html"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each is a count of the whole table
    paginator = CappedPaginator
    list_per_page = 50
    actions = None

    def formfield_for_dbfield(
        self, db_field: "Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        """Other rows are chosen here and looked after elsewhere: no buttons to make or edit them."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            widget = field.widget
            widget.can_add_related = widget.can_change_related = widget.can_view_related = False
        return field

    def acts(self) -> Sequence[Act[M]]:
        return _acts.get(self.model, ())

    def _page_of(self, verb: str) -> str:
        return f"admin:{self.opts.app_label}_{self.opts.model_name}_{verb}"

    def may_act(self, request: HttpRequest, act: Act[M], row: M | None = None) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.{_codename(act.name, self.model)}")

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{act.name}/",
                self.admin_site.admin_view(partial(self.act_view, act=act)),
                name=self._page_of(act.name).removeprefix("admin:"),
            )
            for act in self.acts()
        ]
        return own + super().get_urls()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[M], search_term: str
    ) -> tuple[QuerySet[M], bool]:
        """Addresses and hashes are kept in lower case, and so are found by their index."""
        is_hex = search_term.lower().startswith("0x")
        term = search_term.lower() if is_hex else search_term
        return super().get_search_results(request, queryset, term)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = {"title": str(self.opts.verbose_name_plural).capitalize()}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        panels, acts = [], []
        if row is not None and self.has_view_permission(request, row):
            panels = [
                (one.title, one.rows_of(request, row))
                for one in self.panels()
                if not one.permission or request.user.has_perm(one.permission)
            ]
            acts = [
                (act, reverse(self._page_of(act.name), args=[quote(row.pk)]))
                for act in self.acts()
                if self.may_act(request, act, row) and act.is_offered(row)
            ]
        context = {
            "title": str(self.opts.verbose_name).capitalize(),
            "subtitle": self.title_of(row) if row is not None else None,
            "panels": panels,
            "acts": acts,
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A refusal that no form can foresee is told; nothing was changed."""
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        context = {**buttons, **(extra_context or {})}
        try:
            return super().changeform_view(request, object_id, form_url, context)
        except Refusal as refusal:
            self.message_user(request, str(refusal), level=messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def response_change(self, request: HttpRequest, obj: M) -> HttpResponse:
        self.message_user(request, f"Changed: {obj}.", level=messages.SUCCESS)
        return HttpResponseRedirect(reverse(self._page_of("change"), args=[quote(obj.pk)]))

    def panels(self) -> Sequence[_Panel]:
        return _panels.get(self.model, ())

    def title_of(self, row: M) -> str:
        """What the row's page is headed with."""
        return str(row)

    def act_view(self, request: HttpRequest, object_id: str, act: Act[M]) -> HttpResponse:
        """Ask, do, write it into the history, and go back to the row's page."""
        row = self.get_object(request, unquote(object_id))
        # First: whoever may not act does not learn which rows there are.
        if not self.may_act(request, act, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        back = reverse(self._page_of("change"), args=[quote(row.pk)])
        if not act.is_offered(row):
            self.message_user(
                request, f"“{act.label}” is not possible any more.", level=messages.WARNING
            )
            return HttpResponseRedirect(back)

        form = act.form(row, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                with transaction.atomic():
                    before = act.state(row)
                    done = act.perform(request, row, form.cleaned_data)
                    details = dict(form.cleaned_data)
                    audit.record(
                        name=act.name,
                        label=act.label,
                        row=row,
                        reason=details.pop("reason") if act.asks_why else "",
                        details=details,
                        before=before,
                        after=act.state(row),
                        request=request,
                    )
            except Refusal as refusal:
                form.add_error(None, str(refusal))
            else:
                if done.secret or done.handed:
                    return self.show_secret(request, row, done)
                if done.revealed:
                    return self.show_revealed(request, row, done)
                if done.file is not None:
                    return _attachment(done.file)
                self.message_user(request, done.message, level=messages.SUCCESS)
                return HttpResponseRedirect(back)

        context = {
            **self.admin_site.each_context(request),
            "title": act.label,
            "subtitle": self.title_of(row),
            "opts": self.opts,
            "media": self.media + form.media,
            "row": row,
            "act": act,
            "form": form,
            "consequences": act.consequences(row),
            "back": back,
        }
        return TemplateResponse(request, "admin/act.html", context)

    def show_secret(self, request: HttpRequest, row: M, done: Done) -> HttpResponse:
        """The one page that ever shows the secret: it goes into no cookie, session or log."""
        context = {
            **self.admin_site.each_context(request),
            "title": done.message,
            "opts": self.opts,
            "row": row,
            "secret": done.secret,
            "handed": done.handed,
        }
        return TemplateResponse(request, "admin/secret_once.html", context)

    def show_revealed(self, request: HttpRequest, row: M, done: Done) -> HttpResponse:
        """Likewise the one page that shows what is masked everywhere else."""
        context = {
            **self.admin_site.each_context(request),
            "title": done.message,
            "opts": self.opts,
            "row": row,
            "lines": done.revealed,
        }
        return TemplateResponse(request, "admin/revealed_once.html", context)


class ReadOnlyAdmin(ConsoleAdmin[M]):
    """Rows that nobody adds, changes or deletes by hand; a page shows its `readonly_fields`."""

    def get_fields(self, request: HttpRequest, obj: M | None = None) -> Any:
        return self.readonly_fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


def _attachment(file: Download) -> HttpResponse:
    response = HttpResponse(file.content, content_type=file.content_type)
    response["Content-Disposition"] = f'attachment; filename="{file.name}"'
    return response


# --- Roles ---------------------------------------------------------------------------------------


def make_roles() -> dict[str, list[str]]:
    """Give the staff groups exactly the permissions that the pages name, and tell which."""
    wanted: dict[str, list[Permission]] = {OPERATORS: [], SUPPORT: [], FINANCE: [], ADMINS: []}
    for model, page in admin.site._registry.items():
        if not isinstance(page, ConsoleAdmin):
            continue
        for role, verbs in page.roles.items():
            wanted[role] += [_permission(model, verb) for verb in verbs]
        for one in page.acts():
            for role in one.roles:
                wanted[role].append(_permission(model, one.name))
    for role, permissions in wanted.items():
        Group.objects.get_or_create(name=role)[0].permissions.set(permissions)
    return {
        role: sorted(permission.codename for permission in permissions)
        for role, permissions in wanted.items()
    }


def _permission(model: type[Model], verb: str) -> Permission:
    permission, _ = Permission.objects.get_or_create(
        content_type=ContentType.objects.get_for_model(model),
        codename=_codename(verb, model),
        defaults={"name": f"Can {verb.replace('_', ' ')} {model._meta.verbose_name}"},
    )
    return permission


def _codename(verb: str, model: type[Model]) -> str:
    return get_permission_codename(verb, model._meta)
