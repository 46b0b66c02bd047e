"""Games and the client credentials that they call the API with."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone

from accounts import clients, sessions
from accounts.models import Game, GameSecret
from kgen.common import networks
from kgen.common.admin import (
    FINANCE,
    OPERATORS,
    SUPPORT,
    Act,
    ConsoleAdmin,
    Done,
    ReasonForm,
    Table,
    act,
    badge,
    kcash_column,
    moment,
    moment_column,
    panel,
    text_column,
)


class GameForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    reason = forms.CharField(
        max_length=500, help_text="Kept in the history with your name.", required=False
    )

    class Meta:
        labels = {
            "is_sandbox": "Sandbox",
            "min_withdrawal": "Least withdrawal",
            "rate_limit": "Request limit",
            "gamer_event_rate": "Event limit",
            "rake_percent": "Rake",
            "allowed_networks": "Networks of the game's servers",
            "takes_device_calls": "Calls from devices",
        }
        help_texts = {
            "is_sandbox": "Plays for KCash of no value; cannot be changed later.",
            "game_uid": "How the game names itself in events; cannot be changed later.",
            "min_withdrawal": "KCash, whole units.",
            "rake_percent": "Percent of the stakes, of tournaments drafted from now on.",
            "allowed_networks": (
                "Such as 203.0.113.0/24 or 2001:db8::/32, one a line. From elsewhere the client secret "
                "opens nothing. Empty: it is good everywhere."
            ),
            "takes_device_calls": (
                "Gamers' devices may call with the client id and a session token, without the secret "
                "and from anywhere. Sessions are still opened by the game's server."
            ),
        }
        widgets = {"allowed_networks": forms.Textarea(attrs={"rows": 4, "cols": 40})}

    def clean_allowed_networks(self) -> str:
        given: str = self.cleaned_data["allowed_networks"]
        networks.validate(given)
        return networks.written(given)

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
            ("Settings", {"fields": [*limits, "goes_by_itself"]}),
            ("Who may call", {"fields": ["state", "allowed_networks", "takes_device_calls"]}),
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
        return ["game_uid", "client_id", "app_id", "kind", "made", "goes_by_itself", "state"]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Game | None = None) -> Any:
        return self.prepopulated_fields if obj is None else {}

    def has_delete_permission(self, request: HttpRequest, obj: Game | None = None) -> bool:
        return False


@panel(Game, "Client secrets")
def secrets_of_game(request: HttpRequest, game: Game) -> Table:
    now = timezone.now()
    return Table(
        columns=["Made", "Last used", "State"],
        rows=[
            (moment(secret.created_at), moment(secret.last_used_at), _state_of(secret, now))
            for secret in game.secrets.order_by("-id")
        ],
        empty="No secret: the game cannot call the API. Add one.",
    )


def _state_of(secret: GameSecret, now: datetime) -> str:
    if secret.disabled_at is None:
        return "valid"
    if secret.disabled_at > now:
        return f"valid until {secret.disabled_at:%Y-%m-%d %H:%M} UTC"
    return f"disabled {secret.disabled_at:%Y-%m-%d}"


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


class RotateForm(ReasonForm):
    old_ends_in = forms.TypedChoiceField(
        label="The secret in use ends",
        choices=[(0, "at once"), (1, "in an hour"), (24, "in a day"), (168, "in a week")],
        coerce=int,
        initial=24,
    )
    field_order = ["old_ends_in", "reason"]


@act(Game)
class RotateSecret(Act[Game]):
    name, label, roles = "rotate_secret", "Rotate the secret", (OPERATORS,)
    form_class = RotateForm
    is_dangerous = True

    def is_offered(self, game: Game) -> bool:
        return 0 < _secrets_in_use(game).count() < clients.MOST_SECRETS

    def consequences(self, game: Game) -> list[str]:
        return [
            f"{game} gets a new client secret, shown once on the next page.",
            "Until the time that is chosen the old one is valid too; then it ends by itself.",
        ]

    def perform(self, request: HttpRequest, game: Game, data: dict[str, Any]) -> Done:
        now = timezone.now()
        secret = clients.rotate_secret(
            game=game, old_ends_at=now + timedelta(hours=data["old_ends_in"]), now=now
        )
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
        clients.disable_secret(secret=data["secret"], now=timezone.now())
        return Done(f"The secret made {data['secret'].created_at:%Y-%m-%d} is disabled.")


def _secrets_in_use(game: Game) -> QuerySet[GameSecret]:
    return game.secrets.valid_at(timezone.now()).order_by("-id")


@act(Game)
class DisableClient(Act[Game]):
    name, label, roles = "disable_client", "Disable the client", (OPERATORS,)
    is_dangerous = True

    def is_offered(self, game: Game) -> bool:
        return game.is_active

    def consequences(self, game: Game) -> list[str]:
        return [
            f"From the next request on, every call of {game} is refused, with every secret and token.",
            "Running tournaments go on to their end; balances and prizes stay as they are.",
            "Enabling it lets its sessions go on where they have not run out.",
        ]

    def perform(self, request: HttpRequest, game: Game, data: dict[str, Any]) -> Done:
        clients.disable_client(game=game)
        return Done(f"Disabled: {game}.")


@act(Game)
class EnableClient(Act[Game]):
    name, label, roles = "enable_client", "Enable the client", (OPERATORS,)

    def is_offered(self, game: Game) -> bool:
        return not game.is_active

    def consequences(self, game: Game) -> list[str]:
        return [f"{game} may call the API again at once, with the secrets that are valid."]

    def perform(self, request: HttpRequest, game: Game, data: dict[str, Any]) -> Done:
        clients.enable_client(game=game)
        return Done(f"Enabled: {game}.")


@act(Game)
class EndSessionsOfGame(Act[Game]):
    name, label, roles = "end_sessions", "End all sessions", (OPERATORS,)
    is_dangerous = True

    def consequences(self, game: Game) -> list[str]:
        return [
            f"Every gamer of {game} needs a new session from the game's server at the next request.",
            "For tokens that came into strange hands all at once; one gamer's are ended on their page.",
        ]

    def perform(self, request: HttpRequest, game: Game, data: dict[str, Any]) -> Done:
        ended = sessions.revoke_all(game=game, now=timezone.now())
        return Done(f"Ended {ended} sessions of {game}.")
