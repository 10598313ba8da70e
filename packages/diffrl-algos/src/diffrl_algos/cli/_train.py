"""``diffrl train``: start a run, or continue one."""

from __future__ import annotations

import contextlib
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._callbacks import ProgressLine
from .._clips import Clips
from .._config import UpdateConfig
from .._errors import UsageError
from .._evaluate import returns_text
from .._fields import flag
from .._folders import default_path, of_seed, reserved, seed_folders, together_at
from .._imports import import_module, resume_command
from .._live import PORT, Live
from .._processes import launched
from .._registry import AlgorithmEntry, list_algorithms, unknown_algorithm
from .._run import Run
from .._seeds import SharedLine, require_alike
from .._session import Planned, resume_run, resume_runs, start_run, start_runs
from .._signals import exit_code
from .._spec import RunSpec
from .._start import extended, starting_from
from .._train import Budget, Callback
from ._parser import Result
from ._run_imports import imported_for
from ._train_options import budget_of, config_flags, refuse_task_options, scheduled, spec_of, specs_of, train_parser

_WITH_EXTEND = {"extend", "out", "config.iterations", "env_steps", "seconds"}
_WITH_RESUME = {"resume", "stop_after", "json", "imports", "trust_imports", "clips", "live", "port"}


def run(arguments: Sequence[str]) -> Result | int:
    entry, args = _parse(arguments)
    if args.resume is not None:
        if folders := seed_folders(Path(args.resume)):
            return _result_of_seeds(_go_on_together(folders, args), args)
        summary = _go_on(args)
    elif args.extend is not None:
        with imported_for(args, Path(args.extend)) as names:
            summary = _begin(_extended(args), args, names)
    elif entry is None or args.task is None:
        raise UsageError(
            "diffrl train needs ALGO and TASK, or --resume DIR, or --extend DIR; see diffrl list algos, diffrl list "
            "tasks"
        )
    elif args.seeds is not None:
        return _result_of_seeds(_begin_together(_new(entry, args), args), args)
    else:
        summary = _begin(_new(entry, args), args, args.imports)
    code = exit_code(summary.get("signal"))
    return Result(summary, _text(summary), args.json, code) if launched()[0] == 0 else code


def described(arguments: Sequence[str]) -> RunSpec:
    """The run that arguments of ``diffrl train`` describe; it is not begun, and ``--out`` has no part in it.

    Raises:
        UsageError: an algorithm, a task or an option is unknown, a value is impossible, or it is no new run.
        RunError: the run that it begins with cannot be used.
    """
    entry, args = _parse(arguments)
    if entry is None or args.task is None or args.seeds is not None:
        raise UsageError(f"diffrl train {' '.join(arguments)} describes no new run of one seed")
    return _new(entry, args)


def _begin(spec: RunSpec, args: Namespace, imports: Sequence[str]) -> dict[str, Any]:
    with _folder(args, spec) as path:
        callbacks = [_Folder(path), ProgressLine(sys.stderr), *_clips(args, path, lambda: spec)]
        callbacks += _live(args, path, imports)
        return start_run(spec, path, callbacks=callbacks, stop_after=args.stop_after)


def _begin_together(spec: RunSpec, args: Namespace) -> list[dict[str, Any]]:
    """Train several seeds, each in a folder of its own in the one that was asked for."""
    specs = specs_of(spec, args)
    require_alike(specs)
    _refuse_live(args)
    with _folder(args, spec, seeds=True) as path:
        if (path / "run.json").exists():
            raise UsageError(f"{path} is a run folder, and --seeds makes folders in it; choose another --out")
        line = SharedLine(sys.stderr)
        planned = [Planned(one, of_seed(path, one.seed)) for one in specs]
        planned = [one._replace(callbacks=_of_seed(args, line, *one[:2], new=True)) for one in planned]
        return start_runs(planned, stop_after=args.stop_after)


def _go_on_together(folders: Sequence[Path], args: Namespace) -> list[dict[str, Any]]:
    _refuse_fixed(args)
    _refuse_live(args)
    line = SharedLine(sys.stderr)
    with imported_for(args, folders[0]):
        return resume_runs(
            folders, callbacks=lambda run: _of_seed(args, line, run.spec, run.path), stop_after=args.stop_after
        )


def _of_seed(args: Namespace, line: SharedLine, spec: RunSpec, path: Path, *, new: bool = False) -> list[Callback]:
    return [*([_Folder(path)] if new else []), line.of(spec.seed), *_clips(args, path, lambda: spec)]


def _refuse_live(args: Namespace) -> None:
    if args.live is not None:
        raise UsageError("--live shows one run, not several seeds; leave it out, and see diffrl play RUN --live")


