"""What stands next to a suite's records, in lines of JSON with the same provenance: estimates, and runs elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffrl_algos._surroundings import surroundings

from ._machine import now, versions
from ._record import Field, RecordError, Row, Schema, problems_by
from ._record_file import Line, append_line, parsed, refuse
from ._rows import place_of

_FIELDS: dict[str, Field] = {
    "format": Field("text", "the schema"),
    "suite": Field("text", "the suite"),
    "status": Field("text", "finished"),
    "time": Field("text", "when the line was written, UTC, ISO 8601"),
    "commit": Field("text?", "commit of this project's sources; null where they are not of a checkout"),
    "versions": Field("object", "versions of Python and of the packages"),
    "machine": Field("text", "the machine in words"),
    "hardware": Field("object", "processor, cores, memory [GiB], system"),
    "load": Field("number?", "load average of the last minute before"),
}
"""What every line has: where and with what it was made."""


@dataclass(frozen=True)
class SideFile:
    """A file of lines of one schema, in the folder of a suite's results."""

    name: str
    schema: Schema

    def append(self, folder: Path, row: Row) -> Row:
        """Add a line with these values; the folder is made if it does not exist.

        Returns:
            The line, with its format.

        Raises:
            RecordError: the values are not as the schema says, or the file ends with a line that was cut off.
            OSError: it cannot be written.
        """
        row = {"format": self.schema.format, "status": "finished", **row}
        if problems := problems_by(row, self.schema):
            raise RecordError(f"a line cannot be added to {folder / self.name}: it {'; it '.join(problems)}")
        folder.mkdir(parents=True, exist_ok=True)
        append_line(folder / self.name, row)
        return row

    def read(self, folder: Path) -> list[Line]:
        """All lines, the oldest first; none if there is no such file.

        Raises:
            RecordError: a line is damaged; the message names file and line.
        """
        lines, problems = self._parsed(folder / self.name)
        refuse(problems)
        return lines

    def check(self, file: Path) -> list[str]:
        """Everything that is wrong with a file, each with file and line; empty if nothing is."""
        return self._parsed(file)[1]

    def _parsed(self, file: Path) -> tuple[list[Line], list[str]]:
        lines, problems = parsed(file, lambda row: problems_by(row, self.schema))
        suites = {line.row["suite"]: line.number for line in reversed(lines)}
        if len(suites) > 1:
            named = " and ".join(f"{suite!r} (line {number})" for suite, number in sorted(suites.items()))
            problems.append(f"{file} mixes the suites {named}; each needs a folder of its own")
        return lines, problems


def side_file(name: str, form: str, fields: Mapping[str, Field]) -> SideFile:
    """A file whose lines have the format ``form``, ``fields``, and what every line has."""
    return SideFile(name, Schema(form, {**_FIELDS, **fields}, ()))


def place(hardware: Mapping[str, Any]) -> Row:
    """Where and with what a line is made, now.

    Args:
        hardware: ``machine()`` from before the work.
    """
    return {
        "time": now(),
        "commit": surroundings()["commit"],
        "versions": versions(),
        **place_of(dict(hardware)),
        "load": hardware["load_before"],
    }


def told(row: Row) -> str:
    """Where and with what a line was made, in words."""
    return f"commit {(row['commit'] or 'unknown')[:7]}, {row['machine']}, load {row['load']}, {row['time']}"
