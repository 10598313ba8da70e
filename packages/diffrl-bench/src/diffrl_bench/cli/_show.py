"""``diffrl bench table|plot|runs``: what the runs of a suite, or any runs, gave."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ._parser import Commands, Result, add_suite, folder_of, picture


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    add_suite(commands.add("table", _table, "A suite's results as a Markdown table."))

    plot = commands.add("plot", _plot, "Draw a suite's learning curves.")
    plot.add_argument(
        "--traces", action="store_true", help="draw the metrics that the suite keeps traces of instead, over updates"
    )
    plot.add_argument("--together", action="store_true", help="a panel for each task with all algorithms in it")
    plot.add_argument("--file", metavar="FILE", help=".svg, .png or .pdf; default curves.svg in the results' folder")
    add_suite(plot)

    runs = commands.add(
        "runs", _plot_runs, "Draw the learning curves of run folders together; diffrl plot is the same."
    )
    runs.add_argument("runs", nargs="+", metavar="RUN", help="run folders, finished or not")
    runs.add_argument("--file", default="curves.svg", metavar="FILE", help=".svg, .png or .pdf; default curves.svg")
    runs.add_argument(
        "--name",
        dest="names",
        action="append",
        metavar="NAME",
        help="name of a run in the picture, once for each; equal names are seeds of one curve; default what differs",
    )


def _plot(args: argparse.Namespace) -> Result:
    from .._plots import plot_curves, plot_together
    from .._results import curves_of

    suite, rows = _rows(args)
    folder = folder_of(args, suite.name)
    file = picture(args.file) or folder / ("traces.svg" if args.traces else "curves.svg")
    if args.traces:
        from .._plot_traces import plot_traces
        from .._traces import read_traces

        plot_traces(read_traces(rows), rows, suite.traces, suite.about, file)
    else:
        draw = plot_together if args.together else plot_curves
        draw(curves_of(rows), rows, suite.about, file)
    return Result({"suite": suite.name, "file": str(file)}, str(file))


def _plot_runs(args: argparse.Namespace) -> Result:
    from .._plot_runs import plot_runs

    file = picture(args.file)
    assert file is not None
    rows = plot_runs([Path(run) for run in args.runs], file, args.names or ())
    return Result({"file": str(file), "runs": rows}, str(file))


def _table(args: argparse.Namespace) -> Result:
    from .._paper import best_table
    from .._results import summarise, table_text
    from .._variants import differences, differences_text

    suite, rows = _rows(args)
    found = differences(rows)
    value = {"suite": suite.name, "summary": summarise(rows), "differences": found, "runs": rows}
    paper = {(one.learner, one.task): one.value for one in suite.references if one.metric == "return_best"}
    compared = [best_table(rows, paper, markdown=True)] if paper else []
    compared += [differences_text(found, markdown=True)] if found else []
    return Result(value, "\n\n".join([*compared, table_text(rows, markdown=True)]))


def _rows(args: argparse.Namespace) -> tuple[Any, list[dict[str, Any]]]:
    from .._results import in_order, read_results
    from .._suite import load_suite

    suite = load_suite(args.suite)
    folder = folder_of(args, suite.name)
    rows = read_results(folder)
    if not rows:
        raise ValueError(f"{folder} holds no results; run the suite first: diffrl bench run {args.suite}")
    return suite, in_order(rows, [run.name for run in suite.runs])
