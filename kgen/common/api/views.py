"""The base of every viewset: the contract's order of checks, once (API contract, section 0)."""

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, TypeVar

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ViewSet

from kgen.common import strict_json
from kgen.common.api import idempotency
from kgen.common.api.exceptions import (
    InvalidRequest,
    MethodNotAllowed,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from kgen.common.api.rate_limits import Bucket, RateLimited, draw
from kgen.common.api.renderers import JsonRenderer
from kgen.common.api.schema import ApiSchema
from kgen.common.errors import Refusal

Handler = Callable[..., Response]
Hook = Callable[[], None]

JSON = "application/json"
_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
# Of a body that is refused for its size.
_MOST_READ_AWAY = 2**20


class ApiViewSet(ViewSet):
    """Checks in the contract's order, then the handler; each refusal is raised and answered once.

    A handler of a POST that carries an Idempotency-Key runs inside one outer transaction together
    with its kept answer. A `Refusal` that it raises does not undo that transaction: what a subject
    function refuses it has undone in its own savepoint, and what it meant to stay (a counted OTP
    try) stays. Anything else that is raised undoes everything.
    """

    schema = ApiSchema()
    # Neither HEAD nor OPTIONS: no answer of ours may be cached or called from a browser's page.
    http_method_names: ClassVar[list[str]] = ["get", "post"]  # type: ignore[misc]  # narrower
    largest_body: ClassVar[int] = settings.API_MAX_BODY_BYTES
    # POST actions that take no body: whatever is sent is neither parsed nor compared.
    bodiless_actions: ClassVar[frozenset[str]] = frozenset()
    # Actions that are refused while requests cannot be counted: guesses at OTPs, and money.
    counted_actions: ClassVar[frozenset[str]] = frozenset()
    # What every handler refuses beyond what any call can meet; for the API's document.
    common_refusals: ClassVar[tuple[type[Refusal], ...]] = ()

    _renderer: ClassVar[JsonRenderer] = JsonRenderer()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.args = args
        self.kwargs = kwargs
        self.headers: dict[str, str] = {}
        self._hooks: list[Hook] = []
        self.request = self.initialize_request(request, *args, **kwargs)
        self.request.accepted_renderer = self._renderer
        self.request.accepted_media_type = self._renderer.media_type
        try:
            handler = self._handler()
            self._check_size()
            self.perform_authentication(self.request)
            self.admit()
            self._limit_rate()
            response = self.answer(handler)
        except Exception as exception:  # noqa: BLE001 - DRF's own rule: the handler tells them apart
            response = self.handle_exception(exception)
        return self.finalize_response(self.request, response)  # type: ignore[arg-type]  # any will do

    # --- what a base for one kind of caller says ---

    def admit(self) -> None:
        """Refuse a caller who is known and barred."""

    def rate_buckets(self) -> Sequence[Bucket]:
        """The limits that a request of this caller draws from."""
        raise NotImplementedError

    def key_owner(self) -> tuple[str, str]:
        """Client and gamer whose Idempotency-Keys these are."""
        raise NotImplementedError

    # --- what a handler uses ---

    def parse(self, serializer: type[BaseSerializer[Any]]) -> Any:
        """The body, through `serializer`: content type 415, then shape 400."""
        checked = serializer(data=self.json_body())
        checked.is_valid(raise_exception=True)
        return checked.validated_data

    def json_body(self) -> dict[str, strict_json.Json]:
        """The body as a JSON object; an absent one is an empty object."""
        raw = self.raw_body()
        if not raw:
            return {}
        if self.media_type() != JSON:
            raise UnsupportedMediaType
        value = strict_json.loads(raw)
        if not isinstance(value, dict):
            raise InvalidRequest({"body": "Give a JSON object."})
        return value

    def raw_body(self) -> bytes:
        """The body as it was sent, to its end.

        Of a body that breaks off the server gives what it has, or nothing at all, and who left out
        which rewards to claim would claim all. Of one in chunks only a missing whole is seen here; a
        part of an object is no JSON.
        """
        request = self.request._request
        raw = request.body
        is_whole = len(raw) == int(request.META.get("CONTENT_LENGTH") or 0)
        if not is_whole or (not raw and "HTTP_TRANSFER_ENCODING" in request.META):
            raise InvalidRequest({"body": "It ended early."})
        return raw

    def media_type(self) -> str:
        """What the body says it is; nothing said counts as JSON. Only UTF-8, as it is, is read."""
        request = self.request._request
        if request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
            raise UnsupportedMediaType
        kind, _, _ = (request.META.get("CONTENT_TYPE") or JSON).partition(";")
        charset = (request.content_params or {}).get("charset", "utf-8")
        if charset.lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType
        return kind.strip().lower()

    def query(self, serializer: type[BaseSerializer[Any]]) -> Any:
        """The query string, through `serializer`; of two values for one name neither is meant."""
        checked = serializer(data=self.request.GET.dict())
        names = getattr(checked, "fields", ())
        if twice := [name for name in names if len(self.request.GET.getlist(name)) > 1]:
            raise InvalidRequest(dict.fromkeys(twice, "Give it once."))
        checked.is_valid(raise_exception=True)
        return checked.validated_data

    def after_commit(self, hook: Hook) -> None:
        """Run `hook` once the handler's effect is committed: send an SMS, nudge a task.

        A `Refusal` that it raises becomes the answer, and nothing is kept for the key.
        """
        self._hooks.append(hook)

    # --- the steps ---

    def answer(self, handler: Handler) -> HttpResponse:
        """Run the handler, once per Idempotency-Key where the caller sent one."""
        key = self.request.headers.get("Idempotency-Key")
        if key is None or self.request.method != "POST":
            response: HttpResponse = handler(self.request, *self.args, **self.kwargs)
            self._run_hooks()
            return response
        request = self.keyed_request(key, *self.key_owner())
        with transaction.atomic():
            kept = idempotency.first_answer(request=request, now=timezone.now())
            if kept is not None:
                return replay(status=kept.status, body=bytes(kept.body))
            outcome = attempt(lambda: handler(self.request, *self.args, **self.kwargs))
            if not isinstance(outcome, Refusal):
                body = self._renderer.render(outcome.data)
                idempotency.keep(
                    request=request, status=outcome.status_code, body=body, now=timezone.now()
                )
        if isinstance(outcome, Refusal):
            raise outcome
        try:
            self._run_hooks()
        except Refusal:
            idempotency.forget(request)
            raise
        return outcome

    def keyed_request(self, key: str, client: str, gamer: str) -> idempotency.Request:
        """This call under its Idempotency-Key."""
        ignored = self.action in self.bodiless_actions
        return idempotency.keyed_request(
            client=client,
            gamer=gamer,
            path=self.request.path,
            key=key,
            body=b"" if ignored else self.request._request.body,
        )

    def _handler(self) -> Handler:
        method = (self.request.method or "").lower()
        action = self.action_map.get(method) if method in self.http_method_names else None
        if action is None:
            known = [name for name in self.http_method_names if name in self.action_map]
            self.headers["Allow"] = ", ".join(known).upper()
            raise MethodNotAllowed
        handler: Handler = getattr(self, action)
        return handler

    def _check_size(self) -> None:
        length = self.request.META.get("CONTENT_LENGTH") or "0"
        # `int` reads more: signs, underscores, the digits of other scripts.
        if not _LENGTH.fullmatch(length):
            raise InvalidRequest({"Content-Length": "Give a number."})
        size = int(length)
        if size > self.largest_body:
            # A server hangs up over what nobody read, and may take the caller's next call with it.
            self.request._request.read(_MOST_READ_AWAY)
            raise PayloadTooLarge

    def _limit_rate(self) -> None:
        allowed, allowance = draw(
            self.rate_buckets(), must_count=self.action in self.counted_actions
        )
        self.headers.update(allowance.headers())
        if not allowed:
            raise RateLimited(retry_after=allowance.wait)

    def _run_hooks(self) -> None:
        for hook in self._hooks:
            hook()


R = TypeVar("R")


def attempt(call: Callable[[], R]) -> R | Refusal:
    """What `call` returns, or the refusal that it raised: for a transaction that is to commit."""
    try:
        return call()
    except Refusal as refusal:
        return refusal


def replay(*, status: int, body: bytes) -> HttpResponse:
    """A kept answer, marked as given before."""
    response = HttpResponse(body, status=status, content_type="application/json")
    response["Idempotent-Replayed"] = "true"
    return response
