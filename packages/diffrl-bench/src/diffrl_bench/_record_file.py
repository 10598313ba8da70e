"""``results.jsonl``: records are added at its end, and read back with every doubt named by file and line.

Nothing is averaged over doubts: a damaged line, a run that ended twice, a seed that is there twice, or runs of one name
with other configurations are errors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ._record import RecordError, Row, problems_of, settings_of

NAME = "results.jsonl"
_OLD = "results.json"
_SHOWN = 10
"""Problems that an error names."""


class Line(NamedTuple):
    """A record and its place."""

    number: int
    row: Row


def append_row(file: Path, row: Row) -> None:
    """Add a record at the end of a file, as one line, and wait until the disk has it.

    Raises:
        RecordError: the record is not valid, or the file ends with a line that was cut off.
        OSError: it cannot be written, for instance because the disk is full; the file is as it was before.
    """
    if problems := problems_of(row):
        raise RecordError(f"the record of {row.get('run')} cannot be added to {file}: it {'; it '.join(problems)}")
    append_line(file, row)


def append_line(file: Path, row: Row) -> None:
    """As ``append_row``, for a record that was looked at.

    Raises:
        RecordError: the file ends with a line that was cut off.
        OSError: as ``append_row``.
    """
    line = (json.dumps(row, allow_nan=False, separators=(", ", ": ")) + "\n").encode()
    with file.open("a+b", buffering=0) as out:
        size = out.seek(0, os.SEEK_END)
        if size:
            out.seek(size - 1)
            if out.read(1) != b"\n":
                raise RecordError(_cut_off(file, file.read_bytes().count(b"\n") + 1))
        try:
            written = 0
            while written < len(line):
                written += out.write(line[written:]) or 0
            os.fsync(out.fileno())
        except OSError:
            out.truncate(size)
            raise


def read_rows(file: Path) -> list[Row]:
    """The newest record of every run, in the order in which the runs began; none if there is no such file.

    Raises:
        RecordError: a line is damaged, or lines contradict each other; the message names file and lines.
    """
    return [line.row for line in newest(read_lines(file))]


def read_lines(file: Path) -> list[Line]:
    """Every record of a file, those of runs that went on later too.

    Raises:
        RecordError: as ``read_rows``.
    """
    lines, problems = _parsed(file)
    refuse(problems or contradictions(file, lines))
    return lines


def refuse(problems: Sequence[str]) -> None:
    """Raise ``RecordError`` with the first problems, if there are any."""
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise RecordError("; ".join(problems[:_SHOWN]) + more)


def check_file(file: Path) -> list[str]:
    """Everything that is wrong with a file of records, each with file and line; empty if nothing is."""
    lines, problems = _parsed(file)
    return problems + contradictions(file, lines)


def newest(lines: Sequence[Line], key: str = "run") -> list[Line]:
    """The last line of each run, in the order of the first ones."""
    last: dict[str, Line] = {}
    for line in lines:
        last[line.row[key]] = line
    return list(last.values())


def contradictions(file: Path, lines: Sequence[Line]) -> list[str]:
    """Lines that cannot stand beside each other."""
    return [*mixtures(file, lines), *ended_twice(file, lines), *_same_seed(file, lines), *_other(file, lines)]


def mixtures(file: Path, lines: Sequence[Line]) -> list[str]:
    """Lines of several suites, and smoke runs among results."""
    return [*_several_suites(file, lines), *_smoke_among_results(file, lines)]


def _parsed(file: Path) -> tuple[list[Line], list[str]]:
    """The valid lines, and what is wrong with the others."""
    if not file.exists() and (old := file.with_name(_OLD)).exists():
        return [], [f"{old} is of an earlier version; convert it: diffrl bench migrate {file.parent}"]
    return parsed(file, problems_of)


def parsed(file: Path, problems_of: Callable[[Any], list[str]]) -> tuple[list[Line], list[str]]:
    """The lines in which ``problems_of`` finds nothing, and what is wrong with the others; none without a file."""
    lines: list[Line] = []
    problems: list[str] = []
    if not file.exists():
        return lines, problems
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return lines, [f"{file} is not a text file: {error.reason} at byte {error.start}"]
    *whole, rest = text.split("\n")
    if rest:
        problems.append(_cut_off(file, len(whole) + 1))
    for number, line in enumerate(whole, start=1):
        at = f"{file}, line {number}"
        try:
            row = json.loads(line)
        except ValueError:
            problems.append(f"{at} is not JSON: {_start(line)!r}; restore it from a copy, or delete it")
            continue
        found = problems_of(row)
        problems += [f"{at}: it {problem}" for problem in found]
        if not found:
            lines.append(Line(number, row))
    return lines, problems


def _start(line: str) -> str:
    return line if len(line) <= 40 else f"{line[:37]}..."


def _cut_off(file: Path, number: int) -> str:
    return (
        f"{file}, line {number} is cut off: the process was killed, or the machine stopped, as it was written; "
        "delete this line, and the same command records its run again"
    )


def _several_suites(file: Path, lines: Sequence[Line]) -> Iterator[str]:
    suites = {line.row["suite"]: line.number for line in reversed(lines)}
    if len(suites) > 1:
        named = " and ".join(f"{suite!r} (line {number})" for suite, number in sorted(suites.items()))
        yield f"{file} mixes the suites {named}; each needs a folder of its own"


def _smoke_among_results(file: Path, lines: Sequence[Line]) -> Iterator[str]:
    places = {bool(line.row.get("smoke")): line.number for line in reversed(lines)}
    if len(places) > 1:
        yield f"{file} mixes smoke runs (line {places[True]}) and results (line {places[False]}); keep them apart"


def ended_twice(file: Path, lines: Sequence[Line], key: str = "run") -> Iterator[str]:
    """Lines of what an earlier line says is finished."""
    ended: dict[str, int] = {}
    for number, row in lines:
        if (before := ended.get(row[key])) is not None:
            yield (
                f"{file}: {row[key]} is finished in line {before} and there again in line {number}; keep one of the two"
            )
        elif row["status"] == "finished":
            ended[row[key]] = number


def _same_seed(file: Path, lines: Sequence[Line]) -> Iterator[str]:
    seen: dict[tuple[str, str, str, str, int], Line] = {}
    for line in newest(lines):
        row = line.row
        key = (row["algorithm"], row["variant"], row["task"], row.get("problem", ""), row["seed"])
        other = seen.setdefault(key, line)
        if other is not line:
            yield (
                f"{file}: {other.row['run']} (line {other.number}) and {row['run']} (line {line.number}) are both seed "
                f"{row['seed']} of {_who(row)}; they would count twice: keep one of the two"
            )


def _other(file: Path, lines: Sequence[Line]) -> Iterator[str]:
    """Finished runs of one name with other configurations."""
    first: dict[tuple[str, ...], Line] = {}
    hashed: dict[tuple[str, ...], Line] = {}
    for line in newest(lines):
        row = line.row
        if row["status"] != "finished":
            continue
        key = (row["algorithm"], row["variant"], row["task"], row.get("problem", ""))
        one = first.setdefault(key, line)
        if settings_of(one.row) != settings_of(row):
            yield _two(file, one, line, f"{' '.join(settings_of(one.row))!r} and {' '.join(settings_of(row))!r}")
        elif row["config_hash"] is not None:
            same = hashed.setdefault(key, line)
            if same.row["config_hash"] != row["config_hash"]:
                yield _two(file, same, line, "as their config_hash says; defaults may have changed between commits")


def _two(file: Path, one: Line, other: Line, how: str) -> str:
    return (
        f"{file}: {one.row['run']} (line {one.number}) and {other.row['run']} (line {other.number}) are both "
        f"{_who(other.row)} but have different configurations, {how}; tell them apart with a variant"
    )


def _who(row: Row) -> str:
    variant = f" ({row['variant']})" if row["variant"] else ""
    problem = f", {row['problem']}" if row.get("problem") else ""
    return f"{row['algorithm']}{variant} on {row['task']}{problem}"
