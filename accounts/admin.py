"""Games with their client credentials, and the gamers whom support looks for."""

import re
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from accounts import clients
from accounts.models import Game, Gamer, GameSecret, OtpRequest, Session
from kgen.common.admin import (
    FINANCE,
    OPERATORS,
    SUPPORT,
    Act,
    ConsoleAdmin,
    Done,
    ReadOnlyAdmin,
    ReasonForm,
    Table,
    act,
    badge,
    kcash_column,
    link_column,
    mask_phone,
    moment,
    moment_column,
    panel,
    text_column,
)

# As many rows as one looks through; what is older is found by its own search.
NEWEST: Final = 20

ADDRESS: Final = re.compile(r"0[xX][0-9a-fA-F]{40}")
PHONE: Final = re.compile(r"\+?[0-9]{7,15}")


# --- Games ---------------------------------------------------------------------------------------


class GameForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    reason = forms.CharField(
        max_length=500, help_text="Kept in the history with your name.", required=False
    )

    class Meta:
        labels = {
            "is_active": "Active",
            "is_sandbox": "Sandbox",
            "min_withdrawal": "Least withdrawal",
            "rate_limit": "Request limit",
            "gamer_event_rate": "Event limit",
            "rake_percent": "Rake",
        }
        help_texts = {
            "is_active": "May call the API.",
            "is_sandbox": "Plays for KCash of no value; cannot be changed later.",
            "game_uid": "How the game names itself in events; cannot be changed later.",
            "min_withdrawal": "KCash, whole units.",
            "rake_percent": "Percent of the stakes, of tournaments drafted from now on.",
        }

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.instance.pk and self.has_changed() and not data.get("reason"):
            self.add_error("reason", "Say why you change it.")
        return data


@admin.register(Game)
class GameAdmin(ConsoleAdmin[Game]):
    roles = {OPERATORS: ("view", "add", "change"), SUPPORT: ("view",), FINANCE: ("view",)}
    form = GameForm
    list_display = ["name", "game_uid", "state", "kind", "least_withdrawal", "made"]
    list_filter = ["is_active", "is_sandbox"]
    search_fields = ["name", "game_uid", "client_id"]
    ordering = ["name"]
    prepopulated_fields = {"game_uid": ("name",)}

    least_withdrawal = kcash_column("min_withdrawal", "least withdrawal")
    goes_by_itself = kcash_column("auto_approve_limit", "largest withdrawal without approval")
    made = moment_column("created_at", "made at")
    app_id = text_column("uid", "app id")

    @admin.display(description="state", ordering="is_active")
    def state(self, game: Game) -> str:
        return badge("active", good=True) if game.is_active else badge("disabled", bad=True)

    @admin.display(description="kind", ordering="is_sandbox")
    def kind(self, game: Game) -> str:
        return "sandbox" if game.is_sandbox else "real money"

    def get_fieldsets(self, request: HttpRequest, obj: Game | None = None) -> Any:
        limits = ["min_withdrawal", "rate_limit", "gamer_event_rate", "rake_percent"]
        if obj is None:
            return [(None, {"fields": ["name", "game_uid", "is_sandbox", *limits]})]
        fieldsets = [
            (None, {"fields": ["name", "game_uid", "client_id", "app_id", "kind", "made"]}),
            ("Settings", {"fields": ["is_active", *limits, "goes_by_itself"]}),
        ]
        if self.has_change_permission(request, obj):
            fieldsets.append(("Why", {"fields": ["reason"]}))
        return fieldsets

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Game:
        if change:
            game: Game = super().save_form(request, form, change)
            return game
        fields = form.cleaned_data
        new = clients.create_game(
            name=fields["name"],
            game_uid=fields["game_uid"],
            is_sandbox=fields["is_sandbox"],
            min_withdrawal=fields["min_withdrawal"],
            rate_limit=fields["rate_limit"],
            gamer_event_rate=fields["gamer_event_rate"],
            rake_percent=fields["rake_percent"],
            now=timezone.now(),
        )
        new.game.shown_once = new.secret  # type: ignore[attr-defined]  # for `response_add` alone
        form.save_m2m = form._save_m2m
        return new.game

    def save_model(self, request: HttpRequest, obj: Game, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=[name for name in form.changed_data if name != "reason"])

    def response_add(self, request: HttpRequest, obj: Game, post_url_continue: Any = None) -> Any:
        done = Done(f"Client credentials of {obj}", secret=obj.shown_once)  # type: ignore[attr-defined]
        return self.show_secret(request, obj, done)

    def get_readonly_fields(self, request: HttpRequest, obj: Game | None = None) -> list[str]:
        if obj is None:
            return []
        return ["game_uid", "client_id", "app_id", "kind", "made", "goes_by_itself"]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Game | None = None) -> Any:
        return self.prepopulated_fields if obj is None else {}

    def has_delete_permission(self, request: HttpRequest, obj: Game | None = None) -> bool:
        return False


