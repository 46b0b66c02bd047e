"""What staff did: who, when, to what, what it changed, and why."""

import re
from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db.models import BinaryField, Model, QuerySet
from django.http import HttpRequest

from kgen.common.client_address import client_address
from kgen.common.models import StaffAct

State = Mapping[str, Any]

# No value under such a name is ever written down, only that there is another one.
HIDDEN_NAMES: Final = re.compile(
    r"password|secret|token|seed|phone|e_?mail|(^|_)(key|codes?)$", re.IGNORECASE
)
HIDDEN: Final = "(hidden)"


def state_of(row: Model) -> dict[str, Any]:
    """The row as the database has it now, by column; without its files."""
    # Not `type(row)`: whoever is signed in comes in a wrapper.
    fresh = row.__class__._base_manager.filter(pk=row.pk)
    names = [
        field.attname for field in row._meta.concrete_fields if not isinstance(field, BinaryField)
    ]
    return fresh.values(*names).first() or {}


def record(
    *,
    name: str,
    label: str,
    by: AbstractBaseUser | AnonymousUser | None = None,
    by_name: str = "",
    row: Model | None = None,
    details: State | None = None,
    before: State | None = None,
    after: State | None = None,
    reason: str = "",
    request: HttpRequest | None = None,
) -> StaffAct:
    """Write down one act, in the caller's transaction: either both stay or neither does.

    `by` is whoever has sent `request`, unless it is given. Of `before` and `after` only what
    differs is kept.
    """
    who = by if by is not None else getattr(request, "user", None)
    user = who if isinstance(who, User) and who.pk else None
    address = client_address(request) if request is not None else None
    old, new = _differences(before or {}, after or {})
    return StaffAct.objects.create(
        by=user,
        by_name=(user.get_username() if user else by_name)[:150],
        roles=_roles_of(user),
        name=name,
        label=label,
        object_type=row._meta.label_lower if row is not None else "",
        object_pk=str(row.pk) if row is not None else "",
        object_text=str(row) if row is not None else "",
        details={
            key: _shown(key, value) for key, value in (details or {}).items() if value is not None
        },
        before=old,
        after=new,
        reason=reason,
        request_id=str(getattr(request, "request_id", "")),
        address=str(address) if address else None,
    )


def _differences(before: State, after: State) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        {name: _shown(name, before[name]) for name in names if name in before},
        {name: _shown(name, after[name]) for name in names if name in after},
    )


def _shown(name: str, value: Any) -> Any:
    if HIDDEN_NAMES.search(name) and value not in (None, ""):
        return HIDDEN
    if isinstance(value, Model):
        return str(value)
    if isinstance(value, dict):
        return {key: _shown(str(key), one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, QuerySet)):
        return [_shown("", one) for one in value]
    return value


def _roles_of(user: User | None) -> str:
    if user is None:
        return ""
    roles = sorted(user.groups.values_list("name", flat=True))
    return ", ".join(["superuser", *roles] if user.is_superuser else roles)[:300]
