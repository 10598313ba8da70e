"""``diffrl plot RUN...``: learning curves of run folders in one picture, whatever started them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffsim_core.options import from_json

from ._record import Row
from ._results import curve


def plot_runs(folders: Sequence[Path], file: Path, names: Sequence[str] = ()) -> list[Row]:
    """Draw the learning curves of runs: a panel for each task, a colour for each group of seeds.

    Runs that differ in more than the seed are groups of their own. A group is named by what its description says and
    the first run's does not, such as ``shac (horizon=8)``, or it has one of ``names``.

    Args:
        folders: run folders, finished or not.
        file: the picture, ``.svg``, ``.png`` or ``.pdf``.
        names: one for each folder in place of those; folders of one name are seeds of one group.

    Returns:
        A row for each run: ``run``, ``algorithm``, ``task``, ``seed``, ``return_mean``, and its ``name`` or, where it
        differs from the first, its ``variant``.

    Raises:
        ValueError: a folder holds no run, there is not one name for each, or no training episode has finished.
    """
    from ._plots import plot_together

    if names and len(names) != len(folders):
        raise ValueError(f"{len(names)} names for {len(folders)} runs; give --name once for each run, or never")
    descriptions = [_read(folder / "run.json") for folder in folders]
    for folder, found in zip(folders, descriptions, strict=True):
        if not found:
            raise ValueError(f"{folder} is not a run folder: it has no run.json that can be read")
    key, words = ("name", list(names)) if names else ("variant", _variants(descriptions))
    rows: list[Row] = []
    for folder, found, word in zip(folders, descriptions, words, strict=True):
        row = {"run": str(folder), "algorithm": found["algorithm"], "task": found["task"], "seed": found["seed"]}
        row |= {key: word} if word else {}
        rows.append({**row, "return_mean": _read(folder / "summary.json").get("return_mean")})
    curves = {str(folder): curve(folder / "metrics.jsonl") for folder in folders}
    plot_together(curves, rows, "", file)
    return rows


def _variants(descriptions: Sequence[dict[str, Any]]) -> list[str]:
    """What tells each run from the first of its algorithm and task, but for the seed: ``horizon=8, gamma=0.9``."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    found = []
    for description in descriptions:
        flat = _flat(description)
        base = first.setdefault((description["algorithm"], description["task"]), flat)
        keys = [key for key in {**base, **flat} if base.get(key) != flat.get(key)]
        found.append(", ".join(f"{key}={_short(flat.get(key))}" for key in keys))
    return found


def _flat(description: dict[str, Any]) -> dict[str, Any]:
    """What determines a run and is not its seed, without nesting."""
    tables = ("config", "task_options", "budget")
    flat = {key: description[key] for key in ("num_envs",) if key in description}
    return {**flat, **{key: value for name in tables for key, value in description.get(name, {}).items()}}


def _short(value: Any) -> str:
    value = from_json(value)
    return ",".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def _read(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
