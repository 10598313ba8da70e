"""``diffrl bench table|plot|runs``: what the runs of a suite, or any runs, gave."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ._parser import Commands, Result, add_results, picture


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    table = commands.add("table", _table, "Results of a suite, or of all, as tables next to the numbers of papers.")
    table.add_argument(
        "--format", choices=("md", "tex", "csv"), default="md", help="Markdown (default), LaTeX, or for a spreadsheet"
    )
    table.add_argument("--wide", action="store_true", help="a column for each task, in Markdown and LaTeX")
    table.add_argument("--runs", action="store_true", help="list every run too, in Markdown")
    add_results(table)

    plot = commands.add("plot", _plot, "Draw a suite's learning curves.")
    plot.add_argument(
        "--traces", action="store_true", help="draw the metrics that the suite keeps traces of instead, over updates"
    )
    plot.add_argument("--together", action="store_true", help="a panel for each task with all algorithms in it")
    plot.add_argument(
        "--axes", action="store_true", help="interquartile means with intervals over control steps, updates and time"
    )
    plot.add_argument("--file", metavar="FILE", help=".svg, .png or .pdf; default curves.svg in the results' folder")
    add_results(plot)

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


def _table(args: argparse.Namespace) -> Result:
    from .._estimates import ESTIMATES
    from .._found import find
    from .._measured import FORMATS
    from .._results import light, summarise, table_text
    from .._summary import summarise_suite
    from .._summary_text import as_csv, as_latex, as_markdown
    from .._transfers import TRANSFERS
    from .._variants import differences, differences_text

    if args.wide and args.format == "csv":
        raise ValueError("--wide is for md and tex; a spreadsheet has a line for each task and learner")
    values: list[dict[str, Any]] = []
    texts: list[str] = []
    suites = find(args.suite, args.out, unrun=True)
    for suite, folder, rows in suites:
        if suite.measurements:
            values.append({"suite": suite.name, "about": suite.about, "measurements": rows})
            heading = f"## {suite.name}\n\n" if len(suites) > 1 and args.format == "md" else ""
            texts.append(heading + FORMATS[args.format](rows).rstrip())
            continue
        summary, found = summarise_suite(suite, rows, ESTIMATES.read(folder), TRANSFERS.read(folder)), differences(rows)
        listed = [light(row) for row in rows]
        values.append({**summary.to_json(), "summary": summarise(rows), "differences": found, "runs": listed})
        if args.format != "md":
            texts.append((as_csv(summary) if args.format == "csv" else as_latex(summary, wide=args.wide)).rstrip())
            continue
        blocks = [f"## {suite.name}"] if len(suites) > 1 else []
        blocks.append(as_markdown(summary, wide=args.wide))
        blocks += ["### Variants", differences_text(found, markdown=True)] if found else []
        blocks += ["### Runs", table_text(rows, markdown=True)] if args.runs else []
        texts.append("\n\n".join(blocks))
    return Result(values[0] if args.suite is not None else {"suites": values}, "\n\n".join(texts))


def _plot(args: argparse.Namespace) -> Result:
    from .._found import find

    if args.file is not None and args.suite is None:
        raise ValueError("--file needs a SUITE; without one, every suite has its picture in its folder")
    files: list[str] = []
    for suite, folder, rows in find(args.suite, args.out):
        if suite.measurements:
            if args.suite is not None:
                raise ValueError(f"suite {suite.name} has no learning curves; diffrl bench table shows its figures")
            continue
        file = picture(args.file) or folder / ("traces.svg" if args.traces else "curves.svg")
        _draw(args, suite, rows, file)
        files.append(str(file))
    if not files:
        raise ValueError(f"{args.out or 'runs'} holds no learning curves, only measurements; see diffrl bench table")
    return Result({"suite": args.suite, "file": files[0], "files": files}, "\n".join(files))


def _draw(args: argparse.Namespace, suite: Any, rows: list[dict[str, Any]], file: Path) -> None:
    from .._plots import plot_curves, plot_together
    from .._results import curves_of

    if args.traces:
        from .._plot_traces import plot_traces
        from .._traces import read_traces

        plot_traces(read_traces(rows), rows, suite.traces, suite.about, file)
    elif args.axes:
        from .._plot_bands import plot_bands

        plot_bands(rows, suite.about, file)
    else:
        (plot_together if args.together else plot_curves)(curves_of(rows), rows, suite.about, file)


def _plot_runs(args: argparse.Namespace) -> Result:
    from .._plot_runs import plot_runs

    file = picture(args.file)
    assert file is not None
    rows = plot_runs([Path(run) for run in args.runs], file, args.names or ())
    return Result({"file": str(file), "runs": rows}, str(file))
