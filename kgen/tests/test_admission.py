"""So many at once, so many waiting, and the others turned away in the contract's words."""

import io
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Event
from typing import Any

import pytest
from django.db import connection, connections
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from kgen.admission import Full, Slots
from kgen.wsgi import Application

held = Event()
entered = Barrier(3)


def hold(request):
    entered.wait(5)
    held.wait(5)
    return HttpResponse(b"done", content_type="application/json")


def quick(request):
    return HttpResponse(request.body, content_type="application/json")


def streamed(request):
    return StreamingHttpResponse(iter([b"a", b"b"]))


def exported(request):
    def rows():
        for _ in range(3):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                yield f"{cursor.fetchone()[0]}\n".encode()

    return StreamingHttpResponse(rows())


def broken(request):
    raise ZeroDivisionError


urlpatterns = [
    path("api/v1/hold", csrf_exempt(hold)),
    path("api/v1/quick", csrf_exempt(quick)),
    path("streamed", csrf_exempt(streamed)),
    path("exported", csrf_exempt(exported)),
    path("api/v1/broken", csrf_exempt(broken)),
    path("healthz", csrf_exempt(quick)),
]


@pytest.fixture
def application(settings: Any) -> Application:
    settings.ROOT_URLCONF = __name__
    settings.REQUESTS_AT_ONCE, settings.REQUESTS_WAITING = 2, 1
    settings.REQUESTS_PATIENCE = timedelta(seconds=0.2)
    application = Application()
    held.clear()
    entered.reset()
    return application


def call(application: Application, address: str, body: Any = None, **environ: Any) -> Any:
    """Status, headers and body; in a thread of its own, since a slot lends the thread's connection."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_call, application, address, body, **environ).result()


def _call(
    application: Application, address: str, body: Any, **environ: Any
) -> tuple[str, dict[str, str], bytes]:
    told: list[Any] = []
    stream = body if body is not None else io.BytesIO(b"")
    answer = application(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": address,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": stream,
            **environ,
        },
        lambda status, headers: told.extend([status, dict(headers)]),
    )
    content = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    return told[0], told[1], content


def begin_two(application: Application, threads: ThreadPoolExecutor) -> list[Future[Any]]:
    running = [threads.submit(call, application, "/api/v1/hold") for _ in range(2)]
    entered.wait(5)
    return running


def test_beyond_its_slots_a_process_answers_503_and_finishes_what_it_began(application):
    with ThreadPoolExecutor(3) as threads:
        running = begin_two(application, threads)
        began = time.monotonic()
        waiting = threads.submit(call, application, "/api/v1/quick")
        while not application._slots._waiting:
            time.sleep(0.001)
        at_once = call(application, "/api/v1/quick", HTTP_X_REQUEST_ID="my-request-1")
        took = time.monotonic() - began
        health = call(application, "/healthz")
        late = waiting.result()
        waited = time.monotonic() - began
        held.set()
        done = [one.result() for one in running]

    status, headers, body = at_once
    assert status == "503 Service Unavailable"
    assert json.loads(body) == {
        "statusCode": 503,
        "error": "SERVICE_UNAVAILABLE",
        "message": "The service is not available just now. Nothing was changed.",
        "details": {},
        "request_id": "my-request-1",
    }
    assert headers == {
        "Content-Type": "application/json",
        "Retry-After": "1",
        "X-Request-ID": "my-request-1",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "RateLimit-Limit": "100",
        "RateLimit-Remaining": "100",
        "RateLimit-Reset": "0",
    }
    assert took < 0.1
    assert late[0] == "503 Service Unavailable"
    assert 0.2 <= waited < 1
    assert health[0] == "200 OK"
    assert [(status, body) for status, _, body in done] == [("200 OK", b"done")] * 2
    assert call(application, "/api/v1/quick")[0] == "200 OK"


def test_who_waits_is_served_when_a_slot_comes_free(application, settings):
    application._slots._patience = 5.0
    with ThreadPoolExecutor(3) as threads:
        running = begin_two(application, threads)
        waiting = threads.submit(call, application, "/api/v1/quick")
        while not application._slots._waiting:
            time.sleep(0.001)
        held.set()

        assert waiting.result()[0] == "200 OK"
        assert [one.result()[0] for one in running] == ["200 OK", "200 OK"]


@pytest.mark.parametrize("address", ["/streamed", "/api/v1/broken", "/nothing", "/api/v1/quick"])
def test_slot_comes_free_however_a_request_ends(application, address):
    statuses = [call(application, address)[0] for _ in range(5)]

    expected = {"/api/v1/broken": "500", "/nothing": "404"}.get(address, "200")
    assert {status.split()[0] for status in statuses} == {expected}
    assert call(application, "/api/v1/quick")[0] == "200 OK"


def test_what_is_made_while_it_is_sent_has_a_connection_of_its_own_that_is_closed(
    committed_database, application
):
    def ask() -> tuple[str, bytes, bool]:
        status, _, body = _call(application, "/exported", None)
        return status, body, any(one.connection for one in connections.all(initialized_only=True))

    ((status, body, is_left_open),) = in_threads(1, ask)

    assert status == "200 OK"
    assert len(set(body.split())) == 1
    assert not is_left_open
    assert len(application._slots._free) + application._slots._unopened == 2


def test_slow_sender_takes_no_slot(application):
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert held.wait(5)
            return super().read(size)

    with ThreadPoolExecutor(8) as threads:
        slow = [
            threads.submit(call, application, "/api/v1/quick", Slow(b"{}"), CONTENT_LENGTH="2"),
            threads.submit(
                call,
                application,
                "/api/v1/quick",
                Slow(b"{}"),
                **{"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
            ),
        ] * 4
        meanwhile = [call(application, "/api/v1/quick")[0] for _ in range(5)]
        held.set()

        assert meanwhile == ["200 OK"] * 5
        assert [(one.result()[0], one.result()[2]) for one in slow] == [("200 OK", b"{}")] * 8


# --- Slots --------------------------------------------------------------------------------------


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as threads:
        return [one.result() for one in [threads.submit(work) for _ in range(count)]]


def test_connections_are_as_many_as_slots_however_many_threads_there_are(committed_database):
    slots = Slots(at_once=3, waiting=100, patience=timedelta(seconds=10))
    together = Barrier(30)

    def ask() -> int:
        together.wait()
        with slots.one(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (backend,) = cursor.fetchone()
        assert not connections.all(initialized_only=True)
        return int(backend)

    backends = in_threads(30, ask)

    assert len(set(backends)) <= 3
    for free in slots._free:
        free.close()


def test_waiting_is_in_turn_and_none_is_forgotten():
    slots = Slots(at_once=2, waiting=1000, patience=timedelta(seconds=10))
    inside: list[int] = []
    most = [0]

    def work() -> None:
        for _ in range(50):
            with slots.one():
                inside.append(1)
                most[0] = max(most[0], len(inside))
                inside.pop()

    in_threads(40, work)

    assert most[0] <= 2
    assert (slots._waiting, len(slots._free) + slots._unopened) == (0, 2)


def test_full_takes_nothing():
    slots = Slots(at_once=1, waiting=0, patience=timedelta(seconds=1))

    def take_two() -> None:
        with slots.one(), pytest.raises(Full), slots.one():
            pass

    in_threads(1, take_two)

    assert (slots._waiting, len(slots._free) + slots._unopened) == (0, 1)
