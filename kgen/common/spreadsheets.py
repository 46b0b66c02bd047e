"""CSV for people who open it in a spreadsheet."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

# A cell that begins with one of these is run as a formula.
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")

Cell = str | int | datetime | None


class _Echo:
    def write(self, text: str) -> str:
        return text


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """The lines of a file, one by one. Numbers stay numbers; text never becomes a formula."""
    writer = csv.writer(_Echo())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: Cell) -> str | int | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
