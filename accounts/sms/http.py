"""One call of a gateway, and what went wrong in words that name neither phone nor text.

A gateway's own sentences are never passed on: they like to repeat the number.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx

from accounts.sms import SmsInDoubt, SmsRefused

_PATIENCE = httpx.Timeout(10.0, connect=3.0)


@cache
def _client() -> httpx.Client:
    """Kept, because of all the certificates that a new one reads."""
    return httpx.Client(timeout=_PATIENCE, follow_redirects=False, trust_env=False)


def post(gateway: str, url: str, **options: Any) -> httpx.Response:
    """The gateway's answer, which is a good one or a refusal of its own.

    Raises `SmsRefused` where nothing can have been sent, and else `SmsInDoubt`.
    """
    try:
        response = _client().post(url, **options)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as problem:
        raise SmsRefused(f"{gateway} is out of reach: {type(problem).__name__}") from None
    except httpx.HTTPError as problem:
        raise SmsInDoubt(f"{gateway} did not answer: {type(problem).__name__}") from None
    if response.status_code >= 500:
        raise SmsInDoubt(f"{gateway} answered {response.status_code}")
    return response


def fields_of(response: httpx.Response) -> Mapping[str, Any]:
    """The JSON object of an answer; nothing where it is none."""
    try:
        told = response.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def refusal(gateway: str, response: httpx.Response, code: object) -> SmsRefused:
    """What the gateway said no with: its own code, which is a number or a short name."""
    named = str(code) if str(code).isalnum() and len(str(code)) <= 40 else "without a code"
    return SmsRefused(f"{gateway} refused with {response.status_code}, {named}")
