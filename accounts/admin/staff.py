"""The people who work with the console."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts import staff
from kgen.common.admin import (
    ADMINS,
    Act,
    ConsoleAdmin,
    Done,
    ReasonForm,
    Table,
    act,
    badge,
    moment,
    moment_column,
    panel,
)
from kgen.common.models import Authenticator, BackupCode, StaffAct

# As many rows as one looks through; the history has them all.
NEWEST = 20

admin.site.unregister(User)
admin.site.unregister(Group)


class Roles(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # not subscriptable
    def __init__(self, **options: Any) -> None:
        super().__init__(
            Group.objects.order_by("name"), widget=forms.CheckboxSelectMultiple, **options
        )


class NewStaffForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    roles = Roles(required=False, label="Roles")
    reason = forms.CharField(max_length=500, help_text="Kept in the history with your name.")

    class Meta:
        model = User
        fields = ["username", "first_name", "last_name"]


@admin.register(User)
class StaffAdmin(ConsoleAdmin[User]):
    """Staff get their rights from roles. Whatever changes them is an act, and none is on oneself."""

    roles = {ADMINS: ("view", "add")}
    form = NewStaffForm
    list_display = ["username", "full_name", "role", "state", "last_seen"]
    list_filter = ["is_active", "groups"]
    search_fields = ["username", "first_name", "last_name"]
    ordering = ["username"]
    readonly_fields = ["username", "full_name", "role", "state", "factors", "last_seen", "made"]

    last_seen = moment_column("last_login", "last signed in")
    made = moment_column("date_joined", "made at")

    @admin.display(description="name")
    def full_name(self, user: User) -> str:
        return user.get_full_name() or "-"

    @admin.display(description="roles")
    def role(self, user: User) -> str:
        names = sorted(group.name for group in user.groups.all())
        return ", ".join(["superuser", *names] if user.is_superuser else names) or "none"

    @admin.display(description="state")
    def state(self, user: User) -> SafeString:
        return badge("active", good=True) if user.is_active else badge("switched off", bad=True)

    @admin.display(description="signs in with")
    def factors(self, user: User) -> str:
        app = "an authenticator" if Authenticator.objects.filter(user=user).exists() else "nothing"
        left = BackupCode.objects.filter(backup_codes__user=user).count()
        return (
            f"{'a password and ' if user.has_usable_password() else ''}{app}, {left} backup codes"
        )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(is_staff=True).prefetch_related("groups")

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        new = ["username", "first_name", "last_name", "roles", "reason"]
        return [(None, {"fields": new if obj is None else self.readonly_fields})]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        return [] if obj is None else self.readonly_fields

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def state_of(self, row: Any) -> dict[str, Any]:
        return staff.state_of(row)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        obj.is_staff = True
        obj.set_unusable_password()
        obj.save()
        staff.set_roles(user=obj, roles=form.cleaned_data["roles"])

    def response_add(
        self, request: HttpRequest, obj: User, post_url_continue: str | None = None
    ) -> HttpResponse:
        self.message_user(request, f"Hand {obj} a password and an authenticator now.")
        return HttpResponseRedirect(reverse("admin:auth_user_change", args=[obj.pk]))

    def may_act(self, request: HttpRequest, act: Act[User], row: User | None = None) -> bool:
        """Nobody on oneself, and on a superuser only one of them."""
        if row is not None and (row.pk == request.user.pk and act.name not in ON_ONESELF):
            return False
        if (
            row is not None
            and row.is_superuser
            and not getattr(request.user, "is_superuser", False)
        ):
            return False
        return super().may_act(request, act, row)


# What takes nothing from anybody and gives nothing away.
ON_ONESELF = ("end_sessions",)


class StaffMemberAct(Act[User]):
    roles = (ADMINS,)

    def state(self, user: User) -> dict[str, Any]:
        return staff.state_of(user)


class RolesForm(ReasonForm):
    roles = Roles(required=False, label="Roles")
    field_order = ["roles", "reason"]

    def __init__(self, data: QueryDict | None, *, user: User) -> None:
        super().__init__(data, initial={"roles": user.groups.all()})


@act(User)
class SetRoles(StaffMemberAct):
    name, label = "set_roles", "Set the roles"
    is_dangerous = True

    def form(self, user: User, data: QueryDict | None) -> RolesForm:
        return RolesForm(data, user=user)

    def consequences(self, user: User) -> list[str]:
        return [f"From the next request on, {user} may do what the chosen roles may, and no more."]

    def perform(self, request: HttpRequest, user: User, data: dict[str, Any]) -> Done:
        staff.set_roles(user=user, roles=data["roles"])
        return Done(f"The roles of {user} are set.")


@act(User)
class HandOutPassword(StaffMemberAct):
    name, label = "hand_out_password", "Hand out a new password"
    is_dangerous = True

    def consequences(self, user: User) -> list[str]:
        return [
            f"{user} gets a new password, shown once on the next page, and is signed out.",
            "The old one works no more. They should change it when they have signed in.",
        ]

    def perform(self, request: HttpRequest, user: User, data: dict[str, Any]) -> Done:
        password = staff.hand_out_password(user=user)
        return Done(f"New password of {user}", handed=(("Password", password),))


@act(User)
class MakeAuthenticator(StaffMemberAct):
    name, label = "make_authenticator", "Make a new authenticator"
    is_dangerous = True

    def consequences(self, user: User) -> list[str]:
        return [
            f"{user} gets a new authenticator, shown once on the next page, and is signed out.",
            "The one before, if there is one, works no more.",
        ]

    def perform(self, request: HttpRequest, user: User, data: dict[str, Any]) -> Done:
        seed = staff.make_authenticator(user=user)
        return Done(
            f"New authenticator of {user}",
            handed=(("Key for the app", seed.base32), ("The same as a link", seed.uri)),
        )


@act(User)
class MakeBackupCodes(StaffMemberAct):
    name, label = "make_backup_codes", "Make new backup codes"
    is_dangerous = True

    def consequences(self, user: User) -> list[str]:
        return [
            f"{user} gets {staff.BACKUP_CODES} codes, shown once on the next page.",
            "Each signs in once in place of the authenticator. Those before work no more.",
        ]

    def perform(self, request: HttpRequest, user: User, data: dict[str, Any]) -> Done:
        codes = staff.make_backup_codes(user=user)
        return Done(f"Backup codes of {user}", handed=(("Backup codes", " ".join(codes)),))


@act(User)
class EndSessions(StaffMemberAct):
    name, label = "end_sessions", "Sign out everywhere"

    def consequences(self, user: User) -> list[str]:
        return [f"Every browser in which {user} is signed in has to sign in again."]

    def perform(self, request: HttpRequest, user: User, data: dict[str, Any]) -> Done:
        ended = staff.end_sessions(user=user)
        return Done(f"{user} is signed out of {ended} session{'s' if ended != 1 else ''}.")


@act(User)
class SwitchOff(StaffMemberAct):
    name, label = "switch_off", "Switch off"
    is_dangerous = True

    def is_offered(self, user: User) -> bool:
        return user.is_active

    def consequences(self, user: User) -> list[str]:
        return [f"{user} is signed out at once and cannot sign in any more."]

    def perform(self, request: HttpRequest, user: User, data: dict[str, Any]) -> Done:
        staff.set_active(user=user, is_active=False)
        return Done(f"{user} is switched off.")


@act(User)
class SwitchOn(StaffMemberAct):
    name, label = "switch_on", "Switch on again"

    def is_offered(self, user: User) -> bool:
        return not user.is_active

    def consequences(self, user: User) -> list[str]:
        return [f"{user} can sign in again, with the roles, password and authenticator as before."]

    def perform(self, request: HttpRequest, user: User, data: dict[str, Any]) -> Done:
        staff.set_active(user=user, is_active=True)
        return Done(f"{user} is switched on.")


@panel(User, "What they did", order=10)
def acts_of_staff(request: HttpRequest, user: User) -> Table:
    return _table(StaffAct.objects.filter(by=user))


@panel(User, "What was done to their account", order=20)
def acts_on_staff(request: HttpRequest, user: User) -> Table:
    return _table(StaffAct.objects.filter(object_type="auth.user", object_pk=str(user.pk)))


def _table(acts: Any) -> Table:
    return Table(
        columns=["When", "Who", "To", "What, and why", "From"],
        rows=[
            (moment(one.at), one.by_name, one.object_text or "-", one.line(), one.address or "-")
            for one in acts.order_by("-id")[:NEWEST]
        ],
        empty="Nothing yet.",
    )
