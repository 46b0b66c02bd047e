"""Staff as the tests of every app's console pages need them."""

from django.contrib.auth.models import Group, User
from django.test import Client
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.plugins.otp_totp.models import TOTPDevice

from kgen.common.admin import make_roles

PASSWORD = "correct horse battery"


def staff_user(role: str | None = None, *, username: str = "sam") -> User:
    """One of the staff with a password and an authenticator, in the group `role`."""
    user = User.objects.create_user(username, password=PASSWORD, is_staff=True)
    TOTPDevice.objects.create(user=user, name="Authenticator app")
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
    session[DEVICE_ID_SESSION_KEY] = TOTPDevice.objects.get(user=user).persistent_id
    session.save()
    return client
