"""``diffrl bench run``: the trainings of a suite."""

from __future__ import annotations

import argparse
import sys

from ._parser import Commands, Result, add_suite, folder_of


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    run = commands.add(
        "run", _run, "Train every unfinished run of a suite; options of diffrl train may follow after --."
    )
    run.add_argument("--jobs", type=int, metavar="J", help="runs at a time; default from the suite")
    run.add_argument("--threads", type=int, metavar="K", help="simulator threads of each; default cores / jobs")
    run.add_argument("--device", help="cpu, cuda or cuda:i")
    add_suite(run)


def _run(args: argparse.Namespace) -> Result:
    from .._results import light, table_text
    from .._runner import RunSettings, run_suite
    from .._suite import load_suite

    suite = load_suite(args.suite)
    device = () if args.device is None else ("--device", args.device)
    settings = RunSettings(
        out=folder_of(args, suite.name), jobs=args.jobs, threads=args.threads, options=(*device, *args.rest)
    )
    rows = run_suite(suite, settings, say=lambda line: print(line, file=sys.stderr, flush=True))
    failed = any(row["status"] != "finished" for row in rows)
    value = {"suite": suite.name, "out": str(settings.out), "runs": [light(row) for row in rows]}
    return Result(value, table_text(rows, markdown=False), 1 if failed else 0)
