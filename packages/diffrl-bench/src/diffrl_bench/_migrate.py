"""Results from before the record, ``results.json`` with ``curves.csv`` and ``traces.csv``, as records.

What was not written down then is null and named in ``missing``; nothing is guessed. The old files stay as they are.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._record import FIELDS, FORMAT, PROVENANCE, RecordError, Row, problems_of
from ._record_file import NAME, append_row, check_file

_FORMAT = "diffrl-bench-results-1"
_NULL = ("jobs", "threads", "machine", "device", "return_std", "length_mean", "episodes", "training_diverged")


def migrate(folder: Path) -> list[Row]:
    """Write ``results.jsonl`` next to the older files of a folder; returns its records.

    Raises:
        RecordError: there is no ``results.json``, it is damaged, its rows contradict each other, or ``results.jsonl``
            exists already. Nothing is left behind then.
    """
    file, old = folder / NAME, folder / "results.json"
    if file.exists():
        raise RecordError(f"{file} exists already; nothing is to convert in {folder}")
    if not old.exists():
        raise RecordError(f"{folder} holds no results.json; nothing is to convert")
    try:
        values = json.loads(old.read_text(encoding="utf-8"))
        if values["format"] != _FORMAT:
            raise ValueError
        suite, runs = str(values["suite"]), [dict(row) for row in values["runs"]]
    except (ValueError, KeyError, TypeError):
        raise RecordError(f"{old} is damaged or was not written by diffrl bench run") from None
    curves, traces = _columns(folder / "curves.csv"), _columns(folder / "traces.csv")
    rows = [_record(suite, run, curves.get(run.get("run")), traces.get(run.get("run"))) for run in runs]
    try:
        for row in rows:
            append_row(file, row)
        if problems := check_file(file):
            raise RecordError("; ".join(problems))
    except (RecordError, OSError):
        file.unlink(missing_ok=True)
        raise
    return rows


def _record(suite: str, run: Row, curve: Any, traces: Any) -> Row:
    row: Row = {"format": FORMAT, "suite": suite, "variant": "", **run}
    if row.get("status") == "finished":
        row |= {key: None for key in (*_NULL, *PROVENANCE) if key not in row}
        row["missing"] = [key for key in PROVENANCE if row[key] is None]
        row["curve"] = curve
        row |= {"traces": traces} if traces else {}
    if problems := problems_of(row):
        raise RecordError(f"{row.get('run')} cannot be converted: it {'; it '.join(problems)}")
    return {key: row[key] for key in FIELDS if key in row}


def _columns(file: Path) -> dict[Any, dict[str, list[float | None]]]:
    """``{run: {column: values}}`` of a table whose first column is ``run``; empty if there is no such file."""
    found: dict[Any, dict[str, list[float | None]]] = {}
    for number, cells in _lines(file):
        try:
            run = found.setdefault(cells.pop("run"), {})
            for key, text in cells.items():
                run.setdefault(key, []).append(_number(text))
        except (KeyError, TypeError, ValueError):
            raise RecordError(f"{file}, line {number} is damaged") from None
    return found


def _lines(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if file.exists():
        with file.open(encoding="utf-8", newline="") as text:
            yield from enumerate(csv.DictReader(text), start=2)


def _number(text: str) -> float | None:
    value = float(text)
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
