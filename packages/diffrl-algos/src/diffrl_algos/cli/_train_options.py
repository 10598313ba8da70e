"""The options of ``diffrl train``, made from what a run, its budget, its algorithm and its task declare."""

from __future__ import annotations

import dataclasses
import shlex
from argparse import Namespace
from collections.abc import Container, Sequence
from typing import Any

from diffsim_core.options import Count, Index, Option, Options

from .. import _fields
from .._config import UpdateConfig
from .._errors import UsageError, unknown
from .._fields import flag
from .._live import PORT_OPTION
from .._presets import Preset, default_preset
from .._registry import AlgorithmEntry, get_algorithm
from .._spec import RunSpec, default_task_options
from .._train import Budget
from ._parser import Parser, about, add_import, listing

_SHOWN: dict[str, dict[str, Any]] = {
    "num_envs": {"metavar": "N"},
    "seed": {"metavar": "S"},
    "device": {"metavar": "DEVICE"},
    "env_steps": {"metavar": "K"},
    "seconds": {"metavar": "X"},
    "stop_at_return": {"metavar": "X"},
    "tensorboard": {},
    "framework": {"metavar": "NAME"},
    "bundle": {"metavar": "N"},
    "bundle_position": {"metavar": "X"},
    "bundle_velocity": {"metavar": "X"},
    "bundle_force": {"metavar": "X"},
    "wandb": {"metavar": "PROJECT", "nargs": "?", "const": "diffrl"},
}
"""How the options of a run look; the others count something."""
_OF_RUN = ("num_envs", "seed", "device", "eval_episodes", "eval_every", "stop_at_return", "checkpoint_every")
_OF_RUN = (*_OF_RUN, "keep_checkpoints", "tensorboard", "wandb", "framework", "bundle", "bundle_steps")
_OF_RUN = (*_OF_RUN, "bundle_position", "bundle_velocity", "bundle_force")
_STOP_AFTER = Option(
    name="stop_after", kind=Count | None, default=None, doc="Stop after so many updates; budget and schedules stay."
)
_SEEDS = Option(
    name="seeds",
    kind=tuple[Index, ...] | None,
    default=None,
    doc="Train these seeds in one process, each in a folder of its own; in JAX.",
)
_CLIPS = Option(name="clips", kind=Count, default=4, doc="Write N worlds of every evaluation to DIR/clips as HTML.")


def train_parser(entry: AlgorithmEntry | None, task: str | None = None, reading: str | None = None) -> Parser:
    """The parser, with the configuration of an algorithm if it is known, and the help of the task if that is.

    Raises:
        UsageError: the task or the reading does not exist.
    """
    parser = Parser(
        "train",
        "Train a policy and evaluate it. With ALGO and TASK given, --help lists the options of both.",
        usage="diffrl train ALGO TASK [options]\n       diffrl train --resume|--extend DIR [options]",
    )
    preset = default_preset(entry.name, task, reading) if entry is not None and task is not None else None
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
    parser.add(_STOP_AFTER, metavar="K")
    parser.add_argument(
        "--reading",
        metavar="NAME",
        help="begin with this setting in place of the preset; agpo has paper, Gao et al. 2024",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="run folder; default runs/ALGO-TASK-sSEED-TIME; with --seeds, the folder of theirs"
    )
    run, budget = _fields.field_types(RunSpec), _fields.field_types(Budget)
    for name in _OF_RUN:
        option = run[name] if preset is None else dataclasses.replace(run[name], default=_default(run[name], preset))
        parser.add(option, **_SHOWN.get(name, {"metavar": "K"}))
    parser.add(_SEEDS, metavar="S,S,...")
    for name in ("env_steps", "seconds"):
        parser.add(budget[name], **_SHOWN[name])
    parser.add_argument(
        "--task-option",
        action="append",
        metavar="NAME=VALUE",
        help="option of the task; tables in JSON; may be repeated",
    )
    parser.add(_CLIPS, metavar="N", nargs="?", const=_CLIPS.default)
    parser.add_argument(
        "--live", action="store_true", default=None, help="show the policy of each new checkpoint in a browser"
    )
    parser.add(PORT_OPTION, metavar="P")
    add_import(parser, run=True)
    if entry is not None:
        _add_config(parser, entry, preset)
    else:  # for --extend
        updates = _fields.field_types(UpdateConfig)["iterations"]
        parser.add(updates, dest="config.iterations", metavar="K", help="budget in updates", type=str)
    if entry is not None and preset is not None:
        declared = task_options(preset.task)
        title = f"\noptions of {declared.owner}, as --task-option NAME=VALUE:"
        usual = default_task_options(entry, declared, RunSpec.device)
        parser.more = listing(title, declared.known, {**usual, **preset.task_options})
    return parser


def _default(option: Option, preset: Preset) -> Any:
    """The value of an option of the run where it is not given."""
    return {"num_envs": preset.num_envs, "eval_episodes": preset.eval_episodes}.get(option.name, option.default)


def _add_config(parser: Parser, entry: AlgorithmEntry, preset: Preset | None) -> None:
    cls = entry.config_class()
    of = f" on {preset.task}" if preset is not None else ""
    group = parser.add_argument_group(f"configuration of {entry.name}{of}")
    for name, option in _fields.field_types(cls).items():
        default = option.default if preset is None else getattr(preset.config, name)
        text = about(option, default).replace("%", "%%")
        # Read later: a value that is wrong is wrong for the configuration, which has a name.
        parser.add(option, group=group, dest=f"config.{name}", help=text, type=str)