class _Folder(Callback):
    """Says where the run folder is, once there is one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_start(self, state: Any, fraction: float) -> None:
        print(f"run folder: {self._path}", file=sys.stderr)


def _new(entry: AlgorithmEntry, args: Namespace) -> RunSpec:
    """The run that the arguments describe, with the beginning that they ask for."""
    if args.trust_imports:
        raise UsageError("--trust-imports is for --resume and --extend; give the modules of a new run with --import")
    spec = spec_of(entry, args)
    if args.init_from is None:
        if args.init_checkpoint is not None:
            raise UsageError("--init-checkpoint names a checkpoint of --init-from; give that too")
        return spec
    return starting_from(spec, args.init_from, args.init_checkpoint or "last")


def _extended(args: Namespace) -> RunSpec:
    """The run of ``--extend`` with its new budget."""
    given = [key for key, value in vars(args).items() if value is not None and key not in _WITH_RESUME | _WITH_EXTEND]
    if given:
        name = "ALGO" if given[0] == "algorithm" else flag(given[0].removeprefix("config."))
        raise UsageError(f"--extend takes a budget and --out; {name} stays as it is (--init-from begins a new run)")
    budget = budget_of(args, UpdateConfig)
    if not budget:
        raise UsageError("--extend needs a budget: --iterations, --env-steps or --seconds, counted from the beginning")
    spec = extended(args.extend, Budget(**budget))
    return spec if args.env_steps is None else scheduled(spec, set())


def _refuse_fixed(args: Namespace) -> None:
    fixed = [key for key, value in vars(args).items() if key not in _WITH_RESUME and value is not None]
    if fixed:
        raise _is_fixed(flag(fixed[0].removeprefix("config.")))


def _go_on(args: Namespace) -> dict[str, Any]:
    _refuse_fixed(args)
    path = Path(args.resume)
    with imported_for(args, path) as names:
        callbacks = [ProgressLine(sys.stderr), *_clips(args, path, lambda: Run.open(path).spec)]
        callbacks += _live(args, path, names)
        return resume_run(path, callbacks=callbacks, stop_after=args.stop_after)


def _is_fixed(option: str) -> UsageError:
    return UsageError(
        f"{option} is fixed when a run begins. --stop-after K ends this call after K updates; to go on beyond the "
        "budget: --extend DIR; for other settings, start a new run, with --init-from DIR from this policy"
    )


def _parse(arguments: Sequence[str]) -> tuple[AlgorithmEntry | None, Namespace]:
    """The algorithm and all arguments; without an algorithm only where a run is resumed or there are no names.

    Raises:
        UsageError: an unknown option or algorithm, or a value of the wrong type.
        HelpShown: ``--help`` is among the arguments.
    """
    common = train_parser(None)
    resumed = bool(common.values("--resume", arguments) or common.values("--extend", arguments))
    for module in () if resumed else common.values("--import", arguments):
        import_module(module)  # before the algorithm is looked up, for the module may register it
    entries = {entry.name: entry for entry in list_algorithms()}
    names = common.positionals(arguments)
    entry = entries.get(names[0]) if names else None
    if entry is not None:
        asked = {"-h", "--help"} & {option for option, _ in common.split(arguments)}
        reading = (common.values("--reading", arguments) or [None])[-1]
        helped = (names[1], reading) if asked and len(names) > 1 else ()
        parser = train_parser(entry, *helped)
        if len(names) > 1:
            refuse_task_options(parser, names[1], arguments)
        return entry, parser.parse(arguments)
    given = [option for option, _ in common.split(arguments) if option.startswith("--")]
    if names or (resumed and not common.options.issuperset(given)):
        flags = config_flags(list(entries.values()))
        common.check_options(arguments, common.options | flags)
        if resumed:
            raise _is_fixed(next(o for o in given if o not in common.options)) if not names else _two(names)
        for option, value in common.split(arguments):
            if len(names) == 1 and value in entries and common.may_take_a_value(option):
                raise UsageError(f"{option} took {value!r} for its own value; give ALGO and TASK before {option}")
        raise unknown_algorithm(names[0], entries)
    return entry, common.parse(arguments)


def _two(names: Sequence[str]) -> UsageError:
    return UsageError(f"--resume DIR goes on with the run in DIR; leave {' '.join(names)} out")


def _folder(args: Namespace, spec: RunSpec, *, seeds: bool = False) -> contextlib.AbstractContextManager[Path]:
    """The run folder: the one that was asked for, or a new one, of which the first of several processes decides."""
    if args.out is not None:
        return contextlib.nullcontext(Path(args.out))
    path = default_path(spec, seeds=seeds)
    return reserved(path) if launched()[0] == 0 else contextlib.nullcontext(path)


def _clips(args: Namespace, path: Path, spec: Callable[[], RunSpec]) -> list[Callback]:
    if args.clips is None:
        return []
    if spec().eval_every is None:
        raise UsageError("--clips needs evaluations during training; give --eval-every too")
    return [Clips(path / "clips", args.clips)]


def _live(args: Namespace, path: Path, imports: Sequence[str]) -> list[Callback]:
    if args.live is None or launched()[0] != 0:
        return []
    return [Live(path, PORT if args.port is None else args.port, imports)]


def _text(summary: dict[str, Any], *, whole: bool = True) -> str:
    """What came of a run, ``whole`` with the command that goes on with it."""
    done = f"{summary['iterations']} updates, {summary['env_steps']:,} steps, {summary['wall_s']:.1f} s"
    if summary["status"] != "finished":
        way_on = f"; continue with: {resume_command(Path(summary['run']))}" if whole else ""
        return f"{summary['status']} after {done}{way_on}"
    return (
        f"{returns_text(summary)} "
        f"(deterministic, mean length {summary['length_mean']:.1f}) after {done}; run folder {summary['run']}"
    )


def _result_of_seeds(summaries: Sequence[dict[str, Any]], args: Namespace) -> Result:
    """One line for each seed, and how to go on where some are not complete."""
    lines = [f"seed {one['seed']}: {_text(one, whole=False)}" for one in summaries]
    if any(one["status"] != "finished" for one in summaries):
        lines.append(f"continue with: {resume_command(together_at([Path(one['run']) for one in summaries]))}")
    code = max(exit_code(one.get("signal")) for one in summaries)
    return Result(list(summaries), "\n".join(lines), args.json, code)
