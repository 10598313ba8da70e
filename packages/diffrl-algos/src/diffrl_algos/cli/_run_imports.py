"""The user's own modules that a run needs, for the commands that take a run folder."""

from __future__ import annotations

import contextlib
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from .._errors import RunError, UsageError
from .._imports import import_for_run, way_on


@contextlib.contextmanager
def imported_for(args: Namespace, path: Path) -> Iterator[list[str]]:
    """Import what the run in ``path`` needs; gives the modules. An error behind it names what was not imported.

    Where a person is at the terminal, they are asked; otherwise ``--trust-imports`` says that the run may be trusted.
    """
    names = import_for_run(path, args.imports, bool(args.trust_imports), _ask, _say)
    try:
        yield names
    except (UsageError, RunError) as error:
        if note := way_on(path, names):
            error.add_note(note)
        raise


def _ask(question: str) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(text: str) -> None:
    print(f"diffrl: {text}", file=sys.stderr)
