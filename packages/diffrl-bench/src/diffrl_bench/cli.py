"""``diffrl bench``: arguments, output and exit codes.

Results go to stdout, everything else to stderr. The exit code is 0 only on success, 2 for bad input, and 1 if a
measurement or a run failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from diffrl_algos import RunError
from diffrl_algos._callbacks import PartLine, StatusLine
from diffrl_algos._signals import Interrupted, exit_code, stop_on_signals
from diffrl_algos._streams import put, results_only, usable


class _Result(NamedTuple):
    value: dict[str, Any]
    """For ``--json``."""
    text: str
    code: int = 0


class _UsageError(Exception):
    """Bad arguments; printed as one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    with stop_on_signals() as stop, usable():
        try:
            args = _parser().parse_args(arguments[:cut])
            args.rest = tuple(arguments[cut + 1 :])
            if args.rest and args.command != "run":
                raise _UsageError(f"bench {args.command} takes no arguments after --")
            command: Callable[[argparse.Namespace], _Result] = args.function
            with results_only():
                line = StatusLine(sys.stderr)
                args.progress = PartLine(line).show
                try:
                    result = command(args)
                finally:
                    line.clear()
            put(json.dumps(result.value, allow_nan=False) if args.json else result.text)
            stop.obey()
            return result.code
        except (_UsageError, ValueError, RunError) as error:
            return _fail(str(error), 2)
        except (OSError, ImportError) as error:
            return _fail(f"{type(error).__name__}: {error}", 1)
        except KeyboardInterrupt as error:
            by = error if isinstance(error, Interrupted) else Interrupted("SIGINT")
            return _fail(str(by), exit_code(by.name))
        except SystemExit as error:  # --help
            return int(error.code or 0)


def _sim(args: argparse.Namespace) -> _Result:
    from ._report import sim_text
    from ._sim import SimBench, bench_sim

    file = _picture(args.plot)
    report = bench_sim(
        SimBench(
            task=args.task,
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
        ),
        args.progress,
    )
    if file is not None:
        from ._plots import plot_sim

        plot_sim(report, file)
    return _Result(report, sim_text(report))


def _traffic(args: argparse.Namespace) -> _Result:
    from ._traffic import TrafficBench, bench_traffic, traffic_text

    report = bench_traffic(
        TrafficBench(num_vehicles=args.vehicles, num_lanes=args.lanes, repeats=args.repeats, peers=not args.no_peers),
        args.progress,
    )
    return _Result(report, traffic_text(report))


def _mpm(args: argparse.Namespace) -> _Result:
    from ._mpm import bench_mpm, mpm_text
    from ._mpm_scene import MpmBench

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
    return _Result(report, mpm_text(report))


def _kernels(args: argparse.Namespace) -> _Result:
    from ._kernels import bench_kernels
    from ._report import kernels_text

    report = bench_kernels(args.task, args.arches or [80, 90, 100], dtype=args.dtype)
    return _Result(report, kernels_text(report))


def _update(args: argparse.Namespace) -> _Result:
    from ._report import update_text
    from ._update import UpdateBench, bench_update

    report = bench_update(
        UpdateBench(
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
        ),
        args.progress,
    )
    return _Result(report, update_text(report))


def _reference(args: argparse.Namespace) -> _Result:
    from ._bounds import BOUNDS, agrees
    from ._machine import versions
    from ._report import reference_text
    from .reference import run

    rows = [{**row, "agrees": agrees(row)} for row in run(Path(args.folder), args.tasks, args.skeleton, args.muscles)]
    value = {"benchmark": "reference", "rows": rows, "bounds": BOUNDS, "versions": versions()}
    return _Result(value, reference_text(rows), 0 if all(row["agrees"] for row in rows) else 1)


def _estimators(args: argparse.Namespace) -> _Result:
    from ._estimators import FRAMEWORKS, bench_estimators, estimators_text

    report = bench_estimators(
        shape=(args.rows, args.columns), repeats=args.repeats, frameworks=args.frameworks or FRAMEWORKS
    )
    return _Result(report, estimators_text(report))


def _variance(args: argparse.Namespace) -> _Result:
    from ._variance import bench_variance, variance_text

    file = _picture(args.plot)
    report = bench_variance(Path(args.run), iterations=args.iterations, **_of_run(args))
    if file is not None:
        from ._plot_studies import plot_variance

        plot_variance(report, file)
    return _Result(report, variance_text(report))


