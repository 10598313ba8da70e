"""Dispatch, output and exit codes of ``diffrl``.

Results go to stdout, everything else to stderr. The exit code is 0 only on success, and 2 for bad input.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points

from .._errors import LostProcessError, RunError, UsageError, WriteError, unknown
from .._files import plain
from ._parser import Result

_COMMANDS = {
    "train": "train a policy and evaluate it; --resume continues a run",
    "play": "show the policy of a run: an HTML file, a video or a live view",
    "eval": "evaluate the policy of a run on fresh worlds",
    "export": "write the policy of a run to an ONNX or torch.export file",
    "list": "list algorithms, tasks or presets",
    "check": "check a task's gradients and promises",
}
_GROUP = "diffrl.commands"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from .. import __version__

        print(__version__)
        return 0
    try:
        return _run(arguments[0], arguments[1:])
    except (UsageError, RunError) as error:
        return _fail(str(error), 1 if isinstance(error, WriteError | LostProcessError) else 2)
    except ValueError as error:
        from diffsim_core import TaskError

        if not isinstance(error, TaskError):
            raise
        return _fail(str(error), 2)
    except (OSError, ImportError) as error:
        return _fail(f"{type(error).__name__}: {error}", 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _run(command: str, arguments: list[str]) -> int:
    if command in _COMMANDS:
        module = importlib.import_module(f"diffrl_algos.cli._{command}")
        with _results_only():
            result: Result | int = module.run(arguments)
        if isinstance(result, int):
            return result
        print(json.dumps(plain(result.value), allow_nan=False) if result.as_json else result.text)
        return result.code
    plugins = _plugins()
    if command not in plugins:
        raise unknown("command", command, [*_COMMANDS, *plugins])
    return int(plugins[command].load()(arguments) or 0)


def _plugins() -> dict[str, EntryPoint]:
    """Commands of other installed packages: functions from the arguments to the exit code."""
    return {point.name: point for point in entry_points(group=_GROUP)}


def _help() -> str:
    lines = [
        "usage: diffrl COMMAND ... [--json]",
        "",
        "Learn policies through differentiable simulators.",
        "",
        "commands:",
    ]
    lines += [f"  {name:<8} {text}" for name, text in _COMMANDS.items()]
    lines += [f"  {name:<8} from {point.value.partition(':')[0]}" for name, point in sorted(_plugins().items())]
    return "\n".join([*lines, "", "diffrl COMMAND --help lists the options of a command."])


def _fail(message: str, code: int) -> int:
    from diffsim_core.check import one_line

    print(f"diffrl: {one_line(message)}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _results_only() -> Iterator[None]:
    """Send everything that libraries print on stdout to stderr, including native code, until the result is printed."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)
