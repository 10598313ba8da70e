"""``diffrl bench run SUITE --estimate``: the core hours of a suite's missing runs."""

from __future__ import annotations

import argparse

from ._parser import Result, UsageError, folder_of

_OF_RUNS = ("seeds", "smoke", "jobs", "device", "address", "slurm", "gpus_per_run", "max_hours")
"""Options of ``diffrl bench run`` that say nothing here."""


def estimated(args: argparse.Namespace) -> Result:
    """The result of the command."""
    from .._estimates import estimate_suite, estimates_text
    from .._hours import experiments
    from .._results import read_results
    from .._suite import load_suite

    if args.suite is None:
        raise UsageError("--estimate needs a SUITE")
    given = [name for name in _OF_RUNS if getattr(args, name)] + (["on"] if args.on != "local" else [])
    if given:
        raise UsageError(
            f"--estimate times updates on this machine's processor; leave --{given[0].replace('_', '-')} out"
        )
    suite = load_suite(args.suite)
    folder = folder_of(args, suite.name)
    rows = read_results(folder)
    threads = args.threads or suite.threads or 1
    added = estimate_suite(suite, folder, rows, options=args.rest, threads=threads, progress=args.progress)
    text = estimates_text(added, experiments(suite, rows))
    return Result({"suite": suite.name, "out": str(folder), "estimates": added}, text)