def _landscape(args: argparse.Namespace) -> _Result:
    from ._landscape import bench_landscape, landscape_text

    file = _picture(args.plot)
    options = {"panels": args.panels, "points": args.points, "radius": args.radius}
    report = bench_landscape(Path(args.run), **options, **_of_run(args))
    if file is not None:
        from ._plot_studies import plot_landscape

        plot_landscape(report, file)
    return _Result(report, landscape_text(report))


def _models(args: argparse.Namespace) -> _Result:
    from ._models import RESULTS, ModelsBench, bench_models, newest, read_rows
    from ._models_text import models_text, page_tables
    from ._plot_models import plot_models
    from ._results import write_whole

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
    return _Result({"out": str(out), "models": rows}, models_text(rows))


def _of_run(args: argparse.Namespace) -> dict[str, Any]:
    """Options of the studies of a run."""
    names = ("steps", "num_envs", "seed", "checkpoint", "progress")
    return {name: getattr(args, name) for name in names}


def _peers(args: argparse.Namespace) -> _Result:
    from ._peers import ALGORITHMS, PeersBench, bench_peers, peers_text

    bench = PeersBench(
        algos=args.algos or ALGORITHMS,
        task=args.task,
        seeds=args.seeds,
        iterations=args.iterations,
        num_envs=args.num_envs,
        episodes=args.episodes,
    )
    report = bench_peers(bench, say=lambda line: print(line, file=sys.stderr, flush=True))
    return _Result(report, peers_text(report))


def _run(args: argparse.Namespace) -> _Result:
    from ._results import table_text
    from ._runner import RunSettings, run_suite
    from ._suite import load_suite

    suite = load_suite(args.suite)
    device = () if args.device is None else ("--device", args.device)
    settings = RunSettings(
        out=_folder(args, suite.name), jobs=args.jobs, threads=args.threads, options=(*device, *args.rest)
    )
    rows = run_suite(suite, settings, say=lambda line: print(line, file=sys.stderr, flush=True))
    failed = any(row["status"] != "finished" for row in rows)
    value = {"suite": suite.name, "out": str(settings.out), "runs": rows}
    return _Result(value, table_text(rows, markdown=False), 1 if failed else 0)


def _table(args: argparse.Namespace) -> _Result:
    from ._paper import best_table
    from ._results import summarise, table_text
    from ._variants import differences, differences_text

    suite, rows = _rows(args)
    found = differences(rows)
    value = {"suite": suite.name, "summary": summarise(rows), "differences": found, "runs": rows}
    compared = [best_table(rows, suite.paper, markdown=True)] if suite.paper else []
    compared += [differences_text(found, markdown=True)] if found else []
    return _Result(value, "\n\n".join([*compared, table_text(rows, markdown=True)]))


def _plot(args: argparse.Namespace) -> _Result:
    from ._plots import plot_curves, plot_together
    from ._results import read_curves

    suite, rows = _rows(args)
    folder = _folder(args, suite.name)
    file = _picture(args.file) or folder / ("traces.svg" if args.traces else "curves.svg")
    if args.traces:
        from ._plot_traces import plot_traces
        from ._traces import read_traces

        plot_traces(read_traces(folder), rows, suite.traces, suite.about, file)
    else:
        draw = plot_together if args.together else plot_curves
        draw(read_curves(folder), rows, suite.about, file)
    return _Result({"suite": suite.name, "file": str(file)}, str(file))


def plot(argv: Sequence[str] | None = None) -> int:
    """``diffrl plot RUN...``; returns the exit code."""
    return main(["runs", *(sys.argv[1:] if argv is None else argv)])


def _plot_runs(args: argparse.Namespace) -> _Result:
    from ._plot_runs import plot_runs

    file = _picture(args.file)
    assert file is not None
    rows = plot_runs([Path(run) for run in args.runs], file, args.names or ())
    return _Result({"file": str(file), "runs": rows}, str(file))


def _rows(args: argparse.Namespace) -> tuple[Any, list[dict[str, Any]]]:
    from ._results import read_results
    from ._suite import load_suite

    suite = load_suite(args.suite)
    folder = _folder(args, suite.name)
    rows = read_results(folder)
    if not rows:
        raise ValueError(f"{folder} holds no results; run the suite first: diffrl bench run {args.suite}")
    return suite, rows


