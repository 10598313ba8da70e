"""The page of a suite of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._found import Found
from ._measured import SMOKE, command_of, figures_grid, subjects_grid
from ._measurement import MEASUREMENTS, read_measurement_lines
from ._record import Row
from ._record_file import newest
from ._results import facts_of
from ._summary_text import Grid, figure


@dataclass(frozen=True)
class MeasuredPage:
    """What the page of a suite of measurements shows, in words and figures."""

    name: str
    about: str
    facts: str
    warning: str
    records: str
    files: tuple[tuple[str, str], ...]
    measurements: list[dict[str, Any]]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What the index counts."""
        return self.measurements


def measured_page(found: Found, files: Sequence[tuple[str, str]]) -> MeasuredPage:
    """The page of a suite.

    Args:
        found: its records.
        files: names and descriptions of files next to the page.
    """
    suite, folder, rows = found
    lines = {
        line.row["measurement"]: line.number
        for line in newest(read_measurement_lines(folder / MEASUREMENTS), "measurement")
    }
    about = suite.about or suite.name
    return MeasuredPage(
        name=suite.name,
        about=about if about.endswith(".") else f"{about}.",
        facts=facts_of(rows, "measurement"),
        warning=SMOKE if any(row["smoke"] for row in rows) else "",
        records=MEASUREMENTS,
        files=tuple(files),
        measurements=[_measurement(row, lines[row["measurement"]]) for row in rows],
    )


def _measurement(row: Row, line: int) -> dict[str, Any]:
    facts = [("command", command_of(row)), ("record", f"line {line} of {MEASUREMENTS}")]
    shown: dict[str, Any] = {"name": row["measurement"], "error": None, "notes": [], "grids": []}
    if row["status"] != "finished":
        return {**shown, "facts": facts, "error": row.get("error") or row["status"]}
    first = figures_grid(row)
    shown["notes"] = [*first.notes[1:]]
    shown["grids"] = [_grid(first, 1), *([_grid(subjects_grid(row), 3)] if row["subjects"] else [])]
    facts.append(("report", f"{row['measurement']}.json"))
    facts += [(key, str(row[key])) for key in ("commit", "time", "machine", "load") if row[key] is not None]
    facts += [(key, figure(row[key])) for key in ("process_s", "cpu_s") if row[key] is not None]
    versions = [f"{name} {found}" for name, found in (row["versions"] or {}).items() if found]
    return {**shown, "facts": [*facts, ("versions", ", ".join(versions))]}


def _grid(grid: Grid, words: int) -> dict[str, Any]:
    """A table, of which the first columns are words."""
    return {**grid._asdict(), "text": list(range(words))}
