"""What is wrong with the runs of a suite, before the first one begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._suite import PlannedRun

if TYPE_CHECKING:
    from diffrl_algos._spec import RunSpec

_SHOWN = 5
"""Errors that a message names."""


def specs_of(plan: Sequence[PlannedRun]) -> dict[str, RunSpec]:
    """What ``diffrl train`` would train, by the names of the runs.

    Raises:
        ValueError: an algorithm, a task or an option is unknown, or a value is impossible; all such runs are named.
    """
    from diffrl_algos import RunError
    from diffrl_algos.cli._train import described

    found: dict[tuple[str, ...], RunSpec | str] = {}
    specs: dict[str, RunSpec] = {}
    wrong: dict[str, list[str]] = {}
    for run in plan:
        # Runs that differ in their seed alone are read once.
        key = (run.algorithm, run.task, *run.options)
        if key not in found:
            try:
                found[key] = described(run.arguments)
            except (RunError, ValueError) as error:
                found[key] = " ".join(str(error).split())
        spec = found[key]
        if isinstance(spec, str):
            wrong.setdefault(spec, []).append(run.name)
        else:
            specs[run.name] = replace(spec, seed=run.seed)
    _refuse([f"{_some(names)}: {text}" for text, names in wrong.items()], "nothing was started")
    return specs


def require_same(out: Path, specs: Mapping[str, RunSpec]) -> None:
    """Raise ``ValueError`` if the folder of a run holds one of that name that was begun with other settings."""
    from diffrl_algos import RunError
    from diffrl_algos._run import Run

    wrong = []
    for name, spec in specs.items():
        folder = out / name
        if not (folder / "run.json").exists():
            continue
        try:
            begun = Run.open(folder).spec
        except RunError:
            continue  # the run itself says what is wrong
        old, new = _flat(begun.to_json()), _flat(spec.to_json())
        differ = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        if differ:
            told = ", ".join(f"{key} {old.get(key)} there and {new.get(key)} now" for key in differ[:_SHOWN])
            wrong.append(f"{folder} was begun with other settings: {told}")
    _refuse(wrong, "choose another --out")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return found


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _refuse(errors: Sequence[str], remedy: str) -> None:
    if errors:
        more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise ValueError(f"{'; '.join(errors[:_SHOWN])}{more}; {remedy}")
