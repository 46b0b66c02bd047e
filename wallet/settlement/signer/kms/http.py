"""One call of a KMS: JSON there, JSON back, and failures told apart by whether to ask again."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from wallet.settlement.signer.errors import SignerUnavailable, SigningRefused

PATIENCE: Final = 10.0  # seconds


class KmsRefused(SigningRefused):
    """The KMS said no: no such key, no permission, or a request that it does not accept."""


def call(
    method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
) -> dict[str, Any]:
    """Raises SignerUnavailable, KmsRefused."""
    try:
        response = httpx.request(method, url, headers=dict(headers), content=body, timeout=PATIENCE)
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
    return told


def _host(url: str) -> str:
    return httpx.URL(url).host


def _why(response: httpx.Response) -> str:
    return response.text[:300]
