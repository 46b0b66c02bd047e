from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from kgen.common import strict_json


class StrictJsonParser(BaseParser):
    """The only parser: no forms and no uploads reach the API."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return strict_json.loads(stream.read())
