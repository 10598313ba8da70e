"""``diffrl bench scaling``: a simulator's rates over worlds, threads and horizon, and the memory that it keeps."""

from __future__ import annotations

import argparse

from ._parser import Commands, Result, picture, whole_numbers


def add(commands: Commands) -> None:
    """Add the command of this module."""
    parser = commands.add(
        "scaling", _scaling, "A simulator's rates over worlds, threads and horizon by turns, and the memory it keeps."
    )
    parser.add_argument("--task", default="ant", help="see diffrl list tasks; default ant")
    parser.add_argument("--num-envs", default="16,64,256,1024,4096", metavar="N,...", help="default 16,64,...,4096")
    parser.add_argument("--threads", metavar="K,...", help="default 1 and every core, where the task has the option")
    parser.add_argument("--horizon", type=int, default=32, metavar="T", help="control steps of a window; default 32")
    parser.add_argument("--horizons", default="8,32,128", metavar="T,...", help="of further windows; default 8,32,128")
    parser.add_argument("--base", type=int, default=64, metavar="N", help="worlds of those windows; default 64")
    parser.add_argument("--repeats", type=int, default=5, metavar="R", help="timed windows of each case; default 5")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:i; default cpu")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--plot", metavar="FILE", help="draw the results: .svg, .png or .pdf")


def _scaling(args: argparse.Namespace) -> Result:
    from .._scaling import ScalingBench, bench_scaling, scaling_text

    file = picture(args.plot)
    bench = ScalingBench(
        num_envs=whole_numbers("num_envs", args.num_envs),
        threads=None if args.threads is None else whole_numbers("threads", args.threads),
        horizons=whole_numbers("horizons", args.horizons),
        **{name: getattr(args, name) for name in ("task", "horizon", "base", "repeats", "device", "dtype")},
    )
    report = bench_scaling(bench, args.progress)
    if file is not None:
        from .._plot_scaling import plot_scaling

        plot_scaling([report], file)
    return Result(report, scaling_text(report))
