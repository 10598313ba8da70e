"""``diffrl bench compare``: what fell between two results."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._parser import Commands, Result


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    compare = commands.add(
        "compare",
        _compare,
        "Which returns and speeds fell by more than their interval; the exit code is 1 if one did, 2 for bad input.",
    )
    compare.add_argument(
        "base", metavar="BASE", help="before: a folder of results, results.jsonl, or a report as .json"
    )
    compare.add_argument("new", metavar="NEW", help="after: the same")
    compare.add_argument("--only", choices=("return", "speed"), help="compare only these; default both")
    compare.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="F",
        help="by which fraction a value may be lower in any case; default 0",
    )


def _compare(args: argparse.Namespace) -> Result:
    from .._compare import FELL, RETURN, SPEED, compare, compare_text

    kinds = (RETURN, SPEED) if args.only is None else (args.only,)
    changes = compare(Path(args.base), Path(args.new), kinds, args.tolerance)
    fell = sum(change.verdict == FELL for change in changes)
    value = {"base": args.base, "new": args.new, "fell": fell, "changes": [change.to_json() for change in changes]}
    return Result(value, compare_text(changes), 1 if fell else 0)