@panel(Game, "Client secrets")
def secrets_of_game(request: HttpRequest, game: Game) -> Table:
    return Table(
        columns=["Made", "Last used", "State"],
        rows=[
            (
                moment(secret.created_at),
                moment(secret.last_used_at),
                "valid"
                if secret.disabled_at is None
                else f"disabled {secret.disabled_at:%Y-%m-%d}",
            )
            for secret in game.secrets.order_by("-id")
        ],
        empty="No secret: the game cannot call the API. Add one.",
    )


@act(Game)
class AddSecret(Act[Game]):
    name, label, roles = "add_secret", "Add a second secret", (OPERATORS,)

    def is_offered(self, game: Game) -> bool:
        return _secrets_in_use(game).count() < clients.MOST_SECRETS

    def consequences(self, game: Game) -> list[str]:
        return [
            f"{game} gets a new client secret, shown once on the next page.",
            "The secrets in use stay valid, so nothing breaks while the game's server changes over.",
            "Disable the old one when the new one is in use.",
        ]

    def perform(self, request: HttpRequest, game: Game, data: dict[str, Any]) -> Done:
        secret = clients.add_secret(game=game, now=timezone.now())
        return Done(f"New client secret of {game}", secret=secret)


class SecretChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # not subscriptable at run time
    def label_from_instance(self, obj: GameSecret) -> str:
        used = f"{obj.last_used_at:%Y-%m-%d %H:%M} UTC" if obj.last_used_at else "never"
        return f"made {obj.created_at:%Y-%m-%d %H:%M} UTC, last used: {used}"


class DisableSecretForm(ReasonForm):
    secret = SecretChoice(GameSecret.objects.none(), empty_label=None)
    field_order = ["secret", "reason"]

    def __init__(self, data: QueryDict | None, *, game: Game) -> None:
        super().__init__(data)
        self.fields["secret"].queryset = _secrets_in_use(game)  # type: ignore[attr-defined]


@act(Game)
class DisableSecret(Act[Game]):
    name, label, roles = "disable_secret", "Disable a secret", (OPERATORS,)
    is_dangerous = True

    def is_offered(self, game: Game) -> bool:
        return _secrets_in_use(game).exists()

    def form(self, game: Game, data: QueryDict | None) -> DisableSecretForm:
        return DisableSecretForm(data, game=game)

    def consequences(self, game: Game) -> list[str]:
        in_use = _secrets_in_use(game).count()
        lines = [
            "From the next request on, calls with this secret are refused. It cannot be undone."
        ]
        if in_use == 1:
            lines.append(f"It is the only one: {game} will be cut off from the API.")
        return lines

    def perform(self, request: HttpRequest, game: Game, data: dict[str, Any]) -> Done:
        _secrets_in_use(game).filter(pk=data["secret"].pk).update(disabled_at=timezone.now())
        return Done(f"The secret made {data['secret'].created_at:%Y-%m-%d} is disabled.")


