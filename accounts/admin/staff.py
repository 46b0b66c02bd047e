"""The people who work with the console."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User

from kgen.common.admin import AuditedAdmin

admin.site.unregister(User)


@admin.register(User)
class StaffAdmin(AuditedAdmin[User], UserAdmin):  # type: ignore[type-arg]  # not subscriptable
    """Staff get their rights from a group: nobody is made a superuser by a click."""

    list_display = ["username", "first_name", "last_name", "is_active", "last_login"]
    list_filter = ["is_active", "groups"]
    fieldsets = [
        (None, {"fields": ["username", "password", "first_name", "last_name", "email"]}),
        ("May", {"fields": ["is_active", "is_staff", "groups"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    readonly_fields = ["last_login", "date_joined"]
