"""Dispatch, output and exit codes of ``diffrl bench``.

Results go to stdout, everything else to stderr. The exit code is 0 only on success, 2 for bad input, and 1 if a
measurement or a run failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from diffrl_algos import RunError
from diffrl_algos._callbacks import PartLine, StatusLine
from diffrl_algos._signals import Interrupted, exit_code, stop_on_signals
from diffrl_algos._streams import put, results_only, usable

from . import _compare, _gradients, _measure, _records, _report, _run, _scaling, _show, _studies
from ._parser import Commands, Parser, Result, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    with stop_on_signals() as stop, usable():
        try:
            args = parser().parse_args(arguments[:cut])
            args.rest = tuple(arguments[cut + 1 :])
            if args.rest and args.command != "run":
                raise UsageError(f"bench {args.command} takes no arguments after --")
            command: Callable[[argparse.Namespace], Result] = args.function
            with results_only():
                line = StatusLine(sys.stderr)
                args.progress, args.parse = PartLine(line).show, parse
                try:
                    result = command(args)
                finally:
                    line.clear()
            put(json.dumps(result.value, allow_nan=False) if args.json else result.text)
            stop.obey()
            return result.code
        except (UsageError, ValueError, RunError) as error:
            return _fail(str(error), 2)
        except (OSError, ImportError) as error:
            return _fail(f"{type(error).__name__}: {error}", 1)
        except KeyboardInterrupt as error:
            by = error if isinstance(error, Interrupted) else Interrupted("SIGINT")
            return _fail(str(by), exit_code(by.name))
        except SystemExit as error:  # --help
            return int(error.code or 0)


def plot(argv: Sequence[str] | None = None) -> int:
    """``diffrl plot RUN...``; returns the exit code."""
    return main(["runs", *(sys.argv[1:] if argv is None else argv)])


def parser() -> Parser:
    """The parser of all commands."""
    commands = Commands()
    for module in (_measure, _studies, _gradients, _scaling, _run, _show, _compare, _report, _records):
        module.add(commands)
    return commands.parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Arguments of a command, with ``ValueError`` where they are wrong."""
    try:
        return parser().parse_args(words)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _fail(message: str, code: int) -> int:
    print(f"diffrl bench: {' '.join(message.split())}", file=sys.stderr)
    return code
