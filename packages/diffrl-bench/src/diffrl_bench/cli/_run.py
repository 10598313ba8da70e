"""``diffrl bench run``: the trainings, or the measurements, of a suite."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffrl_algos._callbacks import StatusLine

from ._parser import Commands, Result, UsageError, folder_of

if TYPE_CHECKING:
    from .._suite import Suite

_SHOW_S = 60.0
"""Time between two lines of progress where nothing redraws them [s]."""


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    run = commands.add(
        "run",
        _run,
        "Train every unfinished run of a suite, or make its measurements; options of diffrl train may follow after --.",
    )
    run.add_argument(
        "suite", nargs="?", metavar="SUITE", help="name of a suite, or a .toml file; with --smoke default all that ship"
    )
    run.add_argument("--out", metavar="DIR", help="folder of the results; default runs/SUITE, or runs/smoke/SUITE")
    run.add_argument("--seeds", type=int, metavar="K", help="seeds 0 to K - 1 of everything; default the suite's")
    run.add_argument("--smoke", action="store_true", help="two updates of four worlds of everything, in minutes")
    run.add_argument(
        "--estimate",
        action="store_true",
        help="no runs: a few updates of what is missing, for its core hours",
    )
    run.add_argument("--jobs", type=int, metavar="J", help="runs at a time; default from the suite, or the cluster")
    run.add_argument("--threads", type=int, metavar="K", help="simulator threads of each; default cores / jobs")
    run.add_argument("--device", help="cpu, cuda or cuda:i")
    run.add_argument("--on", choices=("local", "ray", "slurm"), default="local", help="where they run; default local")
    run.add_argument(
        "--address", metavar="A", help="of a Ray cluster: auto, HOST:PORT; for --on slurm: local, without Slurm"
    )
    run.add_argument(
        "--slurm", action="append", metavar="NAME=VALUE", help="option of Slurm's jobs: partition, account, timeout_min"
    )
    run.add_argument(
        "--gpus-per-run", type=float, default=0.0, metavar="G", help="GPUs of each run, or the part of one; default 0"
    )
    run.add_argument("--max-hours", type=float, metavar="H", help="stop after so long; the same command goes on")
    run.add_argument(
        "--retries", type=int, default=3, metavar="K", help="times a run goes on after its worker vanished; default 3"
    )


def _run(args: argparse.Namespace) -> Result:
    from .._suite import list_suites, load_suite

    if args.suite is None and not args.smoke:
        raise UsageError(f"SUITE is missing; there are {', '.join(list_suites())}")
    if args.estimate:
        from ._estimate import estimated

        return estimated(args)
    if args.suite is not None:
        value, text, failed = _one(args, load_suite(args.suite))
        return Result(value, text, failed)
    if args.out is not None:
        raise UsageError("--out is the folder of one suite; name the suite too")
    found = [_one(args, load_suite(name)) for name in list_suites()]
    texts = [f"{value['suite']}\n\n{text}" for value, text, _ in found]
    return Result({"suites": [value for value, _, _ in found]}, "\n\n".join(texts), max(code for _, _, code in found))


def _one(args: argparse.Namespace, suite: Suite) -> tuple[dict[str, Any], str, int]:
    """Run one suite: its results for ``--json``, as text, and the exit code."""
    from .._measured import measured_text
    from .._measuring import measure_suite
    from .._results import light, table_text
    from .._runner import RunSettings, run_suite
    from .._suite import smoke_of, with_seeds

    if args.seeds is not None:
        suite = with_seeds(suite, args.seeds)
    if args.smoke:
        suite = smoke_of(suite)
    device = () if args.device is None else ("--device", args.device)
    settings = RunSettings(
        out=Path("runs", "smoke", suite.name) if args.smoke and args.out is None else folder_of(args, suite.name),
        jobs=args.jobs,
        threads=args.threads,
        options=(*device, *args.rest),
        on=args.on,
        address=args.address,
        slurm=_pairs(args.slurm or ()),
        gpus_per_run=args.gpus_per_run,
        max_hours=args.max_hours,
        retries=args.retries,
    )
    line = _Line(suite.name)
    try:
        if suite.measurements:
            rows = measure_suite(suite, settings, line.say, line.show, args.parse)
        else:
            rows = run_suite(suite, settings, line.say, line.show)
    finally:
        line.clear()
    planned = len(suite.measurements or suite.runs)
    failed = len(rows) < planned or any(row["status"] != "finished" for row in rows)
    value: dict[str, Any] = {"suite": suite.name, "out": str(settings.out)}
    if suite.measurements:
        return {**value, "measurements": rows}, measured_text(rows), 1 if failed else 0
    value["runs"] = [light(row) for row in rows]
    return value, table_text(rows, markdown=False), 1 if failed else 0


class _Line:
    """What happens, and how far the suite is, on stderr."""

    def __init__(self, suite: str) -> None:
        self._line, self._suite, self._shown = StatusLine(sys.stderr), suite, time.monotonic()
        self._interval = 0.0 if sys.stderr.isatty() else _SHOW_S

    def say(self, text: str) -> None:
        self._line.show(text, stays=True)

    def show(self, text: str) -> None:
        if time.monotonic() - self._shown >= self._interval:
            self._shown = time.monotonic()
            self._line.show(f"{self._suite}: {text}")

    def clear(self) -> None:
        self._line.clear()


def _pairs(texts: list[str] | tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"--slurm {text}: expected NAME=VALUE")
        found[name] = value
    return found