def task_options(task: str) -> Options:
    """What a task declares; ``UsageError`` if there is no such task, or it needs what is not installed."""
    import diffsim_core

    if not diffsim_core.is_task(task):
        raise unknown("task", task, diffsim_core.list_tasks())
    try:
        return diffsim_core.task_options(task)
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from None


def refuse_task_options(parser: Parser, task: str, arguments: Sequence[str]) -> None:
    """Raise ``UsageError`` for the first option that is one of the task's, which have a form of their own."""
    import diffsim_core

    pairs = [(option, value) for option, value in parser.split(arguments) if option.startswith("--")]
    pairs = [(option, value) for option, value in pairs if option != "--" and option not in parser.options]
    if not pairs or not diffsim_core.is_task(task):
        return
    known = task_options(task).known
    for option, value in pairs:
        name = option.removeprefix("--").replace("-", "_")
        if name in known:
            given = shlex.quote(f"{name}={'VALUE' if value is None else value}")
            raise UsageError(f"{option} is an option of task {task!r}; give --task-option {given}")


def spec_of(entry: AlgorithmEntry, args: Namespace) -> RunSpec:
    """The run that the arguments describe: the preset with their changes."""
    declared = task_options(args.task)
    entry = get_algorithm(entry.name, args.framework)
    preset = default_preset(entry.name, args.task, args.reading)
    cls = entry.config_class()
    own = {*_fields.field_types(cls), *_OF_RUN, *_fields.field_types(Budget)}
    given = {key.removeprefix("config."): value for key, value in vars(args).items() if key.startswith("config.")}
    changes = {name: _fields.parse(cls, name, text) for name, text in given.items() if text is not None}
    run = {name: value for name in _OF_RUN if (value := getattr(args, name)) is not None}
    run = {"num_envs": preset.num_envs, "eval_episodes": preset.eval_episodes, **run}
    usual = default_task_options(entry, declared, run.get("device", RunSpec.device))
    options = {**usual, **preset.task_options, **given_options(declared, args.task_option or [], own)}
    config = _fields.replace(preset.config, changes)
    made = RunSpec(
        algorithm=entry.name,
        task=args.task,
        config=config,
        budget=Budget(**(budget_of(args, cls) or {"iterations": config.iterations})),
        task_options=options,
        **run,
    )
    return made if args.env_steps is None else scheduled(made, set(changes))


def specs_of(spec: RunSpec, args: Namespace) -> list[RunSpec]:
    """``spec`` with each of the seeds of ``--seeds``."""
    if args.seed is not None:
        raise UsageError("--seed and --seeds are both given; give one of them")
    if not args.seeds:
        raise UsageError("--seeds is empty; give one or more, with commas between")
    return [dataclasses.replace(spec, seed=seed) for seed in args.seeds]


def budget_of(args: Namespace, cls: type) -> dict[str, Any]:
    """The budgets that were given; of ``iterations``, as the configuration ``cls`` declares them."""
    text = vars(args).get("config.iterations")
    updates = None if text is None else _fields.parse(cls, "iterations", text)
    found = {"iterations": updates, "env_steps": args.env_steps, "seconds": args.seconds}
    return {name: value for name, value in found.items() if value is not None}


def scheduled(spec: RunSpec, given: set[str]) -> RunSpec:
    """``spec`` with schedules that end with its budget of control steps, but for fields that were ``given``.

    An algorithm says the most control steps that an update takes; so ``iterations`` are the fewest updates, and
    ``schedule_steps`` make the schedules exact where updates take fewer.
    """
    config, steps = spec.config, spec.budget.env_steps
    assert steps is not None
    most = getattr(config, "steps_of_update", None)
    if most is not None:
        per_update = most(spec.num_envs, lambda: spec.make_env(1).spec.horizon)
    else:
        per_update = spec.num_envs * getattr(config, "horizon", 0)
    changes: dict[str, int] = {"schedule_steps": steps}
    if per_update > 0:
        changes["iterations"] = max(1, -(-steps // per_update))
    known = _fields.field_types(type(config))
    changes = {name: value for name, value in changes.items() if name in known and name not in given}
    return dataclasses.replace(spec, config=_fields.replace(config, changes))


def given_options(declared: Options, texts: Sequence[str], elsewhere: Container[str] = ()) -> dict[str, Any]:
    """Values of ``--task-option NAME=VALUE``, as the task declares them; those ``elsewhere`` are options themselves."""
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"--task-option {text}: expected NAME=VALUE")
        name = name.replace("-", "_")
        try:
            options[name] = declared[name].read(value, declared.owner)
        except ValueError as error:
            if name in elsewhere and name not in declared.known:
                text = f"{name} is an option of the run, not of {declared.owner}; give {flag(name)} {value}"
                raise UsageError(text) from None
            raise UsageError(str(error)) from None
    return options


def config_flags(entries: Sequence[AlgorithmEntry]) -> set[str]:
    """The options that the configurations of some algorithms have."""
    return {flag(name) for entry in entries for name in _fields.field_types(entry.config_class())}
