"""The gamers whom support looks for."""

import re
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from accounts import gamers, personal_data, phones, sessions
from accounts.models import Gamer, OtpRequest, Session
from kgen.common.admin import (
    OPERATORS,
    SUPPORT,
    Act,
    Done,
    Download,
    ReadOnlyAdmin,
    ReasonForm,
    Table,
    act,
    badge,
    link_column,
    mask_email,
    mask_phone,
    moment,
    moment_column,
    panel,
    text_column,
)
from kgen.common.encryption import keyed_hash

# As many rows as one looks through; what is older is found by its own search.
NEWEST: Final = 20

ADDRESS: Final = re.compile(r"0[xX][0-9a-fA-F]{40}")
PHONE: Final = re.compile(r"\+?[0-9]{7,15}")


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
        "phone_masked",
        "email_masked",
        "phonenumber_masked",
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
        ("KGeN wallet", {"fields": [("link_state", "phone_masked")]}),
        (
            "Profile, as the game told it",
            {
                "classes": ["collapse"],
                "fields": [
                    "email_masked",
                    "phonenumber_masked",
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

    @admin.display(description="e-mail")
    def email_masked(self, gamer: Gamer) -> str:
        return mask_email(gamer.email)

    @admin.display(description="phone number")
    def phonenumber_masked(self, gamer: Gamer) -> str:
        return mask_phone(gamer.phonenumber)

    @admin.display(description="link")
    def link_state(self, gamer: Gamer) -> str:
        return badge("linked", good=True) if gamer.kgen_account else badge("not linked yet")

    @admin.display(description="state")
    def state(self, gamer: Gamer) -> str:
        if gamer.erased_at is not None:
            return badge("erased", bad=True)
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
        return Q(kgen_account__phone_hash__in=phones.hashes_of(digits)) | Q(gamer_id=term)
    by_email = Q(email_hash=keyed_hash("email", term))
    return Q(gamer_id__startswith=term) | Q(username__istartswith=term) | by_email


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
            (moment(one.created_at), mask_phone(one.phone), _otp_state(one, now), one.attempts)
            for one in sent
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
class Reveal(Act[Gamer]):
    name, label, roles = "reveal", "Show phone and e-mail", (SUPPORT,)

    def is_offered(self, gamer: Gamer) -> bool:
        return bool(_contacts_of(gamer))

    def consequences(self, gamer: Gamer) -> list[str]:
        return [
            f"The next page shows phone and e-mail of {gamer} unmasked, this once.",
            "The history keeps who looked, and the reason.",
        ]

    def perform(self, request: HttpRequest, gamer: Gamer, data: dict[str, Any]) -> Done:
        return Done(f"Phone and e-mail of {gamer}", revealed=_contacts_of(gamer))


def _contacts_of(gamer: Gamer) -> list[tuple[str, str]]:
    lines = [
        ("Phone", gamer.kgen_account.phone if gamer.kgen_account else ""),
        ("E-mail, as the game told it", gamer.email),
        ("Phone number, as the game told it", gamer.phonenumber),
    ]
    return [(name, value) for name, value in lines if value]


@act(Gamer)
class Export(Act[Gamer]):
    name, label, roles = "export", "Export all data", (SUPPORT,)

    def consequences(self, gamer: Gamer) -> list[str]:
        return [
            f"A file with all that is kept of {gamer} is sent to you, phone and e-mail in plain text.",
            "The history keeps who took it, and the reason. Hand it to nobody but the gamer.",
        ]

    def perform(self, request: HttpRequest, gamer: Gamer, data: dict[str, Any]) -> Done:
        content = personal_data.export(gamer=gamer).encode()
        return Done("Exported.", file=Download(name=f"gamer-{gamer.uid}.json", content=content))


class EraseForm(ReasonForm):
    forfeits = forms.BooleanField(
        required=False, label="KCash that is left may be lost", help_text="As the gamer wishes."
    )
    field_order = ["forfeits", "reason"]


@act(Gamer)
class Erase(Act[Gamer]):
    name, label, roles = "erase", "Erase personal data", (SUPPORT,)
    is_dangerous = True
    form_class = EraseForm

    def is_offered(self, gamer: Gamer) -> bool:
        return gamer.erased_at is None

    def consequences(self, gamer: Gamer) -> list[str]:
        return [
            f"Profile, phones and e-mail of {gamer} are emptied. It cannot be undone.",
            "Sessions end; the gamer_id becomes a pseudonym that is blocked for ever.",
            "A phone that no other gamer uses is forgotten, and with it the way to its KGeN wallet.",
            "A bonus is lost. The same gamer_id opens a new gamer, without another welcome bonus.",
            "Refused while a withdrawal or a tournament is under way, or other KCash is left.",
            *personal_data.left_behind(),
        ]

    def state(self, gamer: Gamer) -> dict[str, Any]:
        """Nothing of what is forgotten is kept in the history."""
        return {}

    def perform(self, request: HttpRequest, gamer: Gamer, data: dict[str, Any]) -> Done:
        erased = personal_data.erase(gamer=gamer, forfeits=data["forfeits"], now=timezone.now())
        gamer.gamer_id = erased.gamer_id  # by which the history names the row
        return Done(f"Erased: {erased}.")


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
        gamers.block(gamer=gamer)
        return Done(f"Blocked: {gamer}.")


@act(Gamer)
class Unblock(Act[Gamer]):
    name, label, roles = "unblock", "Unblock", (SUPPORT,)

    def is_offered(self, gamer: Gamer) -> bool:
        return gamer.is_blocked and gamer.erased_at is None

    def consequences(self, gamer: Gamer) -> list[str]:
        return [f"{gamer} may play in {gamer.game} again at once."]

    def perform(self, request: HttpRequest, gamer: Gamer, data: dict[str, Any]) -> Done:
        gamers.unblock(gamer=gamer)
        return Done(f"Unblocked: {gamer}.")


class SessionChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # not subscriptable at run time
    def label_from_instance(self, obj: Session) -> str:
        return f"of {obj.started_at:%Y-%m-%d %H:%M} UTC, device {obj.device_id or '-'}"


class EndSessionsForm(ReasonForm):
    session = SessionChoice(Session.objects.none(), required=False, empty_label="all of them")
    field_order = ["session", "reason"]

    def __init__(self, data: QueryDict | None, *, gamer: Gamer) -> None:
        super().__init__(data)
        self.fields["session"].queryset = _open_sessions(gamer)  # type: ignore[attr-defined]


@act(Gamer)
class EndSessions(Act[Gamer]):
    name, label, roles = "end_sessions", "End sessions", (SUPPORT,)
    is_dangerous = True

    def is_offered(self, gamer: Gamer) -> bool:
        return _open_sessions(gamer).exists()

    def form(self, gamer: Gamer, data: QueryDict | None) -> EndSessionsForm:
        return EndSessionsForm(data, gamer=gamer)

    def consequences(self, gamer: Gamer) -> list[str]:
        return [
            "From the next request on, the tokens of the session open nothing.",
            f"The game's server may open a new one for {gamer}; blocking keeps the gamer out.",
        ]

    def perform(self, request: HttpRequest, gamer: Gamer, data: dict[str, Any]) -> Done:
        now, session = timezone.now(), data["session"]
        if session is None:
            return Done(f"Ended {sessions.revoke(gamer=gamer, now=now)} sessions of {gamer}.")
        sessions.revoke_one(session=session, now=now)
        return Done(f"Ended one session of {gamer}.")


def _open_sessions(gamer: Gamer) -> QuerySet[Session]:
    return gamer.sessions.filter(revoked_at=None, ends_at__gt=timezone.now()).order_by("-id")
