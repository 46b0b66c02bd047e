"""Whatever is sent, the answer is one that the API's own document promises.

`make fuzz` runs this with ten times as many examples.
"""

import logging
import os
import re
import time
from collections import Counter
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.urls import get_resolver
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accounts.tests.factories import secret_of
from kgen.wsgi import application
from tournaments.tests.full_game import FullGame, full_game

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("committed_database")]

logger = logging.getLogger(__name__)

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
# In seconds of this thread's own work: how long it waits for others is the machine's affair.
SLOWEST_S = 5
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
KEY = re.compile(r"[ -~]{1,64}")
ERROR_BODY = {"statusCode", "error", "message", "details", "request_id"}


def operations() -> list[tuple[str, str]]:
    """Method and documented path of every operation, from the URL map."""
    root: Any = get_resolver()
    return [
        (method.upper(), "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", f"{prefix.pattern}{route.pattern}"))
        for prefix in root.url_patterns
        if str(prefix.pattern) == "api/v1/"
        for route in prefix.url_patterns
        for method in sorted(set(route.callback.actions) - {"head"})
    ]


@schemathesis.serializer("application/x-ndjson")
def _lines(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


@pytest.fixture(scope="module")
def document() -> Any:
    return schemathesis.openapi.from_wsgi(
        "/api/schema/?format=json", application, config=SchemathesisConfig()
    )


@pytest.fixture
def house(settings, tmp_path, caplog) -> FullGame:
    caplog.set_level(logging.WARNING, logger="kgen.common.api.traffic")
    settings.STREAM_URL = "http://stream.example"
    settings.SMS_OUTBOX = tmp_path / "sms.jsonl"
    return full_game(now=timezone.now())


class Caller:
    """Sends cases with the credentials of a full game, and holds every answer to the document."""

    def __init__(self, house: FullGame) -> None:
        self.house = house
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0

    def call(self, case: Any) -> None:
        self.hold(self.send(case), case)

    def send(self, case: Any) -> Any:
        game = self.house.game
        began = time.thread_time()
        answer = case.call(
            headers={"x-clientID": game.client_id, "x-clientSecret": secret_of(game)},
            params={"token": self.house.client.token},
        )
        self.slowest = max(self.slowest, time.thread_time() - began)
        return answer

    def hold(self, answer: Any, case: Any) -> None:
        self.answers[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code >= 400:
            body = answer.json()
            assert set(body) == ERROR_BODY
            assert body["statusCode"] == answer.status_code
            assert [body["request_id"]] == answer.headers["x-request-id"]

    def make_unique(self, case: Any, number: int) -> None:
        """Cases made one after the other share a key, and after the first all would be refused."""
        if "Idempotency-Key" in case.headers and KEY.fullmatch(
            str(case.headers["Idempotency-Key"])
        ):
            case.headers["Idempotency-Key"] = f"case {number}"

    def aim(self, case: Any, at: int) -> None:
        """Make a case speak of something that is there; at 0 it stays as it is."""
        if at == 0:
            return
        house = self.house
        uid = str((house.open, house.joined, house.settled)[at - 1].uid)
        if "uid" in case.path_parameters:
            case.path_parameters["uid"] = uid
        if "address" in case.path_parameters:
            case.path_parameters["address"] = house.wallet.address
        if not isinstance(case.body, dict):
            return
        if "joiningStake" in case.body:
            case.body["joiningStake"] = house.open.entry_fee
        events = case.body.get("events")
        for event in events if isinstance(events, list) else [case.body]:
            if isinstance(event, dict) and isinstance(event.get("metadata"), dict):
                event["metadata"] |= {"playerId": house.gamer.gamer_id, "tournamentId": uid}
                event["timestamp"] = int(timezone.now().timestamp() * 1000)
                event["metadata"].pop("gameId", None)

    def tell(self, what: str) -> None:
        told = ", ".join(f"{status}: {count}" for status, count in sorted(self.answers.items()))
        logger.info(
            "%s: %d requests, slowest %.2f s (%s)",
            what,
            self.answers.total(),
            self.slowest,
            told,
        )
        assert self.slowest < SLOWEST_S


@pytest.mark.parametrize(("method", "path"), operations())
def test_every_answer_is_as_documented(document, house, method, path):
    operation = document[path][method]
    caller = Caller(house)

    cases = document.iter_coverage_cases(
        operation, generation_modes=MODES, generation_config=GenerationConfig(modes=MODES)
    )

    for number, case in enumerate(cases):
        caller.make_unique(case, number)
        caller.aim(case, number % 4)
        caller.call(case)

    # The cases that follow from the document alone are examples too; some are left to chance.
    left = max(EXAMPLES - caller.answers.total(), EXAMPLES // 4, 1)

    @hypothesis.settings(SETTINGS, max_examples=left)
    @given(
        case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in MODES]),
        at=st.integers(0, 3),
    )
    def anything_is_answered(case: Any, at: int) -> None:
        caller.aim(case, at)
        caller.call(case)

    anything_is_answered()

    caller.tell(f"{method} {path}")


def test_every_answer_on_the_way_is_as_documented(document, house):
    """One call leads to the next, as the document's links say."""
    caller = Caller(house)
    machine: Any = document.as_state_machine()

    class Journey(machine):
        def call(self, case: Any, **_: Any) -> Any:
            return caller.send(case)

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            caller.hold(response, case)

    Journey.run(
        settings=hypothesis.settings(
            SETTINGS, max_examples=max(1, EXAMPLES // 4), stateful_step_count=10
        )
    )

    caller.tell("Journeys")
