"""``diffrl bench check|migrate``: whether records can be trusted, and records of older results."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ._parser import Commands, Result


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    check = commands.add("check", _check, "Check records of results: damaged lines, and lines that contradict others.")
    check.add_argument(
        "folders",
        nargs="+",
        metavar="DIR",
        help="folders of results, or files in them: results.jsonl, measurements.jsonl, "
        "estimates.jsonl, transfers.jsonl",
    )
    migrate = commands.add("migrate", _migrate, "Write results of earlier versions, results.json, as results.jsonl.")
    migrate.add_argument("folders", nargs="+", metavar="DIR", help="folders of results")


def _check(args: argparse.Namespace) -> Result:
    from .._estimates import ESTIMATES
    from .._measurement import MEASUREMENTS, check_measurements, read_measurement_lines
    from .._record_file import NAME, check_file, read_lines
    from .._transfers import TRANSFERS

    beside = {file.name: file for file in (ESTIMATES, TRANSFERS)}
    names = (NAME, MEASUREMENTS, *beside)
    files = [path for folder in map(Path, args.folders) for path in _files_in(folder, names)]
    if absent := [str(file) for file in files if not file.exists()]:
        raise ValueError(f"{', '.join(absent)} does not exist; give a folder of results, as of diffrl bench run")
    of_runs = [file for file in files if file.name not in (MEASUREMENTS, *beside)]
    of_measurements = [file for file in files if file.name == MEASUREMENTS]
    problems = [problem for file in of_runs for problem in check_file(file)]
    problems += [problem for file in of_measurements for problem in check_measurements(file)]
    problems += [problem for file in files if file.name in beside for problem in beside[file.name].check(file)]
    records = 0
    if not problems:
        records = sum(len(read_lines(file)) for file in of_runs)
        records += sum(len(read_measurement_lines(file)) for file in of_measurements)
        records += sum(len(beside[file.name].read(file.parent)) for file in files if file.name in beside)
    text = "\n".join(problems) if problems else f"{records} records in {len(files)} files, nothing wrong"
    return Result(
        {"files": [str(file) for file in files], "records": records, "problems": problems}, text, 2 * bool(problems)
    )


def _files_in(path: Path, names: Sequence[str]) -> list[Path]:
    """The files of records in a folder, the first if it has none; or the file that is given."""
    if not path.is_dir():
        return [path]
    return [path / name for name in names if (path / name).exists()] or [path / names[0]]


def _migrate(args: argparse.Namespace) -> Result:
    from .._migrate import migrate

    found = {folder: len(migrate(Path(folder))) for folder in args.folders}
    text = "\n".join(
        f"{folder}: {count} records in results.jsonl; the old files stay" for folder, count in found.items()
    )
    return Result({"records": found}, text)
