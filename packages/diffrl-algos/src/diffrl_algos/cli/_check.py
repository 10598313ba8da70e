"""``diffrl check``: whether a task's gradients can be trusted, and whether it keeps its promises."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._callbacks import PartLine, StatusLine
from .._errors import UsageError, unknown
from .._imports import import_module
from ._parser import Parser, Result, add_import


def run(arguments: Sequence[str]) -> Result:
    import diffsim_core

    parser = Parser("check", "Check a task: gradients against finite differences, horizon of trust, determinism.")
    parser.add_argument("task", metavar="TASK", help="see diffrl list tasks")
    parser.add_argument("--seed", type=int, default=0, help="names the states and actions of the tests; default 0")
    parser.add_argument("--num-envs", type=int, metavar="N", help="worlds; default 64, or fewer where they are large")
    parser.add_argument(
        "--horizon",
        type=int,
        metavar="T",
        help="steps of the longest rollout; default 64 or fewer",
    )
    add_import(parser)
    args = parser.parse(arguments)
    for name in args.imports:
        import_module(name)
    if not diffsim_core.is_task(args.task):
        raise unknown("task", args.task, diffsim_core.list_tasks())
    for name, least in (("seed", 0), ("num_envs", 2), ("horizon", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} is {value}; expected at least {least}")

    from diffsim_core.check import CHECKS, check_size, check_task, raised

    make = functools.partial(diffsim_core.make, args.task)
    for dtype, consequence in (("float32", "cannot be made"), ("float64", "cannot be checked in float64")):
        try:
            differentiable = make(num_envs=2, dtype=dtype).spec.differentiable
        except ImportError:
            raise
        except Exception as error:  # whatever somebody's factory raises
            raise UsageError(f"{args.task} {consequence}: {raised(error)}") from error
        if not differentiable:
            raise UsageError(f"{args.task} has no gradients; check is for tasks that have them")
    num_envs, horizon = check_size(make)
    size = {"num_envs": args.num_envs or num_envs, "horizon": args.horizon or horizon}
    line = StatusLine(sys.stderr)
    try:
        report = check_task(make, **size, seed=args.seed, progress=PartLine(line, CHECKS).show)
    finally:
        line.clear()
    value = {**report.to_json(), "seed": args.seed, "num_envs": size["num_envs"], "device": "cpu"}
    rows = {**value, "violations": "none" if not report.violations else f"{len(report.violations)}:"}
    text = "\n".join(line for key, part in rows.items() for line in _lines(key, part))
    text += "".join(f"\n  - {violation}" for violation in report.violations)
    return Result(value, text, args.json, 0 if report.ok else 1)


def _lines(name: str, value: Any, indent: str = "") -> Iterator[str]:
    """A part of the report: one line, or where it has parts of its own, one for each of those."""
    if isinstance(value, Mapping) and value:
        yield f"{indent}{name}"
        for key, part in value.items():
            yield from _lines(str(key), part, f"{indent}  ")
        return
    parts = value if isinstance(value, list | tuple) else [value]
    shown = ", ".join(f"{part:.3g}" if isinstance(part, float) else str(part) for part in parts)
    yield f"{indent + name:<24} {shown or 'none'}"
