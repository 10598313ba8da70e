"""``diffrl bench sim|traffic|mpm|update|kernels|estimators``: times and resources of parts."""

from __future__ import annotations

import argparse
from pathlib import Path

from ._parser import Commands, Result, add_target, picture


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    sim = commands.add("sim", _sim, "Steps per second of a simulator, forward and backward, and of MuJoCo.")
    add_target(sim)
    sim.set_defaults(num_envs=64)
    sim.add_argument("--model", metavar="FILE", help="an MJCF file in the task's place, or hulled-humanoid")
    sim.add_argument("--horizon", type=int, default=32, metavar="T", help="control steps in a window; default 32")
    sim.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    sim.add_argument(
        "--memory", choices=("fast", "low"), help="memory kept for backward passes; default the task's own"
    )
    sim.add_argument("--repeats", type=int, default=20, metavar="R", help="windows timed of each kind; default 20")
    sim.add_argument(
        "--scaling-envs",
        type=int,
        metavar="N",
        help="worlds of the comparison of one thread with all; 0 for none; default 1024, or fewer where they are large",
    )
    sim.add_argument("--no-peers", action="store_true", help="do not measure MuJoCo")
    sim.add_argument(
        "--beside",
        action="append",
        metavar="NAME",
        help="also measure mjx, brax-generalized, brax-spring or brax-positional (extra jax-peers), newton or "
        "mujoco-warp (extra warp-peers); may be repeated",
    )
    sim.add_argument(
        "--skip-missing", action="store_true", help="note peers that are not installed instead of an error"
    )
    sim.add_argument("--plot", metavar="FILE", help="draw the results: .svg, .png or .pdf")

    traffic = commands.add(
        "traffic", _traffic, "Drivers per second, compared with SUMO, the cost of a world of traffic, and the pace car."
    )
    traffic.add_argument("--vehicles", type=int, default=1000, metavar="V", help="drivers on a highway; default 1000")
    traffic.add_argument("--lanes", type=int, default=4, metavar="L", help="lanes of the highway; default 4")
    traffic.add_argument("--repeats", type=int, default=9, metavar="R", help="timings of each kind; default 9")
    traffic.add_argument("--no-peers", action="store_true", help="do not measure SUMO")

    mpm = commands.add(
        "mpm", _mpm, "Particles per second of the material point method, compared with plain Warp, and memory."
    )
    mpm.add_argument("--material", default="fixed_corotated", help="default fixed_corotated")
    mpm.add_argument("--cloud", default="disc", help="disc or cube; default disc")
    mpm.add_argument("--particles", type=int, default=2500, metavar="P", help="particles of a world; default 2500")
    mpm.add_argument("--num-envs", type=int, default=2, metavar="N", help="worlds; default 2")
    mpm.add_argument("--substeps", type=int, default=40, metavar="K", help="sub-steps; default 40")
    mpm.add_argument("--repeats", type=int, default=9, metavar="R", help="timings of each kind; default 9")
    mpm.add_argument("--no-memory", action="store_true", help="do not measure the memory of a large window")

    update = commands.add("update", _update, "Times of the parts of one update.")
    update.add_argument("--algo", default="shac", help="default shac")
    add_target(update)
    update.add_argument("--updates", type=int, default=20, metavar="K", help="updates timed; default 20")
    update.add_argument("--warm-up", type=int, default=5, metavar="K", help="updates before them; default 5")
    update.add_argument("--seed", type=int, default=0)
    update.add_argument("--framework", choices=("torch", "jax"), help="default: what the algorithm was written for")
    update.add_argument(
        "--compare",
        action="append",
        metavar="FIELD=A,B",
        help="time updates with several values of a config field by turns, such as critic_fit=torch,native, or of a "
        "task's option, task.fused=false,true, or framework=torch,jax, or algo=shac,ppo; may be repeated, for what "
        "changes together",
    )
    update.add_argument(
        "--against", type=Path, metavar="CHECKOUT", help="time updates of this build and of another checkout by turns"
    )

    compiled = commands.add(
        "kernels", _kernels, "GPU resources of a simulator's CUDA kernels; they are compiled, and no GPU is needed."
    )
    compiled.add_argument("--task", default="ant", help="see diffrl list tasks; default ant")
    compiled.add_argument("--dtype", default="float32", help="float32 or float64; default float32")
    compiled.add_argument(
        "--arch",
        dest="arches",
        type=int,
        action="append",
        metavar="K",
        help="80, 90 or 100; may be repeated; default all",
    )

    estimators = commands.add("estimators", _estimators, "Time gradest's functions and the same expressions by hand.")
    estimators.add_argument("--rows", type=int, default=1000, help="rows of every array; default 1000")
    estimators.add_argument("--columns", type=int, default=1000, help="columns of every array; default 1000")
    estimators.add_argument("--repeats", type=int, default=15, metavar="K", help="timed pairs of calls; default 15")
    estimators.add_argument(
        "--framework", dest="frameworks", action="append", metavar="NAME", help="numpy, torch or jax; default all"
    )


