"""``diffrl diagnose``: on which steps first-order gradients are noisy, biased or lost, and what to train with."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from diffsim_core.options import Count, Index, Option, Positive

from .._callbacks import PartLine, StatusLine
from .._imports import import_module
from ._parser import Parser, Result, add_import
from ._run_imports import imported_for
from ._train_options import given_options, task_options

_OPTIONS = (
    Option(name="num_envs", kind=Count, default=8, doc="States at each step."),
    Option(name="samples", kind=Annotated[int, Interval(ge=4, lt=2**20)], default=16, doc="Roll-outs from each state."),
    Option(name="steps", kind=Count, default=32, doc="Steps that are examined."),
    Option(
        name="begin", kind=Index | None, default=None, doc="First of them; none: 100, or 0 where they cover an episode."
    ),
    Option(name="every", kind=Count | None, default=None, doc="Control steps between them; none: 1, or to cover it."),
    Option(name="horizon", kind=Count, default=32, doc="Longest lookahead.", unit="control steps"),
    Option(name="seed", kind=Index, default=0, doc="Names the worlds, the noise and a fresh policy."),
    Option(name="seconds", kind=Positive | None, default=None, doc="Begin no further step after this time.", unit="s"),
    Option(name="device", kind=str | None, default=None, doc="cpu, cuda or cuda:i; none: the run's, or cpu."),
)


def run(arguments: Sequence[str]) -> Result:
    parser = Parser(
        "diagnose",
        "Say on which steps of a task first-order gradients are noisy, biased or lost, and what to train with.",
    )
    parser.add_argument("source", metavar="RUN|TASK", help="run folder; or a task, for a policy before training")
    for option in _OPTIONS:
        parser.add(option, metavar="X" if option.name in ("seconds", "device") else "K", default=option.default)
    parser.add_argument("--checkpoint", default="last", metavar="NAME", help="last (default), best, or an iteration")
    parser.add_argument(
        "--task-option",
        action="append",
        metavar="NAME=VALUE",
        help="option of the task, of a run in place of its own; may be repeated",
    )
    parser.add_argument("--out", metavar="DIR", help="write diagnosis.json, diagnosis.svg and diagnosis.png there")
    add_import(parser, run=True)
    args = parser.parse(arguments)
    path = Path(args.source)
    if args.out is not None:
        from .._diagnose._diagnosis import require_plots

        require_plots()
    with imported_for(args, path) if path.is_dir() else contextlib.nullcontext():
        if not path.is_dir():
            for name in args.imports:
                import_module(name)
        return _diagnosed(args, path)


def _diagnosed(args: Any, path: Path) -> Result:
    from .._diagnosed import diagnose
    from .._run import Run
    from ..torch._diagnose import PARTS

    options: dict[str, Any] = {}
    if args.task_option:
        task = Run.open(path).spec.task if path.is_dir() else args.source
        options = given_options(task_options(task), args.task_option)
    line = StatusLine(sys.stderr)
    chosen = {option.name: getattr(args, option.name) for option in _OPTIONS}
    try:
        found = diagnose(
            args.source,
            checkpoint=args.checkpoint,
            task_options=options,
            progress=PartLine(line, PARTS).show,
            **chosen,
        )
    finally:
        line.clear()
    text = found.text()
    if args.out is not None:
        text += "".join(f"\nwrote {file}" for file in found.write(args.out))
    return Result(found.to_json(), text, args.json)
