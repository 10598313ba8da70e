"""What the commands share: arguments with one-line errors, results, modules of the user's own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from .._errors import UsageError, unknown


class Result(NamedTuple):
    """What a command prints on stdout."""

    value: Any
    """For ``--json``: one object or array."""
    text: str
    """Without ``--json``."""
    as_json: bool
    code: int = 0


class HelpShown(Exception):
    """``--help`` was asked for and printed."""


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ``UsageError``, and which names the nearest options."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"diffrl {command}", description=description, allow_abbrev=False)
        self.add_argument("--json", action="store_true", help="print one JSON value on stdout and nothing else there")

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all of ``arguments``.

        Raises:
            UsageError: anything unknown, missing or of the wrong type.
        """
        known = self._option_string_actions
        for argument in arguments:
            name = argument.partition("=")[0]
            if name.startswith("--") and name != "--" and name not in known:
                raise unknown(f"option of {self.prog}:", name, known)
        return self.parse_args(list(arguments))


def add_import(parser: Parser) -> None:
    """``--import``, for tasks and algorithms of the user's own."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module or .py file that registers your own tasks or algorithms; may be repeated",
    )
