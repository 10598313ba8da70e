"""Shared parts of the commands: the parser, their results, and options that several have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn


class Result(NamedTuple):
    """The output of a command on stdout."""

    value: dict[str, Any]
    """For ``--json``."""
    text: str
    code: int = 0


class UsageError(Exception):
    """Bad arguments; printed as one line."""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are ``UsageError``."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


class Commands:
    """The parser of ``diffrl bench``, to which every module adds its commands."""

    def __init__(self) -> None:
        self.parser = Parser(
            prog="diffrl bench", description="Measure simulators, updates and whole trainings.", allow_abbrev=False
        )
        self._commands = self.parser.add_subparsers(dest="command", required=True)

    def add(self, name: str, function: Callable[[argparse.Namespace], Result], text: str) -> argparse.ArgumentParser:
        """Add a command that prints the result of ``function``; returns its parser, for its options."""
        command = self._commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument(
            "--json", action="store_true", help="print one JSON object on stdout and nothing else there"
        )
        command.set_defaults(function=function)
        self._commands.metavar = "|".join(self._commands.choices)
        return command


def add_suite(parser: argparse.ArgumentParser) -> None:
    """Add what names a suite and the folder of its results."""
    parser.add_argument("suite", metavar="SUITE", help="name of a suite, or a .toml file")
    parser.add_argument("--out", metavar="DIR", help="folder of the results; default runs/SUITE")


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add what names a suite whose results are shown, or all of them."""
    parser.add_argument(
        "suite", nargs="?", metavar="SUITE", help="name of a suite, or a .toml file; default all in DIR"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder of the results, default runs/SUITE; without SUITE of such folders, runs"
    )


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add what names a task and the machine's part that computes it."""
    parser.add_argument("--task", default="ant", help="see diffrl list tasks; default ant")
    parser.add_argument("--num-envs", type=int, metavar="N", help="worlds")
    parser.add_argument("--threads", type=int, metavar="K", help="simulator threads; default every core")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:i; default cpu")


def add_run(parser: argparse.ArgumentParser, algorithm: str, *, num_envs: int) -> None:
    """Add the options of the studies of a run."""
    parser.add_argument("run", metavar="RUN", help=f"run folder of {algorithm} in torch")
    parser.add_argument("--num-envs", type=int, default=num_envs, metavar="N", help=f"worlds; default {num_envs}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", default="last", metavar="NAME", help="last (default), best, or an iteration")
    parser.add_argument("--plot", metavar="FILE", help="draw the results: .svg, .png or .pdf")


def of_run(args: argparse.Namespace) -> dict[str, Any]:
    """Values of the options of the studies of a run."""
    names = ("steps", "num_envs", "seed", "checkpoint", "progress")
    return {name: getattr(args, name) for name in names}


def folder_of(args: argparse.Namespace, suite: str) -> Path:
    """Folder of a suite's results."""
    return Path(args.out) if args.out is not None else Path("runs") / suite


def picture(name: str | None) -> Path | None:
    """The file of a picture that is asked for.

    Raises:
        ValueError: its format is unknown, or its folder does not exist.
    """
    if name is None:
        return None
    from .._plots import require_format

    file = Path(name)
    require_format(file)
    if not file.absolute().parent.is_dir():
        raise ValueError(f"{file} cannot be written: its folder does not exist")
    return file


def whole_numbers(name: str, text: str) -> tuple[int, ...]:
    """The numbers of ``1,2,4``.

    Raises:
        ValueError: something between the commas is no whole number.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{name} is {text!r}; expected whole numbers with commas between") from None
