"""What an act did and what is written of it stay together, or neither does."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.messages.storage.cookie import CookieStorage
from django.db import DataError
from django.http import Http404
from django.test import RequestFactory
from django.urls import reverse

from accounts.models import Game, Gamer
from accounts.tests.factories import GameFactory, GamerFactory
from accounts.tests.staff import staff_client, staff_user
from kgen.common.admin import OPERATORS, SUPPORT, Act, Done, ReasonForm
from kgen.common.errors import Refusal
from kgen.common.models import StaffAct

pytestmark = pytest.mark.django_db


class Rename(Act[Gamer]):
    """An act as any other, under the name of one that Support has."""

    name, label, roles = "block", "Rename", (SUPPORT,)
    form_class = ReasonForm

    def consequences(self, row):
        return []

    def perform(self, request, row, data):
        Gamer.objects.filter(pk=row.pk).update(username="new")
        return Done("Renamed.")


class RefusedAfterwards(Rename):
    def perform(self, request, row, data):
        super().perform(request, row, data)
        raise Refusal("Not today.")


class BrokenAfterwards(Rename):
    def perform(self, request, row, data):
        super().perform(request, row, data)
        raise RuntimeError("broken")


class NotWrittenDown(Rename):
    """What it tells of itself no database keeps."""

    def state(self, row):
        kept = super().state(row)
        return {**kept, "strange": "\0"} if kept["username"] == "new" else kept


def do(act, gamer, reason="because"):
    request = RequestFactory().post("/", {"reason": reason})
    user = staff_user(SUPPORT)
    vars(user).update(is_verified=lambda: True)
    vars(request).update(user=user, session={})
    vars(request).update(_messages=CookieStorage(request))
    page: Any = admin.site.get_model_admin(Gamer)
    return page.act_view(request, str(gamer.pk), act)


def test_an_act_writes_one_row_with_what_changed_and_why():
    gamer = GamerFactory(username="old")

    do(Rename(), gamer)

    act = StaffAct.objects.get()
    assert (act.before, act.after, act.reason) == (
        {"username": "old"},
        {"username": "new"},
        "because",
    )
    assert (act.object_type, act.object_pk, act.roles) == (
        "accounts.gamer",
        str(gamer.pk),
        SUPPORT,
    )


def test_a_refusal_after_the_effect_leaves_neither():
    gamer = GamerFactory(username="old")

    do(RefusedAfterwards(), gamer)

    gamer.refresh_from_db()
    assert (gamer.username, StaffAct.objects.count()) == ("old", 0)


@pytest.mark.parametrize(
    ("act", "fault"), [(BrokenAfterwards, RuntimeError), (NotWrittenDown, DataError)]
)
def test_a_fault_after_the_effect_leaves_neither(act, fault):
    gamer = GamerFactory(username="old")

    with pytest.raises(fault):
        do(act(), gamer)

    gamer.refresh_from_db()
    assert (gamer.username, StaffAct.objects.count()) == ("old", 0)


def test_an_act_without_a_reason_does_nothing():
    gamer = GamerFactory(username="old")

    do(Rename(), gamer, reason=" ")

    gamer.refresh_from_db()
    assert (gamer.username, StaffAct.objects.count()) == ("old", 0)


def test_an_act_on_nothing_is_not_found():
    with pytest.raises(Http404):
        do(Rename(), Gamer(pk=10**9))


def test_a_saved_form_writes_down_only_what_changed():
    operator = staff_client(OPERATORS)
    game = GameFactory(min_withdrawal=1000)
    page = reverse("admin:accounts_game_change", args=[game.pk])
    shown = operator.get(page).context["adminform"].form
    fields = {name: shown[name].value() for name in shown.fields}
    sent = {name: value for name, value in fields.items() if value not in (None, False)}
    forged = {"client_id": "mine", "uid": "0", "is_sandbox": "on", "id": "7"}

    operator.post(page, {**sent, "min_withdrawal": "300", "reason": "agreed", **forged})

    game.refresh_from_db()
    act = StaffAct.objects.get()
    assert (act.name, act.reason) == ("change", "agreed")
    assert (act.before, act.after) == ({"min_withdrawal": 1000}, {"min_withdrawal": 300})
    assert (game.client_id == "mine", game.is_sandbox) == (False, False)


@pytest.mark.parametrize("path", ["accounts/game/", "accounts/gamer/"])
def test_forged_rows_of_a_list_change_nothing(path):
    operator = staff_client(OPERATORS)
    gamer = GamerFactory()
    before = [list(model.objects.values()) for model in (Game, Gamer, User)]

    operator.post(
        f"/admin/{path}",
        {
            "form-TOTAL_FORMS": "1",
            "form-INITIAL_FORMS": "1",
            "form-0-id": str(gamer.pk),
            "form-0-is_blocked": "on",
            "form-0-is_active": "",
            "_save": "Save",
            "action": "delete_selected",
            "_selected_action": str(gamer.pk),
        },
    )

    assert [list(model.objects.values()) for model in (Game, Gamer, User)] == before
    assert StaffAct.objects.count() == 0


def test_history_shows_what_staff_did():
    support = staff_client(SUPPORT)
    gamer = GamerFactory()
    support.post(reverse("admin:accounts_gamer_block", args=[gamer.pk]), {"reason": "a bot"})

    page = support.get(reverse("admin:accounts_gamer_history", args=[gamer.pk]))

    assert "Block: a bot" in page.content.decode()
