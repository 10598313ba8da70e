"""``diffrl bench report``: results as pages."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._parser import Commands, Result, add_results


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    report = commands.add("report", _report, "Results of a suite, or of all, as HTML pages that need nothing else.")
    report.add_argument("--to", default="report", metavar="DIR", help="folder of the pages; default report")
    add_results(report)


def _report(args: argparse.Namespace) -> Result:
    from .._found import find
    from .._html import write_report

    words = ["diffrl bench report", *([args.suite] if args.suite else []), *(["--out", args.out] if args.out else [])]
    files = write_report(find(args.suite, args.out, unrun=True), Path(args.to), " ".join(words), args.progress)
    return Result({"index": str(files[0]), "files": [str(file) for file in files]}, str(files[0]))