def _sim(args: argparse.Namespace) -> Result:
    from .._report import sim_text
    from .._sim import SimBench, bench_sim

    file = picture(args.plot)
    report = bench_sim(
        SimBench(
            task=args.task,
            model=args.model,
            num_envs=args.num_envs,
            horizon=args.horizon,
            threads=args.threads,
            device=args.device,
            dtype=args.dtype,
            memory=args.memory,
            repeats=args.repeats,
            scaling_envs=args.scaling_envs,
            peers=not args.no_peers,
            beside=tuple(args.beside or ()),
            skip_missing=args.skip_missing,
        ),
        args.progress,
    )
    if file is not None:
        from .._plots import plot_sim

        plot_sim(report, file)
    return Result(report, sim_text(report))


def _traffic(args: argparse.Namespace) -> Result:
    from .._traffic import TrafficBench, bench_traffic, traffic_text

    report = bench_traffic(
        TrafficBench(num_vehicles=args.vehicles, num_lanes=args.lanes, repeats=args.repeats, peers=not args.no_peers),
        args.progress,
    )
    return Result(report, traffic_text(report))


def _mpm(args: argparse.Namespace) -> Result:
    from .._mpm import bench_mpm, mpm_text
    from .._mpm_scene import MpmBench

    report = bench_mpm(
        MpmBench(
            material=args.material,
            cloud=args.cloud,
            num_particles=args.particles,
            num_envs=args.num_envs,
            substeps=args.substeps,
            repeats=args.repeats,
            memory=not args.no_memory,
        ),
        args.progress,
    )
    return Result(report, mpm_text(report))


def _update(args: argparse.Namespace) -> Result:
    from .._against import bench_against
    from .._report import against_text, update_text
    from .._update import UpdateBench, bench_update

    bench = UpdateBench(
        algo=args.algo,
        task=args.task,
        num_envs=args.num_envs,
        threads=args.threads,
        device=args.device,
        updates=args.updates,
        warm_up=args.warm_up,
        seed=args.seed,
        framework=args.framework,
        compare=tuple(args.compare or ()),
    )
    if args.against:
        report = bench_against(bench, args.against, args.progress)
        return Result(report, against_text(report))
    report = bench_update(bench, args.progress)
    return Result(report, update_text(report))


def _kernels(args: argparse.Namespace) -> Result:
    from .._kernels import bench_kernels
    from .._report import kernels_text

    report = bench_kernels(args.task, args.arches or [80, 90, 100], dtype=args.dtype)
    return Result(report, kernels_text(report))


def _estimators(args: argparse.Namespace) -> Result:
    from .._estimators import FRAMEWORKS, bench_estimators, estimators_text

    report = bench_estimators(
        shape=(args.rows, args.columns), repeats=args.repeats, frameworks=args.frameworks or FRAMEWORKS
    )
    return Result(report, estimators_text(report))
