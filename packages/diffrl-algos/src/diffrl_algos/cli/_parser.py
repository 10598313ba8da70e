"""Shared parts of the commands: arguments with one-line errors, results, and the user's own modules."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

from .._errors import UsageError, unknown


class Result(NamedTuple):
    """The output of a command on stdout."""

    value: Any
    """For ``--json``: one object or array."""
    text: str
    """Without ``--json``."""
    as_json: bool
    code: int = 0


class HelpShown(Exception):
    """``--help`` was requested and printed."""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are ``UsageError`` and name the nearest options."""

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
        self.check_options(arguments, self.options)
        # argparse takes most values that begin with a dash for options, and wants positional arguments side by side.
        pairs = [(option, value) for option, value in self.split(arguments) if option not in ("", "--")]
        options = [option if value is None else f"{option}={value}" for option, value in pairs]
        names = self.positionals(arguments)
        return self.parse_args([*options, "--", *names] if "--" in arguments else [*names, *options])

    @property
    def options(self) -> set[str]:
        """Every option, as it is typed."""
        return set(self._option_string_actions)

    def check_options(self, arguments: Sequence[str], known: Iterable[str]) -> None:
        """Raise ``UsageError`` for the first option of ``arguments`` that is not ``known``; the nearest are named."""
        known = {"--", *known}
        for option, _ in self.split(arguments):
            if option.startswith("--") and option not in known:
                raise unknown(f"option of {self.prog}:", option, known - {"--"})

    def positionals(self, arguments: Sequence[str]) -> list[str]:
        """The arguments that are neither options nor their values."""
        return [value for option, value in self.split(arguments) if not option and value is not None]

    def values(self, option: str, arguments: Sequence[str]) -> list[str]:
        """The values that ``arguments`` give to an option."""
        return [value for name, value in self.split(arguments) if name == option and value is not None]

    def may_take_a_value(self, option: str) -> bool:
        """Whether a value of this option can be left out, so that a name behind the option becomes its value."""
        action = self._option_string_actions.get(option)
        return action is not None and action.nargs == "?"

    def split(self, arguments: Sequence[str]) -> list[tuple[str, str | None]]:
        """``(option, value)`` of each argument; a positional one has the option ``""``, a flag the value None.

        An option that this parser does not know takes one value, as the fields of a configuration do.
        """
        pairs: list[tuple[str, str | None]] = []
        rest = list(arguments)
        while rest:
            argument = rest.pop(0)
            option, equals, value = argument.partition("=")
            action = self._option_string_actions.get(option)
            if argument == "--":
                return [*pairs, ("--", None), *(("", value) for value in rest)]
            if not _is_option(argument):
                pairs.append(("", argument))
            elif equals:
                pairs.append((option, value))
            else:
                takes_value = option.startswith("--") if action is None else action.nargs != 0
                pairs.append((option, rest.pop(0) if takes_value and rest and not _is_option(rest[0]) else None))
        return pairs


def _is_option(argument: str) -> bool:
    """Whether an argument is an option, not a value or a number below zero (or several with commas between)."""
    if not argument.startswith("-") or argument == "-":
        return False
    try:
        return not [float(part) for part in argument.split(",")]
    except ValueError:
        return True


def add_import(parser: Parser) -> None:
    """Add ``--import``, for the user's own tasks and algorithms."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module or .py file that registers your own tasks or algorithms; may be repeated",
    )
