"""Measurements of a suite, and their records: ``measurements.jsonl``, a line when one begins and one when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._figures import problems_of_figure, problems_of_subject
from ._record import Field, RecordError, Row, Schema, problems_by
from ._record_file import Line, append_line, ended_twice, mixtures, newest, parsed, refuse

MEASUREMENTS = "measurements.jsonl"
FORMAT = "diffrl-bench-measurement-1"
_ENDED = ("finished",)
FIELDS: dict[str, Field] = {
    "format": Field("text", f"the schema, {FORMAT}"),
    "suite": Field("text", "the suite that the measurement is part of"),
    "measurement": Field("text", "its name, unique in the suite; its whole report is in NAME.json"),
    "command": Field("texts", "arguments of diffrl bench: they repeat the measurement"),
    "status": Field("text", "unfinished, failed or finished"),
    "error": Field("text", "what a failed measurement ended with", ("failed",)),
    "smoke": Field("flag", "whether this only shows that the command runs; no result"),
    "time": Field("text", "when the line was written, UTC, ISO 8601"),
    "machine": Field("text", "the machine in words"),
    "hardware": Field("object", "processor, cores, memory [GiB], system, GPU"),
    "load": Field("number?", "load average of the last minute when the measurement began", _ENDED),
    "commit": Field("text?", "commit of this project's sources; +changes where files differed from it", _ENDED),
    "versions": Field("object?", "versions of Python and of the packages", _ENDED),
    "missing": Field("texts", "fields of provenance that are null because nobody knows them", ()),
    "process_s": Field("number", "seconds of the whole process", _ENDED),
    "cpu_s": Field("number?", "processor time of the whole process [s]", _ENDED),
    "figures": Field("objects", "what was measured: subject, quantity, value, low, high, unit, by", _ENDED),
    "subjects": Field("objects", "what the figures are of: subject, version, settings, missing", _ENDED),
}
SCHEMA = Schema(FORMAT, FIELDS, ("load", "commit", "versions"))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measurement of a suite: a command of ``diffrl bench`` that prints a report with ``--json``."""

    name: str
    """Name in its suite, and of its report's file."""
    command: tuple[str, ...]
    """Arguments of ``diffrl bench``, without ``--json``."""
    smoke: tuple[str, ...] = ()
    """Further arguments that make it short, to see that it runs."""


def problems_of(row: Any) -> list[str]:
    """What is wrong with one record, in words; empty if nothing is."""
    found = problems_by(row, SCHEMA)
    if not found and row["status"] == "finished":
        for key, judge in (("figures", problems_of_figure), ("subjects", problems_of_subject)):
            found += [f"{key} {k} {problem}" for k, one in enumerate(row[key]) for problem in judge(one)]
    return found


def append_measurement(file: Path, row: Row) -> None:
    """Add a record at the end of a file, as ``append_row`` does.

    Raises:
        RecordError: the record is not valid, or the file ends with a line that was cut off.
        OSError: it cannot be written; the file is as it was before.
    """
    if problems := problems_of(row):
        name = row.get("measurement")
        raise RecordError(f"the record of {name} cannot be added to {file}: it {'; it '.join(problems)}")
    append_line(file, row)


def read_measurements(folder: Path) -> list[Row]:
    """The newest record of every measurement in a folder, in the order in which they began; none without a file.

    Raises:
        RecordError: a line is damaged, or lines contradict each other; the message names file and lines.
    """
    return [line.row for line in newest(read_measurement_lines(folder / MEASUREMENTS), "measurement")]


def read_measurement_lines(file: Path) -> list[Line]:
    """Every record of a file.

    Raises:
        RecordError: as ``read_measurements``.
    """
    lines, problems = parsed(file, problems_of)
    refuse(problems or _contradictions(file, lines))
    return lines


def check_measurements(file: Path) -> list[str]:
    """Everything that is wrong with a file of measurements, each with file and line; empty if nothing is."""
    lines, problems = parsed(file, problems_of)
    return problems + _contradictions(file, lines)


def _contradictions(file: Path, lines: Sequence[Line]) -> list[str]:
    return [*mixtures(file, lines), *ended_twice(file, lines, "measurement"), *_other_commands(file, lines)]


def _other_commands(file: Path, lines: Sequence[Line]) -> Iterator[str]:
    """Lines of one measurement that were made by different commands."""
    first: dict[str, Line] = {}
    for line in lines:
        one = first.setdefault(line.row["measurement"], line)
        if one.row["command"] != line.row["command"]:
            yield (
                f"{file}: {line.row['measurement']} is of {' '.join(one.row['command'])!r} (line {one.number}) and of "
                f"{' '.join(line.row['command'])!r} (line {line.number}); keep those of one command"
            )
