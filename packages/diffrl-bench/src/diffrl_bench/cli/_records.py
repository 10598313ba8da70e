"""``diffrl bench check|migrate``: whether records can be trusted, and records of older results."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._parser import Commands, Result


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    check = commands.add("check", _check, "Check records of results: damaged lines, and lines that contradict others.")
    check.add_argument("folders", nargs="+", metavar="DIR", help="folders of results, or results.jsonl files")
    migrate = commands.add("migrate", _migrate, "Write results of earlier versions, results.json, as results.jsonl.")
    migrate.add_argument("folders", nargs="+", metavar="DIR", help="folders of results")


def _check(args: argparse.Namespace) -> Result:
    from .._record_file import NAME, check_file, read_lines

    files = [path / NAME if path.is_dir() else path for path in map(Path, args.folders)]
    if absent := [str(file) for file in files if not file.exists()]:
        raise ValueError(f"{', '.join(absent)} does not exist; give a folder of results, as of diffrl bench run")
    problems = [problem for file in files for problem in check_file(file)]
    records = 0 if problems else sum(len(read_lines(file)) for file in files)
    text = "\n".join(problems) if problems else f"{records} records in {len(files)} files, nothing wrong"
    return Result(
        {"files": [str(file) for file in files], "records": records, "problems": problems}, text, 2 * bool(problems)
    )


def _migrate(args: argparse.Namespace) -> Result:
    from .._migrate import migrate

    found = {folder: len(migrate(Path(folder))) for folder in args.folders}
    text = "\n".join(
        f"{folder}: {count} records in results.jsonl; the old files stay" for folder, count in found.items()
    )
    return Result({"records": found}, text)