def _folder(args: argparse.Namespace, suite: str) -> Path:
    return Path(args.out) if args.out is not None else Path("runs") / suite


def _picture(name: str | None) -> Path | None:
    if name is None:
        return None
    from ._plots import require_format

    file = Path(name)
    require_format(file)
    if not file.absolute().parent.is_dir():
        raise ValueError(f"{file} cannot be written: its folder does not exist")
    return file


def _parser() -> _Parser:
    parser = _Parser(
        prog="diffrl bench", description="Measure simulators, updates and whole trainings.", allow_abbrev=False
    )
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="sim|update|traffic|mpm|models|reference|variance|landscape|peers|run|table|plot|runs",
    )

    def add(name: str, function: Callable[[argparse.Namespace], _Result], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument(
            "--json", action="store_true", help="print one JSON object on stdout and nothing else there"
        )
        command.set_defaults(function=function)
        return command

    sim = add("sim", _sim, "Steps per second of a simulator, forward and backward, and of MuJoCo.")
    _add_target(sim)
    sim.set_defaults(num_envs=64)
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
        help="also measure mjx, brax-generalized, brax-spring or brax-positional (extra jax-peers); may be repeated",
    )
    sim.add_argument("--plot", metavar="FILE", help="draw the results: .svg, .png or .pdf")

    traffic = add(
        "traffic", _traffic, "Drivers per second, compared with SUMO, the cost of a world of traffic, and the pace car."
    )
    traffic.add_argument("--vehicles", type=int, default=1000, metavar="V", help="drivers on a highway; default 1000")
    traffic.add_argument("--lanes", type=int, default=4, metavar="L", help="lanes of the highway; default 4")
    traffic.add_argument("--repeats", type=int, default=9, metavar="R", help="timings of each kind; default 9")
    traffic.add_argument("--no-peers", action="store_true", help="do not measure SUMO")

    mpm = add("mpm", _mpm, "Particles per second of the material point method, compared with plain Warp, and memory.")
    mpm.add_argument("--material", default="fixed_corotated", help="default fixed_corotated")
    mpm.add_argument("--cloud", default="disc", help="disc or cube; default disc")
    mpm.add_argument("--particles", type=int, default=2500, metavar="P", help="particles of a world; default 2500")
    mpm.add_argument("--num-envs", type=int, default=2, metavar="N", help="worlds; default 2")
    mpm.add_argument("--substeps", type=int, default=40, metavar="K", help="sub-steps; default 40")
    mpm.add_argument("--repeats", type=int, default=9, metavar="R", help="timings of each kind; default 9")
    mpm.add_argument("--no-memory", action="store_true", help="do not measure the memory of a large window")

    models = add(
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

    update = add("update", _update, "Times of the parts of one update.")
    update.add_argument("--algo", default="shac", help="default shac")
    _add_target(update)
    update.add_argument("--updates", type=int, default=20, metavar="K", help="updates timed; default 20")
    update.add_argument("--warm-up", type=int, default=5, metavar="K", help="updates before them; default 5")
    update.add_argument("--seed", type=int, default=0)
    update.add_argument("--framework", choices=("torch", "jax"), help="default: what the algorithm was written for")
    update.add_argument(
        "--compare",
        action="append",
        metavar="FIELD=A,B",
        help="time updates with several values of a config field by turns, such as critic_fit=torch,native, or of a "
        "task's option, task.fused=false,true, or framework=torch,jax; may be repeated, for what changes together",
    )

    reference = add(
        "reference", _reference, "Compare tasks with recordings of the simulator that SHAC's authors released."
    )
    reference.add_argument("folder", metavar="DIR", help="folder of the recordings")
    reference.add_argument("--task", dest="tasks", action="append", metavar="TASK", help="may be repeated; default all")
    for name in ("skeleton", "muscles"):
        reference.add_argument(f"--{name}", metavar="FILE", help=f"{name} of humanoid_mtu, its authors' file")

    estimators = add("estimators", _estimators, "Time gradest's functions and the same expressions by hand.")
    estimators.add_argument("--rows", type=int, default=1000, help="rows of every array; default 1000")
    estimators.add_argument("--columns", type=int, default=1000, help="columns of every array; default 1000")
    estimators.add_argument("--repeats", type=int, default=15, metavar="K", help="timed pairs of calls; default 15")
    estimators.add_argument(
        "--framework", dest="frameworks", action="append", metavar="NAME", help="numpy, torch or jax; default all"
    )

    variance = add(
        "variance", _variance, "Variances of three estimators' gradients along a roll-out of an AGPO run, and ascent."
    )
    _add_run(variance)
    variance.add_argument(
        "--iterations", type=int, default=100, metavar="K", help="iterations of ascent; 0 for none; default 100"
    )

    landscape = add(
        "landscape", _landscape, "Landscapes of three estimators at steps of an AGPO run, in planes of its parameters."
    )
    _add_run(landscape)
    landscape.add_argument("--panels", type=int, default=6, metavar="K", help="random steps to draw; default 6")
    landscape.add_argument(
        "--points", type=int, default=25, metavar="K", help="points along each direction, odd; default 25"
    )
    landscape.add_argument(
        "--radius", type=float, default=1.0, metavar="R", help="half the width of a plane [parameters]; default 1"
    )

    compiled = add(
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

    peers = add("peers", _peers, "Compare PPO, SAC and TD3 with Stable-Baselines3, everything else equal.")
    peers.add_argument("--algo", dest="algos", action="append", metavar="ALGO", help="may be repeated; default all")
    peers.add_argument("--task", default="cartpole", help="default cartpole")
    peers.add_argument("--seeds", type=int, default=5, metavar="K", help="seeds of each side; default 5")
    peers.add_argument("--iterations", type=int, default=100, metavar="K", help="updates of a run; default 100")
    peers.add_argument("--num-envs", type=int, default=64, metavar="N", help="worlds; default 64")
    peers.add_argument(
        "--episodes", type=int, default=128, metavar="K", help="episodes of the final evaluation; default 128"
    )

    run = add("run", _run, "Train every unfinished run of a suite; options of diffrl train may follow after --.")
    run.add_argument("--jobs", type=int, metavar="J", help="runs at a time; default from the suite")
    run.add_argument("--threads", type=int, metavar="K", help="simulator threads of each; default cores / jobs")
    run.add_argument("--device", help="cpu, cuda or cuda:i")
    plot = add("plot", _plot, "Draw a suite's learning curves.")
    plot.add_argument(
        "--traces", action="store_true", help="draw the metrics that the suite keeps traces of instead, over updates"
    )
    plot.add_argument("--together", action="store_true", help="a panel for each task with all algorithms in it")
    plot.add_argument("--file", metavar="FILE", help=".svg, .png or .pdf; default curves.svg in the results' folder")
    runs = add("runs", _plot_runs, "Draw the learning curves of run folders together; diffrl plot is the same.")
    runs.add_argument("runs", nargs="+", metavar="RUN", help="run folders, finished or not")
    runs.add_argument("--file", default="curves.svg", metavar="FILE", help=".svg, .png or .pdf; default curves.svg")
    runs.add_argument(
        "--name",
        dest="names",
        action="append",
        metavar="NAME",
        help="name of a run in the picture, once for each; equal names are seeds of one curve; default what differs",
    )
    for command in (run, add("table", _table, "A suite's results as a Markdown table."), plot):
        command.add_argument("suite", metavar="SUITE", help="name of a suite, or a .toml file")
        command.add_argument("--out", metavar="DIR", help="folder of the results; default runs/SUITE")
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="ant", help="see diffrl list tasks; default ant")
    parser.add_argument("--num-envs", type=int, metavar="N", help="worlds")
    parser.add_argument("--threads", type=int, metavar="K", help="simulator threads; default every core")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:i; default cpu")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder of agpo in torch")
    parser.add_argument(
        "--steps", type=int, default=128, metavar="T", help="control steps of the roll-out; default 128"
    )
    parser.add_argument("--num-envs", type=int, default=64, metavar="N", help="worlds; default 64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", default="last", metavar="NAME", help="last (default), best, or an iteration")
    parser.add_argument("--plot", metavar="FILE", help="draw the results: .svg, .png or .pdf")


def _fail(message: str, code: int) -> int:
    print(f"diffrl bench: {' '.join(message.split())}", file=sys.stderr)
    return code
