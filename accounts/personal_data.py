"""What is kept of a gamer: told to whoever has a right to it, and forgotten on request.

Money, its history and results stay, under a pseudonym: others' balances and prizes hang on them.
Each app tells and refuses for its own tables, by the functions that the settings name.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from accounts import sessions
from accounts.models import Gamer, KgenAccount, OtpRequest, PhoneVerification, Session
from kgen.common.encryption import keyed_hash
from kgen.common.errors import Conflict
from kgen.common.models import StaffAct

# What the game told, and what an erased gamer has in its place.
_PROFILE: Mapping[str, object] = {
    "device_id": "",
    "email": "",
    "username": "",
    "phonenumber": "",
    "name": "",
    "playertag": "",
    "level": None,
    "rank": None,
    "date_joined": None,
    "location": None,
    "location_name": "",
}


class AlreadyErased(Conflict):
    code = "GAMER_ALREADY_ERASED"
    message = "This gamer is erased already."


def export(*, gamer: Gamer) -> str:
    """All that is kept of a gamer, of every app, as JSON."""
    told: dict[str, Any] = {}
    for named in settings.PERSONAL_DATA_EXPORTS:
        told |= import_string(named)(gamer=gamer)
    return json.dumps(told, default=str, ensure_ascii=False, indent=2)


def held(*, gamer: Gamer) -> dict[str, Any]:
    """What this app keeps of a gamer. Hashes of secrets, tokens and codes say nothing to anybody."""
    account = gamer.kgen_account
    return {
        "gamer": {
            "account_id": gamer.uid,
            "game": gamer.game.name,
            "gamer_id": gamer.gamer_id,
            "first_seen": gamer.created_at,
            "is_blocked": gamer.is_blocked,
            **{name: getattr(gamer, name) for name in _PROFILE},
        },
        "phone": account
        and {
            "number": account.phone,
            "linked_at": gamer.linked_at,
            "known_since": account.created_at,
        },
        "sessions": list(
            gamer.sessions.order_by("id").values(
                "uid", "device_id", "started_at", "ends_at", "revoked_at"
            )
        ),
        "one_time_passwords": [
            {"phone": one.phone, "asked_at": one.created_at, "verified_at": one.used_at}
            for one in OtpRequest.objects.filter(gamer=gamer).order_by("id")
        ],
        "acts_of_staff": list(
            StaffAct.objects.filter(object_type="accounts.gamer", object_pk=str(gamer.pk))
            .order_by("id")
            .values("at", "label", "reason")
        ),
    }


@transaction.atomic
def erase(*, gamer: Gamer, forfeits: bool, now: datetime) -> Gamer:
    """Forget who a gamer is; the wallet and what it did stay, under a pseudonym that stays blocked.

    With `forfeits` money may be left behind, which nobody can reach again. The same gamer_id opens a
    new gamer, without a second welcome bonus. Raises `AlreadyErased`, and what the functions of
    PERSONAL_DATA_REFUSALS do.
    """
    # In the order in which a phone is linked: first the account, then the gamer.
    account = (
        KgenAccount.objects.select_for_update(of=("self",), no_key=True)
        .filter(gamers=gamer.pk)
        .first()
    )
    gamer = Gamer.objects.select_for_update(no_key=True).get(pk=gamer.pk)
    if gamer.erased_at is not None:
        raise AlreadyErased
    for named in settings.PERSONAL_DATA_REFUSALS:
        import_string(named)(gamer=gamer, forfeits=forfeits)

    sessions.revoke(gamer=gamer, now=now)
    Session.objects.filter(gamer=gamer).update(device_id="")
    # With their requests, and so with every phone that was ever asked for.
    PhoneVerification.objects.filter(gamer=gamer).delete()
    if account is not None and not account.gamers.exclude(pk=gamer.pk).exists():
        account.phone = ""
        account.save(update_fields=["phone", "phone_hash"])
    gamer.erased_id_hash = _hash_of(gamer.gamer_id)
    gamer.gamer_id = f"erased-{uuid4()}"
    gamer.kgen_account, gamer.linked_at = None, None
    gamer.is_blocked, gamer.erased_at = True, now
    for name, nothing in _PROFILE.items():
        setattr(gamer, name, nothing)
    gamer.save()
    return gamer


def was_erased(*, gamer: Gamer) -> bool:
    """Whether another gamer of this game had this gamer_id and was erased."""
    erased = Gamer.objects.filter(game_id=gamer.game_id, erased_id_hash=_hash_of(gamer.gamer_id))
    return erased.exists()


def left_behind() -> Iterator[str]:
    """What erasing does not touch, a sentence each."""
    yield "The wallet, its ledger and its transactions stay: sums and the chain must still agree."
    yield "Results of tournaments keep the gamer_id: their SHA-256 is public, and others won there."
    yield "Events stay as the game sent them; what they say of a person is the game's to erase."
    yield "The history of what staff did stays."


def _hash_of(gamer_id: str) -> str:
    return keyed_hash("gamer_id", gamer_id)
