"""JSON as the API takes it: bytes in, a value out, nothing ambiguous in between.

The standard reader keeps the last of two equal keys, takes NaN, turns 1e400 into infinity and gives
up with a RecursionError on deep nesting. Stored or hashed, such a body means different things to
different readers, and NUL or half a surrogate pair cannot be stored by PostgreSQL at all.
"""

import json
import math
import re
from typing import Any, NoReturn, TypeAlias

from kgen.common.errors import Invalid

DEEPEST_NESTING = 32
MOST_KEYS = 1000
# Of a body that carries many values: what is deeper than this is not looked into at all.
_DEEPEST_BODY = 200

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
# One of many values: itself, or why it was not read.
Read: TypeAlias = "Json | BrokenJson"


class BrokenJson(Invalid):
    """The body is not JSON, or not the plain JSON of the API contract, section 0."""

    message = "The body is not valid JSON."

    def __init__(self, reason: str) -> None:
        super().__init__(details={"fields": {"body": reason}})


def loads(raw: bytes) -> Json:
    """The value that `raw` stands for; integers stay `int` and numbers with a point `float`.

    Raises `BrokenJson`.
    """
    value: Json = _decoded(raw, _DECODER, deepest=DEEPEST_NESTING)
    if not _is_plainly_harmless(raw):
        _check(value)
    return value


def loads_many(raw: bytes, *, under: str) -> list[Read]:
    """The values of the list under the key `under` of an object, each held to the rules by itself.

    One that breaks them is given as its refusal. Raises `BrokenJson` where the body is no JSON at
    all, or has no such list.
    """
    body = _decoded(raw, _TOLERANT_DECODER, deepest=_DEEPEST_BODY)
    if isinstance(body, BrokenJson):
        raise body
    values = body.get(under) if isinstance(body, dict) else None
    if not isinstance(values, list):
        raise BrokenJson(f"not an object with a list under {under!r}")
    return [_checked(value) for value in values]


def canonical(value: Json) -> bytes:
    """The one spelling of a value: keys sorted, no spaces, UTF-8. Equal values give equal bytes."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def _decoded(raw: bytes, decoder: json.JSONDecoder, *, deepest: int) -> Any:
    # Before the reader goes down there itself: how deep it can is a setting of the process.
    if raw.count(b"{") + raw.count(b"[") > deepest:
        _check_nesting(raw, deepest)
    try:
        return decoder.decode(raw.decode())
    except UnicodeDecodeError:
        raise BrokenJson("not UTF-8") from None
    except ValueError:
        raise BrokenJson("not JSON") from None


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BrokenJson("a key is given twice")
    return members


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BrokenJson("a number is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise BrokenJson(f"{name} is not a number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)


def _object_or_refusal(pairs: list[tuple[str, Json]]) -> dict[str, Json] | BrokenJson:
    try:
        return _object(pairs)
    except BrokenJson as refusal:
        return refusal


def _float_or_refusal(text: str) -> float | BrokenJson:
    try:
        return _float(text)
    except BrokenJson as refusal:
        return refusal


# Leaves a refusal in the place of what broke a rule, so that the values beside it can be read.
_TOLERANT_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_or_refusal,
    parse_float=_float_or_refusal,
    parse_constant=_constant,
)


# A string, also one that nothing closes, or a bracket; possessive, so that no input is read twice.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def _check_nesting(raw: bytes, deepest: int) -> None:
    depth = 0
    for token in _TOKEN.finditer(raw):
        match token[0]:
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
        if depth > deepest:
            raise BrokenJson(f"nested deeper than {deepest}")


def _is_plainly_harmless(raw: bytes) -> bool:
    """Whether the bytes alone rule out every breach that `_check` looks for, as they nearly always
    do: then the value need not be walked."""
    return (
        raw.count(b":") <= MOST_KEYS
        and b"\\u0000" not in raw
        and b"\\ud" not in raw
        and b"\\uD" not in raw
    )


def _checked(value: Read) -> Read:
    try:
        _check(value)
    except BrokenJson as refusal:
        return refusal
    return value


def _check(value: Read) -> None:
    keys = depth = 0
    level: list[Any] = [value]
    while level:
        depth += 1
        inner: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, dict | list) and depth > DEEPEST_NESTING:
                raise BrokenJson(f"nested deeper than {DEEPEST_NESTING}")
            elif isinstance(item, dict):
                keys += len(item)
                if keys > MOST_KEYS:
                    raise BrokenJson(f"more than {MOST_KEYS} keys")
                inner += item.keys()
                inner += item.values()
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, BrokenJson):
                raise item
        level = inner


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise BrokenJson("a text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BrokenJson("a text holds half a surrogate pair") from None
