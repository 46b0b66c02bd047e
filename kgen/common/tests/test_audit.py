from contextlib import closing

import psycopg2
import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import DatabaseError, connection, transaction
from django.test import RequestFactory

from kgen.common import audit
from kgen.common.database_roles import owner_settings
from kgen.common.models import StaffAct

REWRITING = (
    "UPDATE common_staffact SET reason = 'other'",
    "DELETE FROM common_staffact",
    "TRUNCATE common_staffact",
)


@pytest.mark.django_db
def test_an_act_is_written_down_with_who_what_why_and_whence():
    user = User.objects.create_user("sam")
    user.groups.add(Group.objects.create(name="Support"))
    request = RequestFactory().post("/", REMOTE_ADDR="203.0.113.9")
    vars(request).update(user=user, request_id="request-1")
    before = audit.state_of(user)
    User.objects.filter(pk=user.pk).update(first_name="Sam", email="sam@kgen.example")

    audit.record(
        name="rename",
        label="Rename",
        row=user,
        details={"first_name": "Sam", "email": "sam@kgen.example", "nothing": None},
        before=before,
        after=audit.state_of(user),
        reason="married",
        request=request,
    )

    kept: dict = dict(StaffAct.objects.values().get())
    del kept["id"]
    assert abs((kept.pop("at") - user.date_joined).total_seconds()) < 60
    assert kept == {
        "by_id": user.pk,
        "by_name": "sam",
        "roles": "Support",
        "name": "rename",
        "label": "Rename",
        "object_type": "auth.user",
        "object_pk": str(user.pk),
        "object_text": "sam",
        "details": {"first_name": "Sam", "email": "(hidden)"},
        "before": {"first_name": "", "email": ""},
        "after": {"first_name": "Sam", "email": "(hidden)"},
        "reason": "married",
        "request_id": "request-1",
        "address": "203.0.113.9",
    }


@pytest.mark.django_db
def test_an_act_of_nobody_known_keeps_the_name_that_was_tried():
    request = RequestFactory().post("/", REMOTE_ADDR="")
    request.user = AnonymousUser()

    act = audit.record(name="login_failed", label="Failed", by_name="x" * 200, request=request)

    assert (act.by, act.by_name, act.address) == (None, "x" * 150, None)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name", ["password", "secret_hash", "token", "phone_encrypted", "email", "key", "backup_codes"]
)
def test_secrets_and_personal_data_are_not_written_down(name):
    audit.record(name="x", label="X", details={name: "a"}, before={name: "b"}, after={name: "c"})

    act = StaffAct.objects.get()
    assert (act.details, act.before, act.after) == (
        {name: "(hidden)"},
        {name: "(hidden)"},
        {name: "(hidden)"},
    )


@pytest.mark.django_db
@pytest.mark.parametrize("statement", REWRITING)
def test_the_application_rewrites_nothing(statement):
    audit.record(name="x", label="X", reason="true")

    with pytest.raises(DatabaseError) as refusal, transaction.atomic():
        connection.cursor().execute(statement)

    assert "permission denied" in str(refusal.value)
    assert StaffAct.objects.get().reason == "true"


def test_the_owner_of_the_tables_rewrites_nothing_either(committed_database):
    login = owner_settings(connection.settings_dict)
    with closing(
        psycopg2.connect(
            user=login["USER"],
            password=login["PASSWORD"],
            host=login["HOST"],
            port=login["PORT"],
            dbname=connection.settings_dict["NAME"],
        )
    ) as owner:
        audit.record(name="x", label="X", reason="true")
        codes = []
        for statement in REWRITING:
            with pytest.raises(psycopg2.Error) as refusal, owner, owner.cursor() as cursor:
                cursor.execute(statement)
            codes.append(refusal.value.pgcode)

    assert codes == ["LG001"] * 3
    assert StaffAct.objects.get().reason == "true"
