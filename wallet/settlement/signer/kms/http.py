"""One call of a KMS: JSON there, JSON back, and failures told apart by whether to ask again."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import httpx

from wallet.settlement.signer.errors import SignerUnavailable, SigningRefused

PATIENCE: Final = 10.0  # seconds


class KmsRefused(SigningRefused):
    """The KMS said no: no such key, no permission, or a request that it does not accept."""


class Answer(dict[str, Any]):
    """Of which every field that is read must be there."""

    def __missing__(self, name: str) -> object:
        raise SignerUnavailable(f"The KMS answered without {name}.")


@cache
def client() -> httpx.Client:
    """Kept, because of all the certificates that a new one reads."""
    return httpx.Client(timeout=PATIENCE)


def call(method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
    """Raises SignerUnavailable, KmsRefused."""
    try:
        response = client().request(method, url, headers=dict(headers), content=body)
    except httpx.HTTPError as problem:
        raise SignerUnavailable(f"{_host(url)}: {type(problem).__name__} {problem}") from problem
    if response.status_code == 429 or response.status_code >= 500:
        raise SignerUnavailable(f"{_host(url)} answered {response.status_code}: {_why(response)}")
    if response.status_code != 200:
        raise KmsRefused(f"{_host(url)} answered {response.status_code}: {_why(response)}")
    try:
        told = response.json()
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise SignerUnavailable(f"{_host(url)} answered with something that is no JSON object.")
    return Answer(told)


def _host(url: str) -> str:
    return httpx.URL(url).host


def _why(response: httpx.Response) -> str:
    return response.text[:300]
