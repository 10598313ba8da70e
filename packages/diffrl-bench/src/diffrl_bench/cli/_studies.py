"""``diffrl bench models|reference|variance|landscape|losses|bundles|transfer|peers``: what is right, and with whom."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ._parser import Commands, Result, add_run, of_run, picture, whole_numbers


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    models = commands.add(
        "models", _models, "Which robot models load, agree with MuJoCo, have right gradients, and can be simulated."
    )
    models.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="model files, or folders of them; default the corpus of public packages",
    )
    models.add_argument(
        "--package", dest="packages", action="append", metavar="NAME", help="a package of the corpus; may be repeated"
    )
    models.add_argument("--floating", action="store_true", help="give URDF files a free joint and level ground")
    models.add_argument("--out", default="runs/models", metavar="DIR", help="results; default runs/models")
    models.add_argument("--cache", metavar="DIR", help="where packages are installed; default the user's cache")
    models.add_argument("--load-only", action="store_true", help="do not compare and simulate what loads")
    models.add_argument("--seconds", type=float, default=120.0, metavar="S", help="time for a model; default 120")
    models.add_argument("--memory-gib", type=float, default=8.0, metavar="G", help="memory for a model; default 8")
    models.add_argument("--again", action="store_true", help="run finished models of this build too")

    reference = commands.add(
        "reference", _reference, "Compare tasks with recordings of the simulator that SHAC's authors released."
    )
    reference.add_argument("folder", metavar="DIR", help="folder of the recordings")
    reference.add_argument("--task", dest="tasks", action="append", metavar="TASK", help="may be repeated; default all")
    for name in ("skeleton", "muscles"):
        reference.add_argument(f"--{name}", metavar="FILE", help=f"{name} of humanoid_mtu, its authors' file")

    variance = commands.add(
        "variance", _variance, "Variances of three estimators' gradients along a roll-out of an AGPO run, and ascent."
    )
    variance.add_argument(
        "--iterations", type=int, default=100, metavar="K", help="iterations of ascent; 0 for none; default 100"
    )

    landscape = commands.add(
        "landscape", _landscape, "Landscapes of three estimators at steps of an AGPO run, in planes of its parameters."
    )
    for study in (variance, landscape):
        add_run(study, "agpo", num_envs=64)
        study.add_argument(
            "--steps", type=int, default=128, metavar="T", help="control steps of the roll-out; default 128"
        )
    landscape.add_argument("--panels", type=int, default=6, metavar="K", help="random steps to draw; default 6")
    landscape.add_argument(
        "--points", type=int, default=25, metavar="K", help="points along each direction, odd; default 25"
    )
    landscape.add_argument(
        "--radius", type=float, default=1.0, metavar="R", help="half the width of a plane [parameters]; default 1"
    )

    losses = commands.add(
        "losses",
        _losses,
        "What SHAC and backpropagation through whole episodes descend, around the policy of a SHAC run.",
    )
    add_run(losses, "shac", num_envs=128)
    losses.add_argument("--steps", type=int, metavar="T", help="control steps of an episode; default the task's")
    losses.add_argument(
        "--begin", type=int, default=64, metavar="T", help="control steps of the policy before the window; default 64"
    )
    losses.add_argument("--points", type=int, default=41, metavar="K", help="points of the line, odd; default 41")
    losses.add_argument(
        "--plane",
        type=int,
        default=15,
        metavar="K",
        help="points along each direction of the plane; 0 for none; default 15",
    )
    losses.add_argument(
        "--radius", type=float, default=1.0, metavar="R", help="from the policy to the ends [parameters]; default 1"
    )
    losses.add_argument(
        "--weight", type=int, metavar="K", help="index of the parameter; default where the window's gradient is largest"
    )
    losses.add_argument(
        "--graph-envs",
        type=int,
        default=16,
        metavar="N",
        help="worlds whose episodes are differentiated at a time, 0 for none; default 16",
    )

    bundles = commands.add(
        "bundles", _bundles, "By how much bundles of perturbed branches lower the variance of a gradient in contact."
    )
    bundles.add_argument("--task", default="ant", help="default ant, with the options of suite agpo-stiff-contact")
    bundles.add_argument(
        "--task-option", action="append", metavar="NAME=VALUE", help="option of the task; may be repeated"
    )
    bundles.add_argument(
        "--branches", default="1,2,5,10,20", metavar="N,N,...", help="sizes of bundles; default 1,2,5,10,20"
    )
    bundles.add_argument("--num-envs", type=int, default=16, metavar="N", help="worlds; default 16")
    bundles.add_argument("--repeats", type=int, default=32, metavar="K", help="perturbations of each; default 32")
    bundles.add_argument("--horizon", type=int, default=2, metavar="T", help="control steps of a window; default 2")
    bundles.add_argument("--seed", type=int, default=0)
    bundles.add_argument("--plot", metavar="FILE", help="draw the results: .svg, .png or .pdf")

    transfer = commands.add("transfer", _transfer, "Policies of runs, unchanged, in MuJoCo C on the same model file.")
    transfer.add_argument("runs", nargs="+", metavar="RUN", help="run folders in torch, of tasks with an MJCF file")
    transfer.add_argument("--episodes", type=int, default=64, metavar="K", help="episodes on each side; default 64")
    transfer.add_argument("--seed", type=int, default=0)
    transfer.add_argument("--checkpoint", default="last", metavar="NAME", help="last (default), best, or an iteration")
    transfer.add_argument(
        "--step-ms", type=float, default=2.0, metavar="MS", help="longest step of MuJoCo in milliseconds; default 2"
    )
    transfer.add_argument(
        "--to", metavar="DIR", help="keep them next to the results of a suite, for its table and its page"
    )

    peers = commands.add("peers", _peers, "Compare PPO, SAC and TD3 with Stable-Baselines3, everything else equal.")
    peers.add_argument("--algo", dest="algos", action="append", metavar="ALGO", help="may be repeated; default all")
    peers.add_argument("--task", default="cartpole", help="default cartpole")
    peers.add_argument("--seeds", type=int, default=5, metavar="K", help="seeds of each side; default 5")
    peers.add_argument("--iterations", type=int, default=100, metavar="K", help="updates of a run; default 100")
    peers.add_argument("--num-envs", type=int, default=64, metavar="N", help="worlds; default 64")
    peers.add_argument(
        "--episodes", type=int, default=128, metavar="K", help="episodes of the final evaluation; default 128"
    )


def _transfer(args: argparse.Namespace) -> Result:
    from .._transfer import transfer, transfer_text
    from .._transfers import Transfers

    given = {name: getattr(args, name) for name in ("episodes", "seed", "checkpoint", "step_ms", "progress")}
    runs = [Path(run) for run in args.runs]
    kept = None if args.to is None else Transfers(Path(args.to), runs)
    reports: list[dict[str, object]] = []
    for run in runs:
        reports.append(transfer(run, **given))
        if kept is not None:
            kept.add(reports[-1], run)
    return Result({"benchmark": "transfer", "runs": reports}, transfer_text(reports))


def _models(args: argparse.Namespace) -> Result:
    from .._models import RESULTS, ModelsBench, bench_models, newest, read_rows
    from .._models_text import models_text, page_tables
    from .._plot_models import plot_models
    from .._results import write_whole

    out = Path(args.out)
    bench = ModelsBench(
        out=out,
        files=tuple(args.files),
        packages=tuple(args.packages or ()),
        floating=args.floating,
        cache=None if args.cache is None else Path(args.cache),
        measure=not args.load_only,
        seconds=args.seconds,
        memory_gib=args.memory_gib,
        again=args.again,
    )
    rows = bench_models(bench, args.progress)
    every = newest(read_rows(out / RESULTS))
    write_whole(out / "table.md", page_tables(every))
    plot_models(every, out / "models.svg")
    return Result({"out": str(out), "models": rows}, models_text(rows))


def _reference(args: argparse.Namespace) -> Result:
    from .._bounds import BOUNDS, agrees
    from .._machine import versions
    from .._report import reference_text
    from ..reference import run

    rows = [{**row, "agrees": agrees(row)} for row in run(Path(args.folder), args.tasks, args.skeleton, args.muscles)]
    value = {"benchmark": "reference", "rows": rows, "bounds": BOUNDS, "versions": versions()}
    return Result(value, reference_text(rows), 0 if all(row["agrees"] for row in rows) else 1)


def _variance(args: argparse.Namespace) -> Result:
    from .._variance import bench_variance, variance_text

    file = picture(args.plot)
    report = bench_variance(Path(args.run), iterations=args.iterations, **of_run(args))
    if file is not None:
        from .._plot_studies import plot_variance

        plot_variance(report, file)
    return Result(report, variance_text(report))


def _landscape(args: argparse.Namespace) -> Result:
    from .._landscape import bench_landscape, landscape_text

    file = picture(args.plot)
    options = {"panels": args.panels, "points": args.points, "radius": args.radius}
    report = bench_landscape(Path(args.run), **options, **of_run(args))
    if file is not None:
        from .._plot_studies import plot_landscape

        plot_landscape(report, file)
    return Result(report, landscape_text(report))


def _losses(args: argparse.Namespace) -> Result:
    from .._losses import LossesBench, bench_losses, losses_text

    file = picture(args.plot)
    names = ("steps", "num_envs", "begin", "points", "plane", "radius", "weight", "graph_envs", "seed")
    bench = LossesBench(**{name: getattr(args, name) for name in names})
    report = bench_losses(Path(args.run), bench, checkpoint=args.checkpoint, progress=args.progress)
    if file is not None:
        from .._plot_losses import plot_losses

        plot_losses(report, file)
    return Result(report, losses_text(report))


def _bundles(args: argparse.Namespace) -> Result:
    from diffrl_algos.cli._train_options import given_options
    from diffsim_core import task_options

    from .._bundles import STIFF, bench_bundles, bundles_text

    file, declared = picture(args.plot), task_options(args.task)
    options = dict(STIFF) if args.task == "ant" else {}
    options |= given_options(declared, args.task_option or ())
    branches = list(whole_numbers("branches", args.branches))
    names = ("task", "num_envs", "repeats", "horizon", "seed", "progress")
    given = {name: getattr(args, name) for name in names}
    report = bench_bundles(task_options=options, branches=branches, **given)
    if file is not None:
        from .._plot_bundles import plot_bundles

        plot_bundles(report, file)
    return Result(report, bundles_text(report))


def _peers(args: argparse.Namespace) -> Result:
    from .._peers import ALGORITHMS, PeersBench, bench_peers, peers_text

    bench = PeersBench(
        algos=args.algos or ALGORITHMS,
        task=args.task,
        seeds=args.seeds,
        iterations=args.iterations,
        num_envs=args.num_envs,
        episodes=args.episodes,
    )
    report = bench_peers(bench, say=lambda line: print(line, file=sys.stderr, flush=True))
    return Result(report, peers_text(report))
