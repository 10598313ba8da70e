"""Dispatch, output and exit codes of ``diffrl``.

Results go to stdout, everything else to stderr. The exit code is 0 only on success, and 2 for bad input.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version

from .._errors import LostProcessError, RunError, UsageError, WriteError, unknown
from .._files import plain
from .._signals import Interrupted, exit_code, stop_on_signals
from .._streams import put, results_only, usable
from ._parser import HelpShown, Result

_COMMANDS = {
    "train": "train a policy and evaluate it; --resume continues a run",
    "play": "show the policy of a run: an HTML file, a video or a live view",
    "eval": "evaluate the policy of a run on fresh worlds",
    "export": "write the policy of a run to a file of ONNX, torch.export or jax.export",
    "list": "list algorithms, tasks or presets",
    "check": "check a task's gradients and promises",
    "diagnose": "where first-order gradients are noisy, biased or lost, and what to train with",
}
_GROUP = "diffrl.commands"
_ELSEWHERE = {
    "bench": ("diffrl-bench", "measure simulators, updates and whole trainings; run, tabulate and draw suites"),
    "plot": ("diffrl-bench", "draw the learning curves of run folders together"),
}
"""Commands of packages that belong to this one, which may be absent or older."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    Where something swallowed what a signal raised, the command goes on. It then ends with the exit code of that signal
    although its result was printed, for nobody knows what was cut off. Training knows, and says how to go on.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with stop_on_signals() as stop, usable():
        try:
            code = _run(arguments)
            if code == 0:
                stop.obey()
            return code
        except (UsageError, RunError) as error:
            return _fail(error, 1 if isinstance(error, WriteError | LostProcessError) else 2)
        except ValueError as error:
            from diffsim_core import TaskError

            if not isinstance(error, TaskError):
                raise
            return _fail(error, 2)
        except (OSError, ImportError) as error:
            return _fail(error, 1, f"{type(error).__name__}: ")
        except KeyboardInterrupt as error:
            by = error if isinstance(error, Interrupted) else Interrupted("SIGINT")
            return _fail(by, exit_code(by.name))


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        put(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from .. import __version__

        put(__version__)
        return 0
    return _command(arguments[0], arguments[1:])


def _command(command: str, arguments: list[str]) -> int:
    if command in _COMMANDS:
        module = importlib.import_module(f"diffrl_algos.cli._{command}")
        try:
            with results_only():
                result: Result | int = module.run(arguments)
        except HelpShown as text:
            put(str(text))
            return 0
        if isinstance(result, int):
            return result
        put(json.dumps(plain(result.value), allow_nan=False) if result.as_json else result.text)
        return result.code
    plugins = _plugins()
    if command not in plugins:
        if command in _ELSEWHERE:
            raise _absent(command)
        raise unknown("command", command, [*_COMMANDS, *plugins])
    return int(plugins[command].load()(arguments) or 0)


def _plugins() -> dict[str, EntryPoint]:
    """Commands of other installed packages: functions from the arguments to the exit code."""
    return {point.name: point for point in entry_points(group=_GROUP)}


def _absent(command: str) -> UsageError:
    """An error for a command of a package that is not installed, or in a version without it."""
    package = _ELSEWHERE[command][0]
    try:
        found = (
            f"version {version(package)} is installed, which does not have it: pip install --upgrade --force-reinstall"
        )
    except PackageNotFoundError:
        found = "it is not installed: pip install"
    return UsageError(f"diffrl {command} is a command of {package}; {found} {package}")


def _about(name: str, point: EntryPoint) -> str:
    """What a command of another package does; of an unknown package, what that says of itself."""
    if name in _ELSEWHERE:
        return _ELSEWHERE[name][1]
    if point.dist is None:
        return f"from {point.module}"
    summary = point.dist.metadata.json.get("summary", "")
    return f"{summary} ({point.dist.name})" if summary else f"of the package {point.dist.name}"


def _help() -> str:
    lines = [
        "usage: diffrl COMMAND ... [--json]",
        "",
        "Learn policies through differentiable simulators.",
        "",
        "commands:",
    ]
    lines += [f"  {name:<8} {text}" for name, text in _COMMANDS.items()]
    lines += [f"  {name:<8} {_about(name, point)}" for name, point in sorted(_plugins().items())]
    return "\n".join([*lines, "", "diffrl COMMAND --help lists the options of a command."])


def _fail(error: BaseException, code: int, kind: str = "") -> int:
    """Print what went wrong, and the notes on how to go on, as one line."""
    from diffsim_core._raised import one_line  # light: it may be the first thing that is loaded

    message = "; ".join([f"{kind}{error}", *getattr(error, "__notes__", ())])
    print(f"diffrl: {one_line(message)}", file=sys.stderr)
    return code
