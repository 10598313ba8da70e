"""Shared parts of the commands: options made from declarations, arguments with one-line errors, results."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from diffsim_core.options import REQUIRED, Index, Option

from .._errors import UsageError, unknown
from .._fields import flag, spelled

SEED = Option(
    name="seed",
    kind=Index | None,
    default=None,
    doc="Names the worlds' random numbers; none: as at the end of the run.",
)


class Result(NamedTuple):
    """The output of a command on stdout."""

    value: Any
    """For ``--json``: one object or array."""
    text: str
    """Without ``--json``."""
    as_json: bool
    code: int = 0


class HelpShown(Exception):
    """``--help`` was requested; the text is the only argument."""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are ``UsageError`` and name the nearest options."""

    def __init__(self, command: str, description: str, usage: str | None = None) -> None:
        super().__init__(prog=f"diffrl {command}", description=description, usage=usage, allow_abbrev=False)
        self.more = ""
        """Text behind the help, as it is."""
        self.add_argument("--json", action="store_true", help="print one JSON value on stdout and nothing else there")

    def add(self, option: Option, *, group: Any = None, **changes: Any) -> None:
        """Add an option as it is declared: with its type, limits, meaning and default in the help.

        Its value is None where it is not given, unless ``changes``, arguments of ``add_argument``, say otherwise.
        """
        settings: dict[str, Any] = {"dest": option.name, "help": about(option).replace("%", "%%"), **changes}
        if option.kind is bool and "type" not in changes:
            settings = {"action": "store_true", "default": None, **settings, "help": option.doc.replace("``", "")}
        else:
            settings = {"type": reads(option), "metavar": "VALUE", **settings}
        (group or self).add_argument(flag(option.name), **settings)

    def print_help(self, file: Any = None) -> None:
        """Hand the help to the command, which prints it as a result."""
        raise HelpShown("\n".join(filter(None, [self.format_help().rstrip(), self.more])))

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


def reads(option: Option) -> Callable[[str], Any]:
    """What argparse calls with the text of a value."""

    def read(text: str) -> Any:
        try:
            return option.read(text, "it")
        except ValueError:
            raise argparse.ArgumentTypeError(f"invalid value {option.refusal(text)}") from None

    return read


def about(option: Option, default: Any = REQUIRED) -> str:
    """Meaning, values and default of an option in one line; ``default`` stands for its own if given."""
    default = option.default if default is REQUIRED else default
    unit = f" [{option.unit}]" if option.unit else ""
    parts = [option.doc.replace("``", ""), f"Takes {option.takes}{unit}"]
    if default is not REQUIRED:
        parts.append(f"default {spelled(default)}")
    return f"{parts[0]} {'; '.join(parts[1:])}.".lstrip()


def listing(title: str, options: Mapping[str, Option], defaults: Mapping[str, Any]) -> str:
    """A part of a help text: the options of a task, which are given as ``--task-option NAME=VALUE``."""
    lines = [title]
    for name, option in options.items():
        text = about(option, defaults.get(name, REQUIRED))
        lines += [f"  {name}", *textwrap.wrap(text, 96, initial_indent=" " * 8, subsequent_indent=" " * 8)]
    return "\n".join(lines)


def add_import(parser: Parser, *, run: bool = False) -> None:
    """Add ``--import``, for the user's own tasks and algorithms, and where there is a run, ``--trust-imports``."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module or .py file that registers your own tasks or algorithms; may be repeated",
    )
    if run:
        parser.add_argument(
            "--trust-imports",
            action="store_true",
            default=None,
            help="import what the run was started with, as its run.json says, without asking: that runs its code",
        )
