"""What an Idempotency-Key does holds for every POST that the API has (API contract, section 0)."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.tests.api import error_body
from accounts.tests.outbox import sent_to
from accounts.tests.threads import all_at_once
from kgen.celery import app
from kgen.common.api import idempotency
from kgen.common.models import KeptAnswer
from tournaments.tests.full_game import FullGame, everything, full_game
from tournaments.tests.posts import POSTS, Post
from tournaments.tests.test_scoping import api_actions
from wallet.tests.conftest import owner  # noqa: F401 - a fixture


@pytest.fixture
def outbox(settings, tmp_path):
    settings.SMS_OUTBOX = tmp_path / "sms.jsonl"
    return settings.SMS_OUTBOX


@pytest.fixture
def house(db, outbox) -> FullGame:
    return full_game(now=timezone.now(), linked=False)


@pytest.fixture
def committed_house(committed_database, outbox) -> FullGame:
    return full_game(now=timezone.now(), linked=False)


def posts(house: FullGame) -> Iterator[Post]:
    """Each in its turn; who asks for the next one has made the last."""
    return (make(house) for make in POSTS.values())


def without_token(answer: Any) -> Any:
    """The body; of a session without its token, which is never the same."""
    body = answer.json()
    return {**body, "token": ""} if isinstance(body, dict) else body


def test_every_post_is_in_the_table():
    assert {route for method, route, _ in api_actions() if method == "POST"} == set(POSTS)


def test_first_good_answer_is_given_again_and_nothing_else_happens(house, outbox):
    for post in posts(house):
        first = post.send(house, key="k")
        after, sent = everything(), len(sent_to(outbox))

        again = post.send(house, key="k")

        assert first.status_code in (200, 201), (post.path, first.content)
        assert "Idempotent-Replayed" not in first
        assert again["Idempotent-Replayed"] == "true"
        assert again.status_code == first.status_code
        assert without_token(again) == without_token(first)
        if post.path == "/session":
            assert again.json()["token"] != first.json()["token"]
        else:
            assert again.content == first.content
            assert again["Content-Type"] == first["Content-Type"]
        assert everything() == after
        assert len(sent_to(outbox)) == sent


def test_same_key_with_another_body_is_refused_where_there_is_one(house):
    for post in posts(house):
        first = post.send(house, key="k")
        after = everything()

        other = post.send(house, post.other, key="k")

        if post.is_bodiless:
            assert other.content == first.content
            assert other["Idempotent-Replayed"] == "true"
        else:
            assert other.status_code == 409, post.path
            assert error_body(other) == {"error": "IDEMPOTENCY_KEY_REUSED", "details": {}}
        assert everything() == after


def test_key_is_1_to_64_printable_characters(house):
    for post in posts(house):
        before = everything()

        for key in ("", "k" * 65, "schlüssel", "a\tb", "\x7f"):
            answer = post.send(house, key=key)

            assert answer.status_code == 400, (post.path, key)
            assert error_body(answer) == {
                "error": "BAD_REQUEST",
                "details": {
                    "fields": {"Idempotency-Key": "Give 1 to 64 printable ASCII characters."}
                },
            }
        assert everything() == before
        assert post.send(house, key="k" * 64).status_code in (200, 201)


def test_refusal_is_not_kept(house):
    """The call that is mended may keep its key."""
    for post in posts(house):
        if post.is_bodiless:
            refused = house.client.with_token("").post(post.path, key="k")
        else:
            refused = post.send(house, b"{", key="k")

        assert refused.status_code == (401 if post.is_bodiless else 400), post.path
        assert not KeptAnswer.objects.filter(body=refused.content).exists()
        mended = post.send(house, key="k")
        assert mended.status_code in (200, 201), post.path
        assert "Idempotent-Replayed" not in mended


def test_key_of_another_game_is_another_key(house):
    """Of games whose gamers, bodies and keys are the same; the batch's key is the client's."""
    other = full_game(now=timezone.now(), linked=False)
    for post, theirs in zip(posts(house), posts(other), strict=True):
        first = post.send(house, key="k")

        answer = theirs.send(other, key="k")

        assert first.status_code == answer.status_code, post.path
        assert "Idempotent-Replayed" not in answer, post.path


def test_while_the_first_call_runs_the_second_is_told_so(committed_house):
    house = committed_house
    for post in posts(house):
        client, gamer = post.owner(house)
        running = idempotency.keyed_request(
            client=client, gamer=gamer, path=f"/api/v1{post.path}", key="k", body=post.body
        )
        before = everything()

        with transaction.atomic():
            idempotency.first_answer(request=running, now=timezone.now())
            [meanwhile] = all_at_once([partial(post.send, house, key="k")])

        assert meanwhile.status_code == 409, post.path
        assert error_body(meanwhile) == {"error": "REQUEST_IN_PROGRESS", "details": {}}
        assert meanwhile["Retry-After"] == "1"
        assert everything() == before
        assert post.send(house, key="k").status_code in (200, 201)


def test_effect_and_key_are_stored_together_or_not_at_all(committed_house, owner, outbox):  # noqa: F811
    """Where the key cannot be kept, nothing happened; once it can, the same call is the first."""
    house = committed_house
    login = connection.settings_dict["USER"]
    for post in posts(house):
        before, sent = everything(), len(sent_to(outbox))

        with owner.cursor() as cursor:
            cursor.execute(f'REVOKE INSERT ON common_keptanswer FROM "{login}"')
        failed = post.send(house, key="k")
        with owner.cursor() as cursor:
            cursor.execute(f'GRANT INSERT ON common_keptanswer TO "{login}"')

        assert failed.status_code == 500, post.path
        assert everything() == before
        assert len(sent_to(outbox)) == sent
        first = post.send(house, key="k")
        assert first.status_code in (200, 201), post.path
        assert "Idempotent-Replayed" not in first


def test_expired_answers_are_forgotten_every_day():
    timetable = [entry["task"] for entry in app.conf.beat_schedule.values()]

    assert "kgen.common.tasks.forget_expired_keys" in timetable
    assert django_settings.IDEMPOTENCY_KEY_LIFE.total_seconds() == 24 * 3600