def _secrets_in_use(game: Game) -> QuerySet[GameSecret]:
    return game.secrets.filter(disabled_at=None).order_by("-id")


# --- Gamers --------------------------------------------------------------------------------------


@admin.register(Gamer)
class GamerAdmin(ReadOnlyAdmin[Gamer]):
    roles = {OPERATORS: ("view",), SUPPORT: ("view",)}
    list_display = ["gamer_id", "username", "game", "phone_masked", "state", "first_seen"]
    list_select_related = ["game", "kgen_account"]
    list_filter = ["is_blocked", "game"]
    ordering = ["-id"]
    sortable_by = ()
    search_fields = ["gamer_id"]  # what a search looks at is in `get_search_results`
    search_help_text = (
        "Phone, gamer id, username, e-mail, account id, custodial or KGeN wallet address"
    )
    readonly_fields = [
        "account_id",
        "phone",
        "game_link",
        "link_state",
        "first_seen",
        "state",
        "joined_game",
    ]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("gamer_id", "username", "name"),
                    ("game_link", "state", "first_seen"),
                    "account_id",
                ]
            },
        ),
        ("KGeN wallet", {"fields": [("link_state", "phone")]}),
        (
            "Profile, as the game told it",
            {
                "classes": ["collapse"],
                "fields": [
                    "email",
                    "phonenumber",
                    "playertag",
                    "device_id",
                    "level",
                    "rank",
                    "joined_game",
                    "location",
                    "location_name",
                ],
            },
        ),
    ]

    first_seen = moment_column("created_at", "first seen")
    account_id = text_column("uid", "account id")
    game_link = link_column("game")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Gamer], search_term: str
    ) -> tuple[QuerySet[Gamer], bool]:
        term = search_term.strip().replace("\x00", "")
        return (queryset.filter(_matching(term)) if term else queryset), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Who was searched for and is the only one found is what is shown."""
        term = request.GET.get("q", "").strip()
        if term and self.has_view_permission(request) and set(request.GET) == {"q"}:
            found, _ = self.get_search_results(request, self.get_queryset(request), term)
            first_two = found.values_list("pk", flat=True)[:2]
            if len(first_two) == 1:
                page = reverse("admin:accounts_gamer_change", args=[first_two[0]])
                return HttpResponseRedirect(page)
        return super().changelist_view(request, extra_context)

    @admin.display(description="phone")
    def phone_masked(self, gamer: Gamer) -> str:
        return mask_phone(gamer.kgen_account.phone) if gamer.kgen_account else "-"

    @admin.display(description="phone")
    def phone(self, gamer: Gamer) -> str:
        return gamer.kgen_account.phone if gamer.kgen_account else "-"

    @admin.display(description="link")
    def link_state(self, gamer: Gamer) -> str:
        return badge("linked", good=True) if gamer.kgen_account else badge("not linked yet")

    @admin.display(description="state")
    def state(self, gamer: Gamer) -> str:
        return badge("blocked", bad=True) if gamer.is_blocked else "may play"

    @admin.display(description="joined the game")
    def joined_game(self, gamer: Gamer) -> str:
        """Unix milliseconds, as the game told them: not every number is a date."""
        try:
            told = datetime.fromtimestamp((gamer.date_joined or 0) / 1000, UTC)
        except (OverflowError, ValueError, OSError):
            return str(gamer.date_joined)
        return moment(told if gamer.date_joined is not None else None)


def _matching(term: str) -> Q:
    """Gamers that a search term names: each kind of term looks only where it can be found."""
    if ADDRESS.fullmatch(term):
        address = term.lower()
        return Q(wallet__address=address) | Q(kgen_account__wallet__address=address)
    try:
        return Q(uid=UUID(term)) | Q(gamer_id=term)
    except ValueError:
        pass
    digits = re.sub(r"[\s()-]", "", term)
    if PHONE.fullmatch(digits):
        national = digits.removeprefix("+").removeprefix("00").lstrip("0")
        exact = f"+{national}"
        by_phone = Q(kgen_account__phone=exact)
        if not digits.startswith(("+", "00")):
            by_phone |= Q(kgen_account__phone__endswith=national)
        return by_phone | Q(gamer_id=term)
    return Q(gamer_id__startswith=term) | Q(username__istartswith=term) | Q(email__iexact=term)


@panel(Gamer, "Sessions", order=60)
def sessions_of_gamer(request: HttpRequest, gamer: Gamer) -> Table:
    now = timezone.now()
    return Table(
        columns=["Started", "Ends", "Device", "State"],
        rows=[
            (
                moment(session.started_at),
                moment(session.ends_at),
                session.device_id or "-",
                _session_state(session, now),
            )
            for session in gamer.sessions.order_by("-id")[:NEWEST]
        ],
        empty="The game has opened no session yet.",
    )


def _session_state(session: Session, now: datetime) -> SafeString:
    if session.revoked_at is not None:
        return badge("revoked", bad=True)
    return badge("open", good=True) if session.ends_at > now else badge("over")


@panel(Gamer, "One-time passwords sent", order=70)
def otp_requests_of_gamer(request: HttpRequest, gamer: Gamer) -> Table:
    now = timezone.now()
    sent = OtpRequest.objects.filter(gamer=gamer).order_by("-created_at")[:NEWEST]
    return Table(
        columns=["Sent", "Phone", "State", "Tries"],
        rows=[
            (moment(one.created_at), one.phone, _otp_state(one, now), one.attempts) for one in sent
        ],
        empty="None was asked for.",
    )


def _otp_state(request: OtpRequest, now: datetime) -> SafeString:
    if request.undelivered_at is not None:
        return badge("not delivered", bad=True)
    if request.used_at is not None:
        return badge("used", good=True)
    if request.attempts >= settings.OTP_TRIES:
        return badge("too many tries", bad=True)
    return badge("expired") if request.expires_at <= now else badge("waiting", busy=True)


@act(Gamer)
class Block(Act[Gamer]):
    name, label, roles = "block", "Block", (SUPPORT,)
    is_dangerous = True

    def is_offered(self, gamer: Gamer) -> bool:
        return not gamer.is_blocked

    def consequences(self, gamer: Gamer) -> list[str]:
        return [
            f"From the next request on, {gamer} is refused everywhere in {gamer.game}.",
            "Balances, prizes and seats in running tournaments stay as they are.",
        ]

    def perform(self, request: HttpRequest, gamer: Gamer, data: dict[str, Any]) -> Done:
        Gamer.objects.filter(pk=gamer.pk).update(is_blocked=True)
        return Done(f"Blocked: {gamer}.")


@act(Gamer)
class Unblock(Act[Gamer]):
    name, label, roles = "unblock", "Unblock", (SUPPORT,)

    def is_offered(self, gamer: Gamer) -> bool:
        return gamer.is_blocked

    def consequences(self, gamer: Gamer) -> list[str]:
        return [f"{gamer} may play in {gamer.game} again at once."]

    def perform(self, request: HttpRequest, gamer: Gamer, data: dict[str, Any]) -> Done:
        Gamer.objects.filter(pk=gamer.pk).update(is_blocked=False)
        return Done(f"Unblocked: {gamer}.")


# --- Staff ---------------------------------------------------------------------------------------

admin.site.unregister(User)


@admin.register(User)
class StaffAdmin(UserAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Staff get their rights from a group: nobody is made a superuser by a click."""

    list_display = ["username", "first_name", "last_name", "is_active", "last_login"]
    list_filter = ["is_active", "groups"]
    fieldsets = [
        (None, {"fields": ["username", "password", "first_name", "last_name", "email"]}),
        ("May", {"fields": ["is_active", "is_staff", "groups"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    readonly_fields = ["last_login", "date_joined"]
