"""What staff did, for who looks after them."""

import json
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from kgen.common.admin import ADMINS, ReadOnlyAdmin, minute_column, moment_column, text_column
from kgen.common.models import StaffAct

DAYS: Final = (1, 7, 30, 365)


class WhenFilter(admin.SimpleListFilter):
    title, parameter_name = "when", "days"

    def lookups(self, request: HttpRequest, page: Any) -> list[tuple[str, str]]:
        return [(str(days), f"last {days} days" if days > 1 else "last day") for days in DAYS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        days = {str(days): timedelta(days=days) for days in DAYS}.get(self.value() or "")
        return queryset.filter(at__gt=timezone.now() - days) if days else queryset


class WhoFilter(admin.SimpleListFilter):
    title, parameter_name = "who", "who"

    def lookups(self, request: HttpRequest, page: Any) -> list[tuple[str, str]]:
        staff = User.objects.filter(is_staff=True).order_by("username")
        return [(str(pk), name) for pk, name in staff.values_list("pk", "username")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        who = self.value()
        return queryset.filter(by=who) if who and who.isdecimal() else queryset


class ObjectFilter(admin.SimpleListFilter):
    title, parameter_name = "to what", "object"

    def lookups(self, request: HttpRequest, page: Any) -> list[tuple[str, str]]:
        """What pages there are of, without looking through a table that only grows."""
        kinds = [model._meta for model in admin.site._registry]
        return sorted((kind.label_lower, str(kind.verbose_name)) for kind in kinds)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(object_type=self.value()) if self.value() else queryset


class ActFilter(admin.SimpleListFilter):
    title, parameter_name = "what", "act"

    def lookups(self, request: HttpRequest, page: Any) -> list[tuple[str, str]]:
        pages = admin.site._registry.values()
        acts = {act.name for page in pages for act in getattr(page, "acts", tuple)()}
        named = {*acts, *ALWAYS}
        return [(name, name.replace("_", " ")) for name in sorted(named)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(name=self.value()) if self.value() else queryset


# What is written down beside the acts of pages.
ALWAYS: Final = (
    "add",
    "change",
    "export",
    "locked_out",
    "login",
    "login_failed",
    "logout",
    "wrong_code",
)


@admin.register(StaffAct)
class StaffActAdmin(ReadOnlyAdmin[StaffAct]):
    roles = {ADMINS: ("view",)}
    list_display = ["when", "by_name", "roles_then", "what", "to", "address"]
    list_filter = [WhenFilter, WhoFilter, ActFilter, ObjectFilter]
    ordering = ["-id"]
    sortable_by = ()
    search_fields = ["object_pk__exact", "by_name__exact", "request_id__exact"]
    search_help_text = "Id of what it was done to, name of who did it, or request id"
    readonly_fields = [
        "exactly",
        "by_name",
        "roles_then",
        "label",
        "why",
        "to",
        "filled_in",
        "was",
        "became",
        "address",
        "request_id",
    ]

    when = minute_column("at", "when")
    exactly = moment_column("at", "when")
    roles_then = text_column("roles", "in the roles")
    why = text_column("reason", "reason")

    @admin.display(description="what, and why")
    def what(self, act: StaffAct) -> str:
        return act.line()

    @admin.display(description="to")
    def to(self, act: StaffAct) -> str:
        kind = act.object_type.partition(".")[2]
        return f"{kind} {act.object_pk}: {act.object_text}" if kind else "-"

    @admin.display(description="filled in")
    def filled_in(self, act: StaffAct) -> SafeString | str:
        return _shown(act.details)

    @admin.display(description="before")
    def was(self, act: StaffAct) -> SafeString | str:
        return _shown(act.before)

    @admin.display(description="after")
    def became(self, act: StaffAct) -> SafeString | str:
        return _shown(act.after)


def _shown(values: dict[str, Any]) -> SafeString | str:
    if not values:
        return "-"
    return format_html("<pre>{}</pre>", json.dumps(values, indent=2, ensure_ascii=False))
