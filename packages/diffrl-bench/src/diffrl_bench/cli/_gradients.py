"""``diffrl bench gradients``: how good every estimator's gradient of one policy is, by the horizon."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._parser import Commands, Result, picture, whole_numbers

_COUNTS = {
    "samples": ("worlds for the estimators", 1024),
    "truth": ("worlds for the central differences", 1024),
    "batch": ("worlds of a mean", 64),
    "num_envs": ("worlds at a time, which memory is for", 64),
    "directions": ("random directions of the parameters", 8),
    "begin": ("control steps of the policy before the starts", 0),
    "branches": ("branches of a bundle", 10),
    "seed": ("names the worlds, the noise and a fresh policy", 0),
}
_NUMBERS = {
    "gamma": ("discount per control step", 0.99),
    "width": ("how far central differences move the actions, in deviations of their noise", 0.3),
}


def add(commands: Commands) -> None:
    """Add the command of this module."""
    parser = commands.add(
        "gradients", _gradients, "Bias, variance, signal to noise and horizon of trust of gradient estimators."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--task", metavar="TASK", help="a task, for a fresh policy; see diffrl list tasks")
    source.add_argument("--run", metavar="RUN", help="a run folder, for its policy and task")
    parser.add_argument("--checkpoint", default="last", metavar="NAME", help="last (default), best, or an iteration")
    parser.add_argument(
        "--task-option",
        action="append",
        metavar="NAME=VALUE",
        help="option of the task, of a run in place of its own; may be repeated",
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), help="precision; default float64 where the task has it"
    )
    parser.add_argument("--estimators", metavar="NAME,...", help="default all but bundles")
    parser.add_argument("--horizons", default="1,2,4,8,16,32,64", metavar="H,...", help="default 1,2,4,...,64")
    parser.add_argument("--sigma", type=float, metavar="S", help="deviation of the policy's noise; default its own")
    for kind, options in ((int, _COUNTS), (float, _NUMBERS)):
        for name, (text, value) in options.items():
            flag = f"--{name.replace('_', '-')}"
            metavar = "K" if kind is int else "X"
            parser.add_argument(flag, type=kind, default=value, metavar=metavar, help=f"{text}; default {value}")
    parser.add_argument("--plot", metavar="FILE", help="draw the results: .svg, .png or .pdf")


def _gradients(args: argparse.Namespace) -> Result:
    from diffrl_algos._run import Run
    from diffrl_algos.cli._train_options import given_options, task_options

    from .._gradients import GradientsBench, bench_gradients
    from .._gradients_text import gradients_text

    file = picture(args.plot)
    bench = GradientsBench(
        horizons=whole_numbers("horizons", args.horizons),
        estimators=None if args.estimators is None else tuple(args.estimators.split(",")),
        **{name: getattr(args, name) for name in (*_COUNTS, *_NUMBERS)},
    )
    source: str | Path = args.task if args.run is None else Path(args.run)
    options = {}
    if args.task_option:
        task = Run.open(source).spec.task if isinstance(source, Path) else source
        options = given_options(task_options(task), args.task_option)
    report = bench_gradients(
        source,
        bench,
        sigma=args.sigma,
        task_options=options,
        dtype=args.dtype,
        checkpoint=args.checkpoint,
        progress=args.progress,
    )
    if file is not None:
        from .._plot_gradients import plot_gradients

        plot_gradients([report], file)
    return Result(report, gradients_text(report))
