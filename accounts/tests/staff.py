"""Staff as the tests of every app's console pages need them."""

import secrets
import time

from django.contrib.auth.models import Group, User
from django.test import Client
from django_otp import DEVICE_ID_SESSION_KEY

from accounts.staff import BEGAN, USED
from kgen.common.admin import make_roles
from kgen.common.models import Authenticator

PASSWORD = "correct horse battery"


def staff_user(role: str | None = None, *, username: str = "sam") -> User:
    """One of the staff with a password and an authenticator, in the group `role`."""
    user = User.objects.create_user(username, password=PASSWORD, is_staff=True)
    Authenticator.objects.create(user=user, name="Authenticator app", key=secrets.token_hex(20))
    if role is not None:
        make_roles()
        user.groups.add(Group.objects.get(name=role))
    return user


def staff_client(role: str) -> Client:
    """A browser in which one of the staff is signed in with password and code."""
    user = staff_user(role, username=f"{role.lower()}-{User.objects.count()}")
    client = Client()
    client.force_login(user)
    session = client.session
    session[DEVICE_ID_SESSION_KEY] = Authenticator.objects.get(user=user).persistent_id
    session[BEGAN] = session[USED] = int(time.time())
    session.save()
    return client
