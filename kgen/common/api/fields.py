"""Serializer fields that take a JSON value for what it is and convert nothing.

DRF's own take "12", 1.0 and Arabic digits for the integer 12, and 12 for the text "12"; an integer
without bounds ends as a database error.
"""

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

LARGEST_INTEGER = 2**53 - 1

_DIGITS = re.compile(r"[0-9]{1,16}", re.ASCII)


class StrictIntegerField(serializers.IntegerField):
    """A JSON integer, 0 to 2^53-1 unless told otherwise (contract 0)."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("min_value", 0)
        kwargs.setdefault("max_value", LARGEST_INTEGER)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return data


class QueryIntegerField(StrictIntegerField):
    """An integer in a query string: ASCII digits alone."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str) or not _DIGITS.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(int(data))


def text_or_integer(**text: Any) -> dict[str, Any]:
    """For the document: a text of this kind, or an integer."""
    integer = {"type": "integer", "minimum": 0, "maximum": LARGEST_INTEGER, "format": "int64"}
    return {"oneOf": [{"type": "string", **text}, integer]}


@extend_schema_field(text_or_integer(minLength=1))
class TextOrIntegerField(serializers.CharField):
    """A JSON string, or an integer taken as its decimal text."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if type(data) is int and 0 <= data <= LARGEST_INTEGER:
            return str(data)
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class StrictTextField(serializers.CharField):
    """A JSON string, kept as it is; empty is allowed unless told otherwise."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_blank", True)
        kwargs.setdefault("trim_whitespace", False)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data
