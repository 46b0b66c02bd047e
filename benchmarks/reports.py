"""What a benchmark found: as a table for people, as JSON to compare with later."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Times:
    """Seconds that a call took, over many calls."""

    p50: float
    p99: float
    calls: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Times":
        cuts = quantiles(seconds, n=100)
        return cls(p50=cuts[49], p99=cuts[98], calls=len(seconds))


@dataclass(frozen=True)
class Goal:
    name: str
    figure: float
    limit: float
    # Whether the figure may be at most the limit, or must be at least that.
    is_ceiling: bool
    unit: str = "x"

    @property
    def is_met(self) -> bool:
        return self.figure <= self.limit if self.is_ceiling else self.figure >= self.limit

    def __str__(self) -> str:
        sign = "<=" if self.is_ceiling else ">="
        met = "met" if self.is_met else "MISSED"
        return (
            f"{self.name:<58} {self.figure:>9.2f} {self.unit:<2} "
            f"goal {sign} {self.limit:g} {self.unit:<2} {met}"
        )


@dataclass
class Report:
    title: str
    columns: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def all_goals_met(self) -> bool:
        return all(goal.is_met for goal in self.goals)

    def save(self, name: str) -> None:
        RESULTS.mkdir(exist_ok=True)
        found = {
            "title": self.title,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"cores": os.cpu_count(), "kind": platform.machine()},
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "goals": [
                {"name": goal.name, "figure": round(goal.figure, 3), "unit": goal.unit}
                | {"limit": goal.limit, "is_met": goal.is_met}
                for goal in self.goals
            ],
            "notes": self.notes,
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")

    def __str__(self) -> str:
        cells = [[str(cell) for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        table = [
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        ]
        return "\n".join([self.title, "", *table, "", *map(str, self.goals), *self.notes])


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
