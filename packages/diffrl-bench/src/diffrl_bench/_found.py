"""Suites and their records on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ._estimates import ESTIMATES
from ._measurement import MEASUREMENTS, Measurement, read_measurements
from ._record import Row
from ._record_file import NAME
from ._results import in_order, read_results
from ._suite import PlannedRun, Suite, list_suites, load_suite


class Found(NamedTuple):
    """A suite, and the records of a folder in its order."""

    suite: Suite
    folder: Path
    rows: list[Row]


def find(suite: str | None, out: str | None, *, unrun: bool = False) -> list[Found]:
    """The records of a suite, or of every suite in a folder.

    Args:
        suite: name or ``.toml`` file; None for all in ``out``.
        out: folder of the suite's results, by default ``runs/SUITE``; without a suite a folder of such folders, by
            default ``runs``. It may itself hold results.
        unrun: whether a suite of trainings may be without records: one that is named, whose folder is there or by
            default; and one of which a folder holds estimates alone.

    Raises:
        ValueError: there are no results, or they are damaged.
    """
    if suite is not None:
        known = load_suite(suite)
        folder = Path(out) if out is not None else Path("runs") / known.name
        rows = read_measurements(folder) if known.measurements else read_results(folder)
        may_lack = unrun and known.runs and (out is None or folder.is_dir())
        if not rows and not may_lack:
            raise ValueError(f"{folder} holds no results; run the suite first: diffrl bench run {suite}")
        return [_ordered(known, folder, rows)]
    root = Path(out or "runs")
    names = (NAME, MEASUREMENTS, *((ESTIMATES.name,) if unrun else ()))
    files = [file for name in names for file in (root / name, *root.glob(f"*/{name}")) if file.exists()]
    alone = [file for file in files if file.parent == root]
    folders = dict.fromkeys(file.parent for file in sorted(alone or files) if not _of_models(file))
    found = [found_in(folder, unrun=unrun) for folder in folders]
    if not found:
        raise ValueError(f"neither {root} nor a folder in it holds results; name a suite, or a folder with --out")
    places: dict[str, Path] = {}
    for one in found:
        if (other := places.setdefault(one.suite.name, one.folder)) != one.folder:
            raise ValueError(f"{other} and {one.folder} both hold results of {one.suite.name}; give one of them")
    return found


def found_in(folder: Path, *, unrun: bool = False) -> Found:
    """The records of a folder, and their suite; of a suite that does not come with this package, what they say of it.

    With ``unrun`` a folder may hold estimates alone, of a suite that comes with this package.

    Raises:
        ValueError: they are damaged, or there are none.
    """
    measured, rows = read_measurements(folder), read_results(folder)
    if measured and rows:
        raise ValueError(f"{folder} holds {MEASUREMENTS} and {NAME}; each suite needs a folder of its own")
    rows = measured or rows
    if not rows and unrun and (estimates := ESTIMATES.read(folder)):
        return _ordered(load_suite(estimates[0].row["suite"]), folder, rows)
    if not rows:
        raise ValueError(f"{folder} holds no results")
    name = rows[0]["suite"]
    return _ordered(load_suite(name) if name in list_suites() else _suite_of(name, rows), folder, rows)


def _ordered(suite: Suite, folder: Path, rows: Sequence[Row]) -> Found:
    if suite.measurements:
        return Found(suite, folder, in_order(rows, [one.name for one in suite.measurements], "measurement"))
    return Found(suite, folder, in_order(rows, [run.name for run in suite.runs]))


def _suite_of(name: str, rows: Sequence[Row]) -> Suite:
    if "measurement" in rows[0]:
        measured = [Measurement(name=row["measurement"], command=tuple(row["command"])) for row in rows]
        return Suite(name=name, measurements=tuple(measured))
    planned = [
        PlannedRun(
            algorithm=row["algorithm"],
            task=row["task"],
            problem=row.get("problem", ""),
            variant=row["variant"],
            seed=row["seed"],
        )
        for row in rows
    ]
    return Suite(name=name, runs=tuple(planned))


def _of_models(file: Path) -> bool:
    """Whether ``diffrl bench models`` wrote a file: its results have the same name."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        return next(lines, "").startswith('{"format": "diffrl-bench-models-')
