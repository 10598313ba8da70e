"""``diffrl train``: start a run, or continue one."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import _fields
from .._callbacks import ProgressLine
from .._clips import Clips
from .._config import UpdateConfig
from .._errors import UsageError, unknown
from .._evaluate import returns_text
from .._imports import import_module
from .._live import PORT, Live
from .._presets import default_preset
from .._processes import launched
from .._registry import AlgorithmEntry, get_algorithm, list_algorithms, unknown_algorithm
from .._run import Run, default_path, reserved
from .._session import resume_run, start_run
from .._signals import exit_code
from .._spec import RunSpec
from .._start import extended, starting_from
from .._train import Budget, Callback
from ._parser import Parser, Result, add_import

_BUDGETS = ("iterations", "env-steps", "seconds")
_WITH_EXTEND = {"extend", "out", "config.iterations", "env_steps", "seconds", "task", "algorithm"}
_WITH_RESUME = {"resume", "stop_after", "json", "imports", "clips", "live", "port"}


def run(arguments: Sequence[str]) -> Result | int:
    entry, args = _parse(arguments)
    if args.resume is None and args.extend is None and args.task is None:
        raise UsageError(
            "diffrl train needs ALGO and TASK, or --resume DIR, or --extend DIR; "
            "see diffrl list algos, diffrl list tasks"
        )
    if args.stop_after is not None and args.stop_after < 1:
        raise UsageError(f"--stop-after is {args.stop_after}; expected at least 1")
    callbacks: list[Callback] = [ProgressLine(sys.stderr)]
    if args.resume is not None:
        fixed = [key for key, value in vars(args).items() if key not in _WITH_RESUME and value is not None]
        if fixed:
            name = fixed[0].removeprefix("config.").replace("_", "-")
            way = f"; to go on beyond the budget: --extend {args.resume}" if name in _BUDGETS else ""
            raise UsageError(f"{name} is fixed when a run begins; --resume cannot change it{way}")
        path = Path(args.resume)
        callbacks += [*_clips(args, path, lambda: Run.open(path).spec), *_live(args, path)]
        summary = resume_run(path, callbacks=callbacks, stop_after=args.stop_after)
    else:
        assert entry is not None
        spec = _spec(entry, args) if args.extend is None else _extended(args)
        with _folder(args, spec) as path:
            callbacks += [*_clips(args, path, lambda: spec), *_live(args, path)]
            if launched()[0] == 0:
                print(f"run folder: {path}", file=sys.stderr)
            summary = start_run(spec, path, callbacks=callbacks, stop_after=args.stop_after)
    code = exit_code(summary.get("signal"))
    return Result(summary, _text(summary), args.json, code) if launched()[0] == 0 else code


def _parse(arguments: Sequence[str]) -> tuple[AlgorithmEntry | None, Namespace]:
    """The algorithm and all arguments; without an algorithm only where a run is resumed or there are no names.

    Raises:
        UsageError: an unknown option or algorithm, or a value of the wrong type.
    """
    common = _parser(None)
    for module in common.values("--import", arguments):
        import_module(module)  # before the algorithm is looked up, for the module may register it
    entries = {entry.name: entry for entry in list_algorithms()}
    names = common.positionals(arguments)
    for folder in (*common.values("--extend", arguments), *common.values("--resume", arguments))[:1]:
        if not names:  # the options of its algorithm
            return (entry := get_algorithm(Run.open(Path(folder)).spec.algorithm)), _parser(entry).parse(arguments)
    entry = entries.get(names[0]) if names else None
    if names and entry is None and not common.values("--resume", arguments):
        configs = (known.config_class() for known in entries.values())
        fields = {f"--{name.replace('_', '-')}" for config in configs for name in _fields.fields(config)}
        common.check_options(arguments, common.options | fields)
        for option, value in common.split(arguments):
            if len(names) == 1 and value in entries and common.may_take_a_value(option):
                raise UsageError(f"{option} took {value!r} for its own value; give ALGO and TASK before {option}")
        raise unknown_algorithm(names[0], entries)
    return entry, (common if entry is None else _parser(entry)).parse(arguments)


def _folder(args: Namespace, spec: RunSpec) -> contextlib.AbstractContextManager[Path]:
    """The run folder: the one that was asked for, or a new one, of which the first of several processes decides."""
    if args.out is not None:
        return contextlib.nullcontext(Path(args.out))
    path = default_path(spec)
    return reserved(path) if launched()[0] == 0 else contextlib.nullcontext(path)


def _clips(args: Namespace, path: Path, spec: Callable[[], RunSpec]) -> list[Callback]:
    if args.clips is None:
        return []
    if spec().eval_every is None:
        raise UsageError("--clips needs evaluations during training; give --eval-every too")
    return [Clips(path / "clips", args.clips)]


def _live(args: Namespace, path: Path) -> list[Callback]:
    if args.live is None or launched()[0] != 0:
        return []
    return [Live(path, PORT if args.port is None else args.port, args.imports)]


def _parser(entry: AlgorithmEntry | None) -> Parser:
    parser = Parser("train", "Train a policy and evaluate it; with ALGO given, --help lists its configuration.")
    parser.add_argument("algorithm", nargs="?", metavar="ALGO", help="see diffrl list algos")
    parser.add_argument("task", nargs="?", metavar="TASK", help="see diffrl list tasks")
    parser.add_argument("--resume", metavar="DIR", help="continue the run in DIR from its last checkpoint")
    parser.add_argument(
        "--extend",
        metavar="DIR",
        help="go on with the run in DIR to a larger budget: --iterations, --env-steps or --seconds; in a new folder",
    )
    parser.add_argument(
        "--init-from", metavar="DIR", help="begin with the policy of the run in DIR; everything else is a new run's"
    )
    parser.add_argument(
        "--init-checkpoint", metavar="NAME", help="checkpoint of --init-from: last (default), best, or an iteration"
    )
    parser.add_argument(
        "--stop-after", type=int, metavar="K", help="stop after K updates; budget and schedules do not change"
    )
    parser.add_argument(
        "--reading",
        metavar="NAME",
        help="begin with this setting in place of the preset; agpo has paper, Gao et al. 2024",
    )
    parser.add_argument("--out", metavar="DIR", help="run folder; default runs/ALGO-TASK-sSEED-TIME")
    parser.add_argument("--seed", type=int, help="names all random numbers of the run; default 0")
    parser.add_argument("--num-envs", type=int, metavar="N", help="worlds in parallel; default from the preset")
    parser.add_argument("--device", help="cpu, cuda or cuda:i; default cpu")
    parser.add_argument("--env-steps", type=int, metavar="K", help="budget in control steps over all worlds")
    parser.add_argument(
        "--seconds", type=float, metavar="X", help="budget in seconds of training; schedules do not change"
    )
    parser.add_argument(
        "--task-option", action="append", metavar="NAME=VALUE", help="option of the task; tables in JSON"
    )
    parser.add_argument("--eval-episodes", type=int, metavar="K", help="episodes of an evaluation")
    parser.add_argument(
        "--eval-every", type=int, metavar="K", help="updates between evaluations; default none before the end"
    )
    parser.add_argument("--stop-at-return", type=float, metavar="X", help="end once the mean return is at least X")
    parser.add_argument("--tensorboard", action="store_true", default=None, help="write event files to DIR/tensorboard")
    parser.add_argument(
        "--wandb", nargs="?", const="diffrl", metavar="PROJECT", help="log to Weights & Biases; default project diffrl"
    )
    parser.add_argument(
        "--clips",
        nargs="?",
        type=int,
        const=4,
        metavar="N",
        help="write N worlds (default 4) of every evaluation to DIR/clips as HTML",
    )
    parser.add_argument(
        "--live", action="store_true", default=None, help="show the policy of each new checkpoint in a browser"
    )
    parser.add_argument("--port", type=int, metavar="P", help=f"port of --live; default {PORT}")
    parser.add_argument("--checkpoint-every", type=int, metavar="K", help="updates between checkpoints; default 50")
    parser.add_argument(
        "--keep-checkpoints", type=int, metavar="K", help="checkpoints kept besides the best; default 3"
    )
    add_import(parser)
    if entry is not None:
        group = parser.add_argument_group(f"configuration of {entry.name}")
        for name, option in _fields.fields(entry.config_class()).items():
            text = option.doc.replace("%", "%%")
            group.add_argument(f"--{name.replace('_', '-')}", dest=f"config.{name}", metavar="VALUE", help=text)
    return parser


def _spec(entry: AlgorithmEntry, args: Namespace) -> RunSpec:
    """The run that the arguments describe: the preset with their changes."""
    import diffsim_core

    if not diffsim_core.is_task(args.task):
        raise unknown("task", args.task, diffsim_core.list_tasks())
    preset = default_preset(entry.name, args.task, args.reading)
    cls = entry.config_class()
    given = {key.removeprefix("config."): value for key, value in vars(args).items() if key.startswith("config.")}
    changes = {name: _fields.parse(cls, name, text) for name, text in given.items() if text is not None}
    config = _fields.replace(preset.config, changes)
    num_envs = preset.num_envs if args.num_envs is None else args.num_envs
    budget = {"iterations": changes.get("iterations"), "env_steps": args.env_steps, "seconds": args.seconds}
    budget = {name: value for name, value in budget.items() if value is not None}
    if args.env_steps is not None and num_envs > 0 and hasattr(config, "horizon"):
        # Learning-rate schedules should end with the budget.
        per_update = num_envs * config.horizon
        config = dataclasses.replace(config, iterations=max(1, -(-args.env_steps // per_update)))
    options: dict[str, Any] = {
        "seed": args.seed,
        "device": args.device,
        "eval_episodes": preset.eval_episodes if args.eval_episodes is None else args.eval_episodes,
        "eval_every": args.eval_every,
        "stop_at_return": args.stop_at_return,
        "tensorboard": args.tensorboard,
        "wandb": args.wandb,
        "checkpoint_every": args.checkpoint_every,
        "keep_checkpoints": args.keep_checkpoints,
    }
    spec = RunSpec(
        algorithm=entry.name,
        task=args.task,
        config=config,
        num_envs=num_envs,
        budget=Budget(**(budget or {"iterations": config.iterations})),
        task_options={**preset.task_options, **_task_options(args.task, args.task_option or [])},
        **{name: value for name, value in options.items() if value is not None},
    )
    if args.init_from is None:
        if args.init_checkpoint is not None:
            raise UsageError("--init-checkpoint names a checkpoint of --init-from; give that too")
        return spec
    return starting_from(spec, args.init_from, args.init_checkpoint or "last")


def _extended(args: Namespace) -> RunSpec:
    """The run of ``--extend`` with its new budget."""
    given = [key for key, value in vars(args).items() if value is not None]
    fixed = [key for key in given if key not in _WITH_RESUME | _WITH_EXTEND]
    if fixed or args.algorithm is not None:
        name = fixed[0].removeprefix("config.").replace("_", "-") if fixed else "ALGO"
        raise UsageError(f"--extend takes a budget and --out; {name} stays as it is (--init-from begins a new run)")
    iterations = vars(args)["config.iterations"]
    budget = {"iterations": iterations, "env_steps": args.env_steps, "seconds": args.seconds}
    budget = {name: value for name, value in budget.items() if value is not None}
    if iterations is not None:
        budget["iterations"] = _fields.parse(UpdateConfig, "iterations", iterations)
    if not budget:
        raise UsageError("--extend needs a budget: --iterations, --env-steps or --seconds, counted from the beginning")
    return extended(args.extend, Budget(**budget))


def _task_options(task: str, texts: Sequence[str]) -> dict[str, Any]:
    """Values of ``--task-option NAME=VALUE``, as the task declares them."""
    import diffsim_core

    options: dict[str, Any] = {}
    try:
        declared = diffsim_core.task_options(task)
        for text in texts:
            name, equals, value = text.partition("=")
            if not (name and equals):
                raise UsageError(f"--task-option {text}: expected NAME=VALUE")
            name = name.replace("-", "_")
            options[name] = declared[name].read(value, declared.owner)
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from None
    return options


def _text(summary: dict[str, Any]) -> str:
    done = f"{summary['iterations']} updates, {summary['env_steps']:,} steps, {summary['wall_s']:.1f} s"
    if summary["status"] != "finished":
        return f"{summary['status']} after {done}; continue with: diffrl train --resume {summary['run']}"
    return (
        f"{returns_text(summary)} "
        f"(deterministic, mean length {summary['length_mean']:.1f}) after {done}; run folder {summary['run']}"
    )
